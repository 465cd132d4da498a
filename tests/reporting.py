"""A report as jobs/report.py leaves it behind: the file in the root, and the copy in its MLflow."""

from __future__ import annotations

from pathlib import Path

from jobs.runtime.analysis import open_root
from jobs.runtime.lineage import log_artifact
from jobs.runtime.report.figures import gather
from jobs.runtime.report.page import FILE, KIND, page, write
from jobs.runtime.settings import Settings
from jobs.runtime.tables import Tables


def write_report(tables: Tables, settings: Settings) -> Path:
    """Write both; where the copy lies."""
    text = page(gather(tables, open_root(tables)))
    write(text, f"{tables.state}/{FILE}")
    run = log_artifact(settings, tables.state, text.encode(), KIND, FILE)
    return Path(tables.state, "_mlflow", "artifacts", run, "artifacts", KIND, FILE)
