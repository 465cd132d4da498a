# Databricks notebook source
# MAGIC %md
# MAGIC # What is in this root?
# MAGIC
# MAGIC Opens the tables of a root, asks every question of `sql/analysis`, and draws the report. The package must be
# MAGIC installed on the cluster (the wheel of `infra/databricks`). Fill in the two fields above, or set the variables
# MAGIC `LONGLOOM_ROOT`, `LONGLOOM_SCHEMA` and `LONGLOOM_STATE` where there are no fields.

# COMMAND ----------

import os
from pathlib import Path

from jobs.runtime.analysis import open_root, printed
from jobs.runtime.errors import SettingsFault
from jobs.runtime.report.figures import NOT_SHOWN, gather
from jobs.runtime.report.page import page
from jobs.runtime.session import build_session
from jobs.runtime.settings import load_settings
from jobs.runtime.tables import Tables
from sql.questions import questions

notebook = globals()  # on Databricks it also holds dbutils, display and displayHTML


def told(name: str) -> str:
    """A field of the notebook, else an environment variable."""
    fields = notebook.get("dbutils")
    if fields is None:
        return os.environ.get(f"LONGLOOM_{name.upper()}", "")
    fields.widgets.text(name, "")
    return str(fields.widgets.get(name))


root, schema, state = told("root"), told("schema"), told("state")
storage = [f"storage.schema_name={schema}", f"storage.state_path={state}"] if schema else []
tables = Tables(build_session("longloom analysis"), load_settings(None, storage, root or None).storage)
analyst = open_root(tables)

# COMMAND ----------

# MAGIC %md
# MAGIC ## Every question, with its answer

# COMMAND ----------

for name, question in questions().items():
    if name in NOT_SHOWN:
        continue
    print(f"\n{question.question}  [{name}]")
    try:
        answer = analyst.ask(name)
    except SettingsFault as fault:
        print(fault)
        continue
    if "display" in notebook:
        notebook["display"](answer)
    else:
        print(printed(answer.limit(20).toPandas()))

# COMMAND ----------

# MAGIC %md
# MAGIC ## The pictures
# MAGIC
# MAGIC The whole report: funnel, mix, evidence, lengths, graph, costs, and rows with their evidence marked.

# COMMAND ----------

report = page(gather(tables, analyst))
if "displayHTML" in notebook:
    notebook["displayHTML"](report)
else:
    out = Path(os.environ.get("LONGLOOM_REPORT", "report.html"))
    out.write_text(report, encoding="utf-8")
    print(f"\n{out} ({len(report) / 1e6:.1f} MB)")
