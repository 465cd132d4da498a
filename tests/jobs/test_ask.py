"""Asking a root: faults in sentences, answers as text, views in a catalog."""

from __future__ import annotations

import logging
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

import sql
from jobs import ask
from jobs.runtime.analysis import Analyst, open_root, parameters, printed
from jobs.runtime.errors import SettingsFault
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import Tables
from jobs.runtime.views import _obstacle, create_views
from sql.questions import questions
from tests.sql.small_root import ROWS, SmallTables, small_session


@pytest.fixture(scope="module")
def own(spark: SparkSession) -> SparkSession:
    return small_session(spark)


@pytest.mark.spark
@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("funel", {}, "no question is named 'funel'; known: answerability, costs, "),
        ("funnel", {"top": 3}, "funnel has no parameter 'top'; it takes none"),
        ("graph_hubs", {"most": 3}, "graph_hubs has no parameter 'most'; it takes top"),
        (
            "drift",
            {},
            "drift compares two states of samples: give --set before=… --set after=…, each a version (0 to 2)",
        ),
        ("drift", {"before": 1, "after": 7}, "after=7: samples has versions 0 to 2"),
        ("drift", {"before": 1, "after": "9f"}, "after=9f: no row of samples was written by a run whose id begins so"),
    ],
)
def test_what_cannot_be_asked_is_told(own: SparkSession, name: str, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsFault) as told:
        Analyst(SmallTables(own)).ask(name, values)
    assert sentence in str(told.value)


@pytest.mark.spark
def test_own_sql_reads_tables_by_their_names(own: SparkSession) -> None:
    analyst = Analyst(SmallTables(own))
    found = analyst.sql("SELECT count(*) AS n FROM samples s JOIN training_set t ON t.sample = s.id").collect()
    assert found[0]["n"] == 4
    with pytest.raises(SettingsFault, match=r"--sql: \[PARSE_SYNTAX_ERROR\] Syntax error at or near 'SELEC'"):
        analyst.sql("SELEC 1")
    with pytest.raises(SettingsFault, match="Tables stand after FROM or JOIN by their bare names: canonical_values"):
        analyst.sql("SELECT * FROM sampels")
    assert not logging.getLogger("SQLQueryContextLogger").isEnabledFor(logging.ERROR), "one sentence, and no stack"


@pytest.mark.spark
def test_a_half_finished_root_is_asked_with_a_note(own: SparkSession) -> None:
    half = {name: rows for name, rows in ROWS.items() if name in ("source_files", "documents", "conversations")}
    analyst = Analyst(SmallTables(own, half))
    row = analyst.ask("overview").collect()[0]
    assert (row["documents"], row["n_rows"], row["median_tokens"], row["teachers"]) == (3, 0, None, "")
    assert analyst.unwritten == ["training_set", "samples", "llm_calls"]


@pytest.mark.spark
def test_a_root_that_measures_nothing_has_a_whole_funnel(spark: SparkSession) -> None:
    """Selection by order writes no `influence`."""
    made = SmallTables(small_session(spark), {name: ROWS.get(name, []) for name in sql.tables() if name != "influence"})
    for name, lacking in (("funnel", []), ("influence_truncated", ["influence"])):
        analyst = Analyst(made)
        analyst.ask(name)
        assert analyst.unwritten == lacking
        obstacle = _obstacle(questions()[name], made, [])
        assert obstacle == (f"the root has no table {lacking[0]} yet" if lacking else None)


@pytest.mark.spark
def test_a_folder_without_tables_is_told(own: SparkSession, root: str) -> None:
    with pytest.raises(SettingsFault, match=r"no tables here; check --root, or run jobs/synthesize\.py first"):
        open_root(Tables(own, StorageSettings(root=root)))


def test_parameters() -> None:
    assert parameters(["top=3", "share=0.5", "before=run-1"]) == {"top": 3, "share": 0.5, "before": "run-1"}
    runs = {"before": "12e45678", "after": "00123456"}
    assert parameters([f"{side}={run}" for side, run in runs.items()]) == runs, "no numbers, though they look so"
    with pytest.raises(SettingsFault, match="--set top: write it as key=value"):
        parameters(["top"])


def test_answers_are_aligned_and_cut() -> None:
    rows = pd.DataFrame({"name": ["a", "b" * 80, None], "n": [1, 12345, 2], "share": [0.123456, 1.0, float("nan")]})
    assert printed(rows).splitlines() == [
        f"{'name':<60}       n   share",
        f"{'a':<60}       1  0.1235",
        f"{'b' * 59}…  12,345       1",
        f"{'–':<60}       2       –",
    ]
    assert printed(rows[:0]) == "(no rows)"


def test_without_a_name_it_lists_the_questions(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(questions())
    assert any(line.startswith("funnel ") and line.endswith("why were the others not?") for line in lines)


@pytest.mark.spark
def test_faults_end_with_status_2_before_spark_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert ask.main(["funel", "--root", "x"]) == 2
    assert "no question is named" in capsys.readouterr().err


@pytest.mark.spark
def test_views_answer_in_a_catalog(own: SparkSession, root: str) -> None:
    tables = Tables(own, StorageSettings(root=root))
    rows = own.createDataFrame(ROWS["graph_stats"], sql.columns("graph_stats")).coalesce(1)
    tables.append(rows, "graph_stats", {})
    made, left_out = create_views(tables, "analysis_of_a_root")
    try:
        assert made == ["graph_size", "planned_costs", "recipes", "stage_times"]
        assert left_out["funnel"] == "the root has no table conversations yet"
        assert left_out["drift"] == "there is no samples_before: which one is asked each time"
        row = own.sql("SELECT nodes, density FROM analysis_of_a_root.graph_size").collect()[0]
        assert (row["nodes"], row["density"]) == (4, 0.5)
        assert own.sql("SELECT current_schema()").collect()[0][0] == "default"
        runs = own.createDataFrame(ROWS["stage_runs"], sql.columns("stage_runs")).coalesce(1)
        tables.append(runs, "stage_runs", {})
        create_views(tables, "analysis_of_a_root")
        assert not own.sql("SELECT * FROM analysis_of_a_root.stage_times").isEmpty(), "it came after the first views"
    finally:
        own.sql("DROP SCHEMA analysis_of_a_root CASCADE")
