"""Ledgers taken out and in, tables compared, and what a replay refuses by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.comparing import compare
from jobs.runtime.errors import GateStop, SettingsFault
from jobs.runtime.history import Execution
from jobs.runtime.ledger_files import calls_in, calls_of, export_calls, import_calls
from jobs.runtime.replaying import Replay
from jobs.runtime.runner import Runner
from jobs.runtime.runs import MAIN_JOB, Run, begin, end
from jobs.runtime.settings import Settings
from jobs.runtime.sources import find_inputs, register
from jobs.runtime.summary import StageTally
from jobs.runtime.tombstones import bury, bury_calls
from jobs.stages import STAGES
from tests.roots import make_runner, prose, rows, run_stages, write_conversations, write_documents

pytestmark = pytest.mark.spark


def call(number: str, key: str, status: str = "ok", parent: str | None = None) -> dict[str, Any]:
    known = {
        "id": number, "key": key, "parent_key": parent, "parent_ids": [], "stage": "samples", "task": "answer",
        "status": status, "text": f"reply {number}", "run_id": "r", "prompt_sha": "p", "error_kind": "refusal",
    }  # fmt: skip
    return {name: known.get(name) for name in sql.columns("llm_calls").names}


def test_answers_travel_once_and_forgotten_ones_never(spark: SparkSession, tmp_path: Path) -> None:
    giver = make_runner(spark, str(tmp_path / "giver"))
    calls = [
        call("a1", "a"),
        call("a2", "a"),  # answered twice: the first is the one that is served
        call("b1", "b", "lasting"),
        call("c1", "c", "passing"),
        call("d1", "d"),
        call("d2", "turn of d", parent="d"),
    ]
    giver.tables.append(spark.createDataFrame(calls, sql.columns("llm_calls")), "llm_calls", {})
    out = str(tmp_path / "out")
    assert export_calls(giver, out, ["jsonl", "parquet"]) == 4
    with pytest.raises(SettingsFault, match="is not empty"):
        export_calls(giver, out, ["jsonl"])
    taker = make_runner(spark, str(tmp_path / "taker"))
    taker.tables.append(spark.createDataFrame([call("b0", "b")], sql.columns("llm_calls")), "llm_calls", {})
    stones = spark.createDataFrame([("documents", "x", "x")], "table string, id string, asked string")
    bury(taker.tables, stones, {})
    bury_calls(taker.tables, "f", spark.createDataFrame([("d",)], "key string"))
    version = taker.tables.version("tombstones")
    assert import_calls(taker, calls_in(spark, out)) == 2, "d and its turn were forgotten here"
    assert [(row["id"], row["text"]) for row in rows(taker, "llm_calls")] == [
        ("a1", "reply a1"), ("b0", "reply b0"), ("b1", "reply b1"),
    ]  # fmt: skip
    for source in (calls_in(spark, out), calls_of(spark, str(tmp_path / "giver"))):
        assert import_calls(taker, source) == 0, "again, and from the root itself: nothing is new"
    bury_calls(taker.tables, "f", spark.createDataFrame([("d",)], "key string"))
    assert len(rows(taker, "tombstones")) == 2 and taker.tables.refresh("tombstones") >= version
    (tmp_path / "other" / "jsonl").mkdir(parents=True)
    (tmp_path / "other" / "jsonl" / "x.jsonl").write_text('{"text": "no call"}\n', encoding="utf-8")
    with pytest.raises(SettingsFault, match="no exported ledger"):
        calls_in(spark, str(tmp_path / "other"))
    with pytest.raises(SettingsFault, match="no ledger here"):
        calls_of(spark, str(tmp_path / "nowhere"))


def test_tables_are_compared_by_id_and_content(spark: SparkSession) -> None:
    columns = "id string, text string, score double, batch string"
    one = [("a", "x", 1.0, "1"), ("b", "y", 2.0, "1"), ("c", "z", 3.0, "1"), ("d", "v", 4.0, "1"), ("e", "w", 5.0, "1")]
    two = [
        ("a", "x", 1.000001, "2"),
        ("b", "Y", 2.0, "2"),
        ("c", "z", 3.1, "2"),
        ("d", None, 4.0, "2"),
        ("f", "", 0.0, "2"),
    ]
    told = compare("walks", spark.createDataFrame(one, columns), spark.createDataFrame(two, columns))
    assert told.rows == 5
    assert sorted(told.faults) == [
        "1 rows only in the first: e",
        "1 rows only in the second: f",
        "score differs in 1 rows, among them c",
        "text differs in 2 rows, among them b",
    ]
    twice = compare("walks", spark.createDataFrame(one[:1] * 2, columns), spark.createDataFrame(one[:1], columns))
    assert "1 ids more than once in the first" in twice.faults
    counts = "id string, count long, recipe string, batch string"
    parts = spark.createDataFrame(
        [("n", 2, "r", "1"), ("n", 3, "r", "2"), ("m", 1, "r", "1"), ("m", -1, "r", "2")], counts
    )
    whole = spark.createDataFrame([("n", 5, "r", "x")], counts)
    assert compare("nodes", parts, whole).faults == []
    assert compare("nodes", parts, whole.withColumn("count", whole["count"] + 1)).faults


def past_run(runner: Runner) -> None:
    """A run as `synthesize` notes it, of which only the listing of its files matters here."""
    begin(runner.history, MAIN_JOB, runner.settings.model_dump(mode="json"), {})
    register(runner.tables, find_inputs(runner.settings.inputs), runner.summary)
    end(runner.history, "done")
    runner.history.flush()


def test_a_replay_that_ends_otherwise_names_what_waits_now(spark: SparkSession, root: str) -> None:
    """And nothing that was left open when its stage began anew, or was closed since."""
    runner = make_runner(spark, root)
    history, columns = runner.history, "input_id string, reason string"
    for stage in ("samples", "meta_records"):
        history.defer(stage, spark.createDataFrame([("a", "llm:timeout"), ("b", "llm:timeout")], columns), 1)
    history.defer("meta_records", spark.createDataFrame([("b", None)], columns), 2)
    history.start_epoch(["samples"])
    history.emptied()
    replay = Replay(spark, STAGES, runner.tables, root, print)
    with pytest.raises(GateStop, match=r"that the ledger does not hold \(meta_records 1\); no call was made"):
        replay._require_end(Run("first", 1, MAIN_JOB, {}, {}, "done", {}), 4)
    assert history.waiting() == {"meta_records": 1} and history.failed_once(["meta_records", "samples"]) == [
        "meta_records"
    ]
    assert [tuple(row) for row in history.open_deferrals("meta_records").collect()] == [("a", "llm:timeout")]


SAME = {"only": [], "until": None}


@pytest.mark.parametrize(
    ("ended", "wrote", "statuses", "again"),
    [
        (["done", "done"], {"r0"}, [0], ["r0"]),  # nothing new
        (["done", "done"], {"r0", "r1"}, [0, 0], ["r0", "r1"]),  # it went on at the limit of rounds
        (["begun", "done"], {"r0", "r1"}, [0], ["r0"]),  # the first was killed, and ends here
        (["stopped", "deferred"], {"r0", "r1"}, [4, 4], ["r0", "r1"]),  # it waited once for a call that fails for ever
        (["stopped", "begun", "done", "done"], {"r0", "r2", "r3"}, [0, 0], ["r0", "r3"]),
    ],
)
def test_runs_that_were_told_the_same_again_are_replayed_where_they_went_on(
    monkeypatch: pytest.MonkeyPatch, ended: list[str], wrote: set[str], statuses: list[int], again: list[str]
) -> None:
    settings = Settings.model_validate({"inputs": {"conversations": ["x"], "documents": ["y"]}})
    made = [Run(f"r{n}", n, MAIN_JOB, {}, SAME, status, {}) for n, status in enumerate(ended)]
    replay, done, left = Replay(MagicMock(), STAGES, MagicMock(), "", lambda line: None), list[str](), list(statuses)

    def run_again(self: Replay, run: Run, given: Settings) -> int:
        done.append(run.run_id)
        return left.pop(0)

    monkeypatch.setattr(Replay, "_wrote", lambda self: wrote)
    monkeypatch.setattr(Replay, "_again", run_again)
    assert replay._made_again(made, [settings] * len(made)) == statuses[-1]
    assert (done, left) == (again, [])


@pytest.mark.faults
def test_what_the_vacuum_dropped_and_another_program_are_refused(
    spark: SparkSession, root: str, tmp_path: Path
) -> None:
    """Also where another job carried the executions over since, under a name of its own."""
    documents = write_documents(tmp_path / "docs.jsonl", [prose("moss", 10)])
    talk = write_conversations(tmp_path / "talk.jsonl", [["hello", "hello"]])
    given = [f"inputs.conversations=['{talk}']", f"inputs.documents=['{documents}']"]

    def run(name: str, job: str = MAIN_JOB) -> Runner:
        runner = make_runner(spark, root, given, name)
        begin(runner.history, job, runner.settings.model_dump(mode="json"), {})
        return runner

    def note(runner: Runner, done: Execution) -> None:
        runner.history.record(done, StageTally("documents", seconds=1.0))
        end(runner.history, "done")
        runner.history.flush()

    first = run("first-run")
    run_stages(first, "documents")
    made = first.history.last("documents")
    assert made is not None
    note(first, replace(made, recipe="of another program"))
    second = run("second-run")
    second.tables.delete("documents", "true", {})
    note(second, made)
    note(run("keeper", "maintain"), made)
    with second.tables.configured("spark.databricks.delta.retentionDurationCheck.enabled", "false"):
        spark.sql(f"VACUUM {second.tables.sql_name('documents')} RETAIN 0 HOURS")
    with pytest.raises(SettingsFault) as fault:
        Replay(spark, STAGES, make_runner(spark, root, given).tables, str(tmp_path / "new"), print).run("first")
    assert [one.partition(" (")[0].partition(". ")[0] for one in fault.value.faults] == [
        "documents: this program makes it otherwise than run first-run did",
        "documents: files of the version that run first-run left are gone",
    ]


@pytest.mark.faults
def test_what_cannot_be_replayed_is_refused_by_name(spark: SparkSession, root: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    write_conversations(tmp_path / "talks.jsonl", [["hello", "hello"]])
    for name in "abc":
        write_documents(tmp_path / "docs" / f"{name}.jsonl", [prose(name, 10)])
    given = [f"inputs.conversations=['{tmp_path}/talks.jsonl']", f"inputs.documents=['{tmp_path}/docs/*']"]
    past_run(make_runner(spark, root, given, "first-run"))
    write_documents(tmp_path / "docs" / "late.jsonl", [prose("late", 10)])
    past_run(make_runner(spark, root, given, "second-run"))
    new = tmp_path / "new"

    def faults(wanted: str) -> list[str]:
        tables = make_runner(spark, root, given).tables
        with pytest.raises(SettingsFault) as fault:
            Replay(spark, STAGES, tables, str(new), print).run(wanted)
        assert not new.exists(), "nothing is written"
        return fault.value.faults

    assert "second-run" in faults("nobody")[0]
    write_documents(tmp_path / "docs" / "a.jsonl", [prose("a", 11)])
    (tmp_path / "docs" / "b.jsonl").unlink()
    (tmp_path / "docs" / "late.jsonl").write_text("{}", encoding="utf-8")
    changed, missing = tmp_path / "docs" / "a.jsonl", tmp_path / "docs" / "b.jsonl"
    assert faults("first") == [f"{changed}: its content has changed since", f"{missing}: is missing"]
    assert len(faults("second")) == 3, "the later file concerns the later run alone"

    forgetter = make_runner(spark, root, given, "forgetter")
    files = {Path(row["path"]).stem: row["id"] for row in rows(forgetter, "source_files")}
    document = "d" * 64
    buried = [
        ("source_files", files["c"], files["c"]),
        ("documents", "e" * 64, files["c"]),  # of that file, which is named already
        ("source_files", files["late"], files["late"]),
        ("documents", document, document),
    ]
    bury(forgetter.tables, spark.createDataFrame(buried, "table string, id string, asked string"), {})
    told = faults("first")
    assert sum("was forgotten on" in sentence for sentence in told) == 2
    assert any(str(tmp_path / "docs" / "c.jsonl") in sentence for sentence in told)
    assert any(document[:16] in sentence for sentence in told) and not any("late" in sentence for sentence in told)
