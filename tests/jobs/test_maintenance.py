"""Maintenance changes no sum, no row and no stage; layouts are brought up, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime import tables as tables_module
from jobs.runtime.errors import LayoutRefused, SettingsFault
from jobs.runtime.history import Execution, History
from jobs.runtime.layout import layout_of, require_layout
from jobs.runtime.maintenance import folded, maintain, require_retention
from jobs.runtime.runner import Runner
from jobs.runtime.runs import begin
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import Once, Tables
from jobs.stages import STAGES
from tests.aging import grow_older
from tests.roots import make_runner, prose, run_stages, write_conversations, write_documents

COUNTS = "id string, parent_ids array<string>, reject_reason string, run_id string, recipe string, node string, \
batch string, setting string, document_type string, field string, value string, count bigint"


def counts(spark: SparkSession, *given: tuple[str, str, int]) -> object:
    rows = [(k, [], None, "r", "x", k, batch, "single", "news", "tasks", k, n) for k, batch, n in given]
    return spark.createDataFrame(rows, COUNTS)


@pytest.mark.spark
def test_folding_keeps_every_sum_and_drops_what_is_nothing(spark: SparkSession) -> None:
    frame = counts(spark, ("a", "0-0", 2), ("a", "0-1", 3), ("b", "0-0", 1), ("b", "forget-1", -1), ("c", "0-1", 1))
    rows = folded(frame, "folded-7").collect()  # type: ignore[arg-type]
    assert {row["node"]: row["count"] for row in rows} == {"a": 5, "c": 1}
    assert {row["batch"] for row in rows} == {"folded-7"}


def count_batch(runner: Runner, batch: int, *given: tuple[str, int]) -> None:
    frame = counts(runner.spark, *[(key, f"0-{batch}", n) for key, n in given])
    runner.tables.append(frame, "nodes", {}, Once("longloom/nodes/0", batch))  # type: ignore[arg-type]


def sums(tables: Tables) -> dict[str, int]:
    rows = tables.read("nodes").groupBy("node").sum("count").collect()
    return {row[0]: row[1] for row in rows if row[1]}


@pytest.mark.spark
@pytest.mark.faults
def test_stages_stay_unchanged_and_batches_stay_exactly_once(spark: SparkSession, root: str, tmp_path: Path) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl", [["Summarise this.", "In short: so."]])
    docs = write_documents(tmp_path / "docs.jsonl", [prose("rice", 10), prose("tides", 10)])
    given = [f"inputs.conversations=['{talk}']", f"inputs.documents=['{docs}']"]
    runner = make_runner(spark, root, given)
    run_stages(runner, "documents", "long_documents")
    for batch in (0, 1):
        count_batch(runner, batch, ("a", 1), ("nothing", 1 - 2 * batch))
    before, first = sums(runner.tables), runner.tables.version("documents")

    keeper = make_runner(spark, root, given, "maintain-1")
    maintain(keeper, STAGES, 168)
    assert sums(keeper.tables) == before == {"a": 2}
    assert keeper.tables.read("nodes").count() == 1
    assert keeper.tables.read("documents", version=first).count() == 2, "a version of last week stays readable"

    later = make_runner(spark, root, given, "run-2")
    count_batch(later, 1, ("a", 1))  # the batch was written before it was folded
    assert sums(later.tables) == before, "a batch that is replayed after it was folded is not counted again"
    states = {name: tally.state for name, tally in run_stages(later, "documents", "long_documents").stages.items()}
    assert states == {"documents": "unchanged", "long_documents": "unchanged"}

    # A stage that is behind keeps the vacuum away: what it has to read must not be taken from it.
    write_documents(tmp_path / "docs.jsonl", [prose("moss", 10)])
    behind = make_runner(spark, root, given, "run-3")
    run_stages(behind)
    with pytest.raises(SettingsFault, match=r"documents \(source_files\).*synthesize"):
        maintain(make_runner(spark, root, given, "maintain-2"), STAGES, 168)
    run_stages(make_runner(spark, root, given, "run-4"), "documents")

    # So does one whose run died before it noted anything: its stream is there, and behind.
    started = Path(root) / "_checkpoints" / "long_conversations" / "0" / "offsets"
    run_stages(make_runner(spark, root, given, "run-5"), "conversations", "long_documents")
    started.mkdir(parents=True)
    with pytest.raises(SettingsFault, match=r"rows to read: long_conversations \(conversations\)"):
        maintain(make_runner(spark, root, given, "maintain-3"), STAGES, 168)


@pytest.mark.spark
@pytest.mark.faults
def test_a_stage_that_was_switched_off_holds_nothing_up(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """Its table is left as it is, so that it can go on when it is switched on again."""
    docs = write_documents(tmp_path / "docs.jsonl", [prose("rice", 10)])
    given = [f"inputs.documents=['{docs}']", f"inputs.conversations=['{docs}']"]
    runner = make_runner(spark, root, given)
    run_stages(runner, "documents")
    (Path(root) / "_checkpoints" / "influence" / "0" / "offsets").mkdir(parents=True)
    empty = runner.tables.conform(runner.tables.read("samples"), "samples", {})
    for _ in range(2):
        runner.tables.append(empty, "samples", {})
    before = runner.tables.version("samples")
    with pytest.raises(SettingsFault, match=r"influence \(samples\)"):
        maintain(make_runner(spark, root, given, "maintain-1"), STAGES, 168)

    begin(runner.history, "synthesize", {"selection": {"by": "order"}}, {})
    made = maintain(make_runner(spark, root, given, "maintain-2"), STAGES, 168)
    assert "samples" not in made and make_runner(spark, root, given).tables.version("samples") == before
    assert made["documents"] >= 1


@pytest.mark.faults
@pytest.mark.spark
def test_the_versions_of_a_kept_run_stay_readable(spark: SparkSession, root: str) -> None:
    """Two rows, of which a later run deletes one; the version that holds both is wanted by somebody."""

    def run(run_id: str) -> Runner:
        return make_runner(spark, root, run_id=run_id)

    def note_a_run(runner: Runner, change: Callable[[Tables], object]) -> None:
        change(runner.tables)
        runner.history.record(Execution("nodes", 0, "", {}, {}, -1, "done"), StageTally("nodes", seconds=1.0))
        runner.history.flush()

    def rows_of_first_version() -> int:
        spark.sparkContext._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()  # type: ignore[union-attr]
        return run("reader").tables.read("nodes", version=0).count()

    note_a_run(run("run-1"), lambda tables: count_batch(run("run-1"), 0, ("a", 1), ("b", 1)))
    grow_older(spark, root, 1)
    note_a_run(run("run-2"), lambda tables: tables.delete("nodes", "node = 'b'", {}))
    grow_older(spark, root, 150)
    with pytest.raises(SettingsFault, match=r"--keep run-9: no run of .* still tells of"):
        maintain(run("m1"), STAGES, 168, ["run-1", "run-9"])
    maintain(run("m1"), STAGES, 168, ["run-1"])
    grow_older(spark, root, 400)
    run("late").tables.append(spark.createDataFrame([], sql.columns("deferrals")), "deferrals", {})  # remembers a week
    maintain(run("m2"), STAGES, 168, ["run-1"])
    assert rows_of_first_version() == 2, "named again after seventeen days, long past what Delta remembers by itself"
    maintain(run("m3"), STAGES, 700)
    assert rows_of_first_version() == 2, "a long retention needs nobody to be named"
    maintain(run("m4"), STAGES, 168)
    with pytest.raises(Exception, match=r"DELTA_|does not exist|FILE_NOT_EXIST"):
        rows_of_first_version()
    note_a_run(run("run-3"), lambda tables: tables.delete("nodes", "node = 'a'", {}))
    grow_older(spark, root, 30)
    last, files = run("reader").tables.version("nodes"), len(list(Path(root, "nodes").glob("*.parquet")))
    maintain(run("m5"), STAGES, 40)
    assert len(list(Path(root, "nodes").glob("*.parquet"))) == files, f"removed 30 hours ago, by version {last}"
    maintain(run("m5"), STAGES, 20)
    assert len(list(Path(root, "nodes").glob("*.parquet"))) < files, "a retention below a week is kept to as well"
    grow_older(spark, root, 800)
    with pytest.raises(
        SettingsFault, match=r"--keep run-1: it ended .* hours ago, and the tables remember .* 20 hours"
    ):
        maintain(run("m6"), STAGES, 168, ["run-1"])


def test_a_short_retention_must_be_meant() -> None:
    require_retention(168, drop_history=False)
    require_retention(0, drop_history=True)
    with pytest.raises(SettingsFault, match="--drop-history"):
        require_retention(167, drop_history=False)
    with pytest.raises(SettingsFault, match="negative"):
        require_retention(-1, drop_history=True)


@pytest.mark.spark
def test_layouts_are_brought_up_or_refused(spark: SparkSession, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = make_runner(spark, root).tables
    assert layout_of(tables) is None
    require_layout(tables)

    def write_with(layout: int) -> None:
        monkeypatch.setattr(tables_module, "LAYOUT", layout)
        row = dict.fromkeys(sql.columns("source_files").names) | {"id": f"f{layout}"}
        tables.append(spark.createDataFrame([row], sql.columns("source_files")), "source_files", {})

    write_with(3)
    require_layout(tables, target=3)
    done: list[int] = []
    with pytest.raises(LayoutRefused, match="has layout 3, and no step leads from layout 4 to 5"):
        require_layout(tables, migrate=True, steps={3: lambda _: done.append(3)}, target=5)
    steps = {3: lambda _: done.append(3), 4: lambda _: done.append(4)}
    with pytest.raises(LayoutRefused, match=r"has layout 3, this longloom works on 5. Run jobs/synthesize"):
        require_layout(tables, steps=steps, target=5)
    assert done == [], "nothing is done before it is known that all steps are there"
    monkeypatch.setattr(tables_module, "LAYOUT", 5)
    require_layout(tables, migrate=True, steps=steps, target=5)
    assert done == [3, 4] and layout_of(tables) == 5
    last = History(tables).last("layout")
    assert last is not None and last.detail == {"from": 3, "to": 5}
    with pytest.raises(LayoutRefused, match="has layout 5, and this longloom knows layouts up to 4: a newer one"):
        require_layout(tables, migrate=True, target=4)
