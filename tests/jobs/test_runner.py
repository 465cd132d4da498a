"""The runner on real stages and real files: once each, nothing lost, nothing twice, gates before writes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.errors import GateStop, SchemaMismatch
from jobs.runtime.history import History
from jobs.runtime.runner import Runner
from jobs.runtime.settings import load_settings
from jobs.runtime.stage import Stage, stage
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.runtime.tables import Tables
from jobs.stages import STAGES
from tests.fake_server.client import FakeServer
from tests.faults.corpus import teacher, write_corpus
from tests.roots import BY_NAME, make_runner, prose, rows, run_stages, write_conversations, write_documents

pytestmark = pytest.mark.spark
SMALL = ["filter.min_document_tokens=50", "filter.max_pair_document_tokens=300", "filter.max_document_tokens=600"]


def inputs(conversations: Path, documents: Path) -> list[str]:
    return [f"inputs.conversations=['{conversations}']", f"inputs.documents=['{documents}/*']"]


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    return write_conversations(
        tmp_path / "talk.jsonl",
        [
            [f"Summarise this. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"]
            for topic in ("rice", "tides", "moss")
        ],
    )


def test_new_files_are_read_once_and_sightings_are_kept(
    spark: SparkSession, root: str, tmp_path: Path, talk: Path
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    write_documents(folder / "a.jsonl", [prose("rice", 10), prose("tides", 10), "short"])
    given = [*SMALL, *inputs(talk, folder)]
    first = run_stages(make_runner(spark, root, given), "documents", "long_documents")
    assert first.stages["documents"].as_dict()["in"] == 1
    assert first.stages["long_documents"].reasons == {"too_short": 1}

    again = make_runner(spark, root, given, "run-2")
    version = again.tables.version("documents")
    second = run_stages(again, "documents", "long_documents")
    assert {tally.state for tally in second.stages.values()} == {"unchanged"}
    assert again.tables.version("documents") == version

    write_documents(folder / "b.jsonl", [prose("rice", 10), prose("moss", 10)])
    third_runner = make_runner(spark, root, given, "run-3")
    third = run_stages(third_runner, "documents", "long_documents")
    assert third.stages["documents"].out == 1, "the repeated record is one record"
    assert third.stages["long_documents"].rows_in == 1
    sources = third_runner.tables.read("sources")
    assert sources.count() == 5
    seen_twice = sources.groupBy("record").count().where("count = 2").collect()
    assert len(seen_twice) == 1


def test_rewritten_and_torn_files_are_named(spark: SparkSession, root: str, tmp_path: Path, talk: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    file = write_documents(folder / "a.jsonl", [prose("rice", 10)])
    (folder / "torn.jsonl.gz").write_bytes(b"\x1f\x8b\x08\x00broken")
    given = [*SMALL, *inputs(talk, folder)]
    first = run_stages(make_runner(spark, root, given), "documents")
    assert any("torn.jsonl.gz: file:" in warning for warning in first.warnings), first.warnings
    assert first.stages["documents"].as_dict()["rejected"] == 1

    write_documents(file, [prose("rice", 10), prose("basalt", 10)])
    os.utime(file, (2_000_000_000, 2_000_000_000))
    runner = make_runner(spark, root, given, "run-2")
    second = run_stages(runner, "documents")
    assert any("content changed" in warning for warning in second.warnings), second.warnings
    assert len([row for row in rows(runner, "documents") if row["reject_reason"] is None]) == 2


@pytest.mark.faults
def test_what_wakes_a_stage(
    spark: SparkSession, root: str, tmp_path: Path, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of its driving table that are for it: neither files of the other kind nor a table that it looks into."""
    worked: list[str] = []
    batch = Runner._batch

    def noted(self: Runner, stage: Stage, *args: Any) -> DataFrame:
        worked.append(stage.name)
        return batch(self, stage, *args)

    monkeypatch.setattr(Runner, "_batch", noted)
    folder = tmp_path / "docs"
    folder.mkdir()
    write_documents(folder / "a.jsonl", [prose("rice", 10)])
    more = write_conversations(tmp_path / "more.jsonl", [[f"List it. {prose('basalt', 12)}", prose("basalt", 2)]])
    stages = ("documents", "conversations", "long_conversations", "meta_records")
    given = [*SMALL, *inputs(talk, folder), "filter.min_conversation_tokens=50"]
    run_stages(make_runner(spark, root, given), *stages)
    assert worked == list(stages)

    worked.clear()
    given.append(f"inputs.conversations=['{talk}', '{more}']")
    second = run_stages(make_runner(spark, root, given, "run-2"), "documents", "conversations", "meta_records").stages
    assert worked == ["conversations"]
    assert (second["documents"].rows_in, second["meta_records"].state) == (0, "unchanged")
    third = run_stages(make_runner(spark, root, given, "run-3"), "long_conversations", "meta_records").stages
    assert worked[1:] == ["long_conversations", "meta_records"]
    assert third["meta_records"].kept == 1


def test_waiting_calls_are_deferred_then_made_once(spark: SparkSession, root: str, tmp_path: Path, talk: Path) -> None:
    """A service that fails defers the rows; the next run retries them first; answered calls are never repeated."""
    folder = tmp_path / "docs"
    folder.mkdir()
    write_documents(folder / "a.jsonl", [prose("rice", 10)])
    stages = ("conversations", "long_conversations", "meta_records")
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given = [
            *SMALL,
            *inputs(talk, folder),
            "filter.min_conversation_tokens=50",
            "llm.teacher=openai",
            "llm.model=fake",
            "llm.api_key_env=FAKE_KEY",
            f"llm.base_url={server.base_url}",
            "llm.concurrency=2",
        ]
        server.change(faults={"server_500": 1.0}, times=99)
        first = run_stages(make_runner(spark, root, given), *stages)
        tally = first.stages["meta_records"]
        assert (tally.rows_in, tally.kept, tally.deferred) == (3, 0, 3), tally
        assert all(reason.startswith("defer:llm:") for reason in tally.reasons)

        server.change(faults={})
        waiting, sent = {request["hash"] for request in server.requests()}, len(server.requests())
        new = write_conversations(tmp_path / "new.jsonl", [[f"List it. {prose('basalt', 12)}", prose("basalt", 2)]])
        given.append(f"inputs.conversations=['{talk}', '{new}']")
        runner = make_runner(spark, root, given, "run-2")
        second = run_stages(runner, *stages)
        tally = second.stages["meta_records"]
        assert (tally.rows_in, tally.kept, tally.deferred, tally.out) == (4, 4, 0, 4), tally
        assert runner.history.open_deferrals("meta_records").isEmpty()
        order = [request["hash"] in waiting for request in server.requests()[sent:]]
        assert order == [True] * 3 + [False], "what waited comes before what is new"
        made = rows(runner, "meta_records")

        # The output is lost after the calls were answered: everything comes from the ledger.
        sent = len(server.requests())
        runner.history.start_epoch(["meta_records"])
        runner.tables.delete("meta_records", "true", {})
        again = make_runner(spark, root, given, "run-3")
        third = run_stages(again, *stages)
        assert third.stages["meta_records"].calls == 0
        assert len(server.requests()) == sent
        drop = {"run_id"}
        assert [{k: v for k, v in r.items() if k not in drop} for r in rows(again, "meta_records")] == [
            {k: v for k, v in r.items() if k not in drop} for r in made
        ]


@pytest.mark.faults
def test_a_row_that_the_service_finds_malformed_waits_until_others_were_answered(
    spark: SparkSession, root: str, tmp_path: Path
) -> None:
    """Alone it says nothing: the settings may be wrong. What the ledger holds settles it, in whatever run."""
    folder = tmp_path / "docs"
    folder.mkdir()
    write_documents(folder / "a.jsonl", [prose("rice", 10)])
    odd = write_conversations(
        tmp_path / "odd.jsonl", [[f"[[fault:bad_request]] {prose('rice', 12)}", prose("rice", 2)]]
    )
    good = write_conversations(tmp_path / "good.jsonl", [[f"List it. {prose('basalt', 12)}", prose("basalt", 2)]])
    stages = ("conversations", "long_conversations", "meta_records")
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given = [
            *SMALL, *inputs(odd, folder), "filter.min_conversation_tokens=50", "llm.teacher=openai", "llm.model=fake",
            "llm.api_key_env=FAKE_KEY", f"llm.base_url={server.base_url}",
            "llm.concurrency=1",  # what waits is asked alone and first; beside it, the other answer may come sooner
        ]  # fmt: skip
        told = []
        for number in range(3):
            # A run's own name: a Python worker that is used again remembers that a run of this name was answered.
            runner = make_runner(spark, root, given, f"malformed-{number}")
            told.append(run_stages(runner, *stages).stages["meta_records"])
            given.append(f"inputs.conversations=['{odd}', '{good}']")
        assert [(one.deferred, one.rejected, one.kept) for one in told] == [(1, 0, 0), (1, 0, 1), (0, 1, 0)]
        assert told[2].reasons == {"llm:bad_request": 1}


@stage(streams="seed_paths", counts="batch")
def edges(seed_paths: DataFrame) -> DataFrame:
    """A broken version of the stage: an edge inside a field."""
    return seed_paths.select(
        "id", "parent_ids", "reject_reason", "setting", "document_type",
        F.lit("a").alias("source"), F.lit("b").alias("target"), F.lit("tasks").alias("source_field"),
        F.lit("tasks").alias("target_field"), F.lit(1).cast("bigint").alias("count"),
    )  # fmt: skip


def seed_path_table(spark: SparkSession, runner: object) -> None:
    tables = runner.tables  # type: ignore[attr-defined]
    frame = spark.createDataFrame(
        [("s1", [], None, "single", "c1", "news", [], "do it")],
        "id string, parent_ids array<string>, reject_reason string, setting string, conversation string, "
        "document_type string, nodes array<struct<field: string, value: string, node: string>>, instruction string",
    )
    tables.append(tables.conform(frame, "seed_paths", {"run_id": "r", "recipe": "x"}), "seed_paths", {})


@pytest.mark.faults
def test_rows_that_wait_again_after_a_resolved_pass_are_written(
    spark: SparkSession, root: str, tmp_path: Path, talk: Path
) -> None:
    """A later pass of retries is a write of its own, although nothing waits from the earlier ones."""
    stages = ("conversations", "long_conversations", "meta_records")
    more = tmp_path / "talk-2.jsonl"
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given = [f"inputs.conversations=['{tmp_path}/talk*.jsonl']", f"inputs.documents=['{talk}']"]
        given += ["filter.min_conversation_tokens=50", *teacher(server.base_url, concurrency=2)]
        made = []
        for run, wanted in enumerate((0, 3, 3, 4)):
            if run == 2:
                write_conversations(more, [[f"Summarise this. {prose('basalt', 12)}", "In short: rock."]])
            server.change(faults={"server_500": 1.0} if run % 2 == 0 else {}, times=99)
            runner = make_runner(spark, root, given, f"run-{run}")
            tally = run_stages(runner, *stages).stages["meta_records"]
            made.append(len(rows(runner, "meta_records")))
            assert made[-1] == wanted and tally.deferred == (run % 2 == 0) * (3 if run == 0 else 1), (made, tally)
        assert runner.history.open_deferrals("meta_records").isEmpty()


def test_a_pass_is_numbered_above_every_one_before_it(spark: SparkSession, root: str) -> None:
    """Delta skips a write whose number it has seen, so a number that came back would lose what the pass resolved."""
    history = make_runner(spark, root).history

    def defer(name: str, reason: str | None, number: int) -> None:
        history.defer("samples", spark.createDataFrame([(name, reason)], "input_id string, reason string"), number)

    defer("x", "llm:server", 0)
    assert history.next_pass("samples") == 1
    defer("x", None, 1)
    defer("y", "llm:server", 0)
    assert [row["input_id"] for row in history.open_deferrals("samples").collect()] == ["y"]
    assert history.next_pass("samples") == 2
    history.start_epoch(["samples"])
    assert history.next_pass("samples") == 1 and history.open_deferrals("samples").isEmpty()


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_annotations_that_waited_wait_no_longer(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """Asked for in the next run, or no longer wanted: either way nothing is left in the queue."""
    given = write_corpus(tmp_path)
    with FakeServer(key=os.environ["FAKE_KEY"]) as server, FakeServer(key=os.environ["FAKE_KEY"]) as broken:
        given += teacher(server.base_url)
        broken.change(faults={"server_500": 1.0}, times=99)

        def run(status: int, *changes: str) -> History:
            settings = load_settings(None, [*given, *changes], root)
            assert Synthesis(spark, settings, STAGES, Choices(until="document_labels")).run() == status
            return History(Tables(spark, settings.storage))

        history = run(4, f"llm.stages={{document_labels: {{base_url: '{broken.base_url}'}}}}")
        waited = history.open_deferrals("document_labels").count()
        assert waited > 0
        history = run(0)
        assert history.open_deferrals("document_labels").isEmpty()
        assert Tables(spark, load_settings(None, given, root).storage).read("document_labels").count() == waited
        history.reopen("document_labels")
        history.defer(
            "document_labels", spark.createDataFrame([("x", "llm:server")], "input_id string, reason string"), 7
        )
        history = run(0, f"classifier.labels={waited}")
        assert history.open_deferrals("document_labels").isEmpty()
        last = history.last("document_labels")
        assert last is not None and last.state == "done"


def test_what_fails_a_gate_is_never_written(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root)
    seed_path_table(spark, runner)
    with pytest.raises(GateStop, match="an edge joins two values of one field"):
        runner.run(edges)
    assert not runner.tables.exists("edges")


def test_every_wrong_column_is_named(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root)
    frame = spark.createDataFrame([("a", "x")], "id string, extra string")
    with pytest.raises(SchemaMismatch, match=r"missing column node; .*unknown column extra"):
        runner.tables.conform(frame, "nodes", {})


def test_commits_name_their_run(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root, run_id="run-of-the-commit")
    seed_path_table(spark, runner)
    history = spark.sql(f"DESCRIBE HISTORY delta.`{root}/seed_paths`").collect()
    assert '"run_id": "run-of-the-commit"' in history[0]["userMetadata"]


def test_stages_are_the_shipped_ones() -> None:
    assert len(BY_NAME) == 23


@pytest.mark.faults
def test_a_crash_after_deferring_writes_no_row_twice(
    spark: SparkSession, root: str, tmp_path: Path, talk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the deferral and the output: the retry and the replayed batch both hold the row."""
    folder = tmp_path / "docs"
    folder.mkdir()
    write_documents(folder / "a.jsonl", [prose("rice", 10)])
    given = [*SMALL, *inputs(talk, folder), "filter.min_conversation_tokens=50", "llm.teacher=openai"]
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given += ["llm.model=fake", "llm.api_key_env=FAKE_KEY", f"llm.base_url={server.base_url}"]
        server.change(faults={"server_500": 1.0}, times=99)
        runner = make_runner(spark, root, given)
        run_stages(runner, "conversations", "long_conversations")

        def die(*_: object) -> None:
            raise RuntimeError("killed before the output was written")

        monkeypatch.setattr(runner, "_write", die)
        with pytest.raises(RuntimeError, match="killed"):
            runner.run(BY_NAME["meta_records"])
        assert runner.history.open_deferrals("meta_records").count() == 3

        server.change(faults={})
        again = make_runner(spark, root, given, "run-2")
        tally = run_stages(again, "meta_records").stages["meta_records"]
        tally.require_balance()
        ids = [row["id"] for row in rows(again, "meta_records")]
        assert len(ids) == 3 and len(set(ids)) == 3, ids
