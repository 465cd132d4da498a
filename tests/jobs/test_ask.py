"""Asking a root: faults in sentences, answers as text, views in a catalog."""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pyspark.sql import SparkSession

import sql
from jobs import ask
from jobs.runtime.analysis import Analyst, as_csv, as_json, open_root, parameters, plain, printed
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


NESTED = """
SELECT array('a', 'b') AS words, array(named_struct('at', 1, 'of', array(0.25D, null))) AS held, X'00ff' AS raw,
       named_struct('x', 1, 'raw', X'0a') AS one, map('k', 2L) AS inputs, 0.1234567890123D AS share, true AS flag
UNION ALL SELECT transform(sequence(0, 1499), n -> string(n)), null, null, null, null, null, null
"""


@pytest.mark.spark
def test_arrays_structs_and_bytes_are_told_in_every_format(own: SparkSession) -> None:
    answer = own.sql(NESTED).toPandas()
    held = [{"at": 1, "of": [0.25, None]}]
    first, second = (json.loads(line) for line in as_json(answer).splitlines())
    assert first == {"words": ["a", "b"], "held": held, "raw": "00ff", "one": {"x": 1, "raw": "0a"},
                     "inputs": {"k": 2}, "share": 0.1234567890123, "flag": True}  # fmt: skip
    assert second["words"] == [str(n) for n in range(1500)] and second["share"] is None
    _, one, other = as_csv(answer).splitlines()
    assert one.startswith('"[""a"", ""b""]","[{""at"": 1, ""of"": [0.25, null]}]",00ff,"{""x"": 1, ""raw"": ""0a""}"')
    assert '""1499""' in other and "..." not in other, "numpy would have left out the middle"
    lines = printed(answer).splitlines()
    assert '["a", "b"]' in lines[1] and "00ff" in lines[1] and " True" in lines[1] and "…" in lines[2]


@pytest.mark.spark
def test_columns_of_one_name_are_told_apart(own: SparkSession) -> None:
    answer = own.sql("SELECT 1 AS id, 'x' AS id_2, 2 AS id, 3 AS id").toPandas()
    assert as_json(answer) == '{"id":1,"id_2":"x","id_3":2,"id_4":3}'
    assert printed(answer).splitlines()[0].split() == list(plain(answer)) == ["id", "id_2", "id_3", "id_4"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("SELECT 1/0", r"^- --sql: \[DIVIDE_BY_ZERO\] Division by zero.*bypass this error$"),
        ("SELECT CAST(id AS INT) FROM samples", r"^- --sql: \[CAST_INVALID_INPUT\] The value 's1'"),
        ("SELECT timestamp'0001-01-01' AS t", r"^- --sql: Casting from timestamp"),
    ],
)
def test_what_fails_while_rows_are_computed_is_a_sentence(own: SparkSession, query: str, sentence: str) -> None:
    analyst = Analyst(SmallTables(own))
    with warnings.catch_warnings(), pytest.raises(SettingsFault, match=sentence) as told:
        warnings.simplefilter("error")
        analyst.collected(analyst.sql(query), "--sql")
    assert "\n" not in str(told.value) and told.value.exit_status == 2


@pytest.mark.spark
def test_drift_over_new_columns_and_over_what_a_vacuum_took(own: SparkSession, root: str) -> None:
    tables = Tables(own, StorageSettings(root=root))
    rows = own.createDataFrame(ROWS["samples"], sql.columns("samples")).coalesce(1)
    tables.append(rows.drop("draw", "other_call"), "samples", {})
    tables.append(rows.where("id = 's2'"), "samples", {})  # it adds the columns
    tables.replace(rows.where("id != 's1'"), "samples", {})

    def drift(before: int) -> dict[Any, Any]:
        analyst = Analyst(tables)
        answer = analyst.collected(analyst.ask("drift", {"before": before, "after": 2}), "drift")
        return {(row["setting"], row["key"]): row["change"] for row in answer.to_dict("records")}

    assert drift(0)["single", "answered"] == -1
    with tables.configured("spark.databricks.delta.retentionDurationCheck.enabled", "false"):
        own.sql(f"VACUUM {tables.sql_name('samples')} RETAIN 0 HOURS")
    newest = tables.refresh("samples")
    gone = f"^- before=0: files of samples as of this version are gone, a vacuum took them; versions 2 to {newest} can"
    with pytest.raises(SettingsFault, match=gone):
        drift(0)
    assert drift(2)["single", "answered"] == 0
    log = Path(root, "samples", "_delta_log", f"{0:020}.json")
    log.rename(log.with_suffix(".gone"))
    for checksum in log.parent.glob("*.crc"):
        checksum.unlink()
    with pytest.raises(SettingsFault, match=r"before=0: samples cannot be read as of this version any more, its log"):
        drift(0)


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


def stored(own: SparkSession, root: str, *names: str) -> Tables:
    tables = Tables(own, StorageSettings(root=root))
    for name in names:
        tables.append(own.createDataFrame(ROWS[name], sql.columns(name)).coalesce(1), name, {})
    return tables


@pytest.mark.spark
@pytest.mark.parametrize("there", [("graph_stats",), ("stage_runs",)])
def test_views_of_another_root_are_not_mixed_in(own: SparkSession, root: str, there: tuple[str, ...]) -> None:
    """Whether the second root has the table that the first one named, or lacks it."""
    first = stored(own, f"{root}/first", "graph_stats")
    create_views(first, "views_of_two")
    try:
        other = stored(own, f"{root}/other", *there)
        told = f"--views views_of_two: its table graph_stats lies in file:{root}/first, and the root asked about is "
        with pytest.raises(SettingsFault, match=f"{told}{root}/other. Give another schema"):
            create_views(other, "views_of_two")
        assert own.sql("SELECT current_schema()").collect()[0][0] == "default"
        create_views(first, "views_of_two")  # again, as it is
        own.sql("DROP TABLE views_of_two.graph_stats")
        made, _ = create_views(other, "views_of_two")
        assert ("graph_size" in made) == (there == ("graph_stats",))
        assert first.read("graph_stats").count() == 1, "its name is gone and its rows are there"
    finally:
        own.sql("DROP SCHEMA views_of_two CASCADE")


@pytest.mark.spark
def test_views_are_made_again_where_the_first_root_is_gone(own: SparkSession, root: str) -> None:
    create_views(stored(own, f"{root}/first", "graph_stats", "stage_runs"), "views_again")
    try:
        shutil.rmtree(f"{root}/first")
        made, _ = create_views(stored(own, f"{root}/other", "graph_stats"), "views_again")
        assert "graph_size" in made and own.sql("SELECT * FROM views_again.stage_times").isEmpty()
    finally:
        own.sql("DROP SCHEMA views_again CASCADE")
