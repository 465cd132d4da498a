"""What starts again, on real tables: nothing twice after a crash, and no other stage loses what is its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.errors import RecipeChanged
from jobs.runtime.restart import require_recipes, restart
from jobs.runtime.runner import Runner
from jobs.runtime.sources import find_inputs
from jobs.stages import STAGES
from tests.equality import assert_same_tables, content
from tests.roots import make_runner, prose, run_stages, write_conversations, write_documents

pytestmark = pytest.mark.spark
STAGES_HERE = ("conversations", "documents", "long_documents")
TABLES = (*STAGES_HERE, "source_files", "sources")


@pytest.fixture
def given(tmp_path: Path) -> Iterator[list[str]]:
    talk = write_conversations(tmp_path / "talk.jsonl", [[f"Summarise this. {prose('rice', 4)}", "In short: rice."]])
    for name, topics in {"a": ("rice", "tides"), "b": ("moss",)}.items():
        write_documents(tmp_path / f"docs-{name}.jsonl", [prose(topic, 10) for topic in topics])
    yield [
        f"inputs.conversations=['{talk}']",
        f"inputs.documents=['{tmp_path}/docs-*.jsonl']",
        "filter={min_document_tokens: 50, max_pair_document_tokens: 300, max_document_tokens: 600}",
    ]


def start_again(runner: Runner, *starts: str) -> None:
    restart(runner, STAGES, starts, find_inputs(runner.settings.inputs))


def require(runner: Runner, starts: Sequence[str] = ()) -> None:
    require_recipes(STAGES, runner.settings, runner.tables, runner.history, starts)


def test_a_crash_before_the_old_rows_were_deleted_leaves_nothing_twice(
    spark: SparkSession, tmp_path: Path, given: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, fresh = str(tmp_path / "root"), str(tmp_path / "fresh")
    run_stages(make_runner(spark, root, given), *STAGES_HERE)
    dying = make_runner(spark, root, given, "run-2")

    def die(name: str, *_: object) -> int:
        raise RuntimeError(f"killed before {name} was emptied")

    monkeypatch.setattr(dying.tables, "delete", die)
    with pytest.raises(RuntimeError, match="before documents was emptied"):
        start_again(dying, "documents")

    after = make_runner(spark, root, given, "run-3")
    assert {"documents", "long_documents"} <= set(after.history.to_empty)
    start_again(after)  # nothing is asked for: what was begun is ended
    run_stages(after, *STAGES_HERE)
    last = make_runner(spark, root, given, "run-4")
    assert not last.history.to_empty
    assert last.history.epoch("documents") == 1
    assert last.history.epoch("conversations") == 0

    one = make_runner(spark, fresh, given)
    run_stages(one, *STAGES_HERE)
    assert_same_tables(last.tables, one.tables, TABLES)


def test_source_records_start_again_from_the_inputs_as_they_are_now(
    spark: SparkSession, tmp_path: Path, given: list[str]
) -> None:
    """A file that was rewritten and one that is gone: a restart reads what is there, as a fresh root does."""
    root, fresh = str(tmp_path / "root"), str(tmp_path / "fresh")
    first = make_runner(spark, root, given)
    run_stages(first, *STAGES_HERE)
    talked = {row["id"] for row in content(first.tables, "sources").values() if row["record_table"] == "conversations"}
    write_documents(tmp_path / "docs-a.jsonl", [prose("basalt", 10)])
    os.utime(tmp_path / "docs-a.jsonl", (2_000_000_000, 2_000_000_000))
    (tmp_path / "docs-b.jsonl").unlink()

    again = make_runner(spark, root, given, "run-2")
    start_again(again, "documents")
    assert talked == {row["id"] for row in content(again.tables, "sources").values()}, "conversations keep theirs"
    summary = run_stages(again, *STAGES_HERE)
    assert [w for w in summary.warnings if "docs-b.jsonl: no longer among the inputs" in w]
    assert summary.stages["conversations"].out == 0

    one = make_runner(spark, fresh, given)
    run_stages(one, *STAGES_HERE)
    assert_same_tables(again.tables, one.tables, TABLES)


def test_changed_settings_are_refused_with_the_restarts_that_cover_them(
    spark: SparkSession, tmp_path: Path, given: list[str]
) -> None:
    root = str(tmp_path / "root")
    run_stages(make_runner(spark, root, given), "conversations", "documents", "long_conversations", "long_documents")
    changed = [*given, "filter.min_document_tokens=60"]
    runner = make_runner(spark, root, changed, "run-2")
    with pytest.raises(RecipeChanged, match=r"--recompute long_conversations,long_documents \("):
        require(runner)
    with pytest.raises(RecipeChanged, match=r"--recompute conversations,long_documents \("):
        require(runner, ["conversations"])
    require(runner, ["long_conversations", "long_documents"])


def test_rows_of_a_run_that_died_are_not_mixed_with_others(
    spark: SparkSession, tmp_path: Path, given: list[str]
) -> None:
    """It noted nothing of its stages; the recipe on its rows is enough."""
    root = str(tmp_path / "root")
    dying = make_runner(spark, root, given)
    dying.history.flush = lambda: None  # type: ignore[method-assign]
    run_stages(dying, *STAGES_HERE)
    require(make_runner(spark, root, given, "run-2"))
    with pytest.raises(RecipeChanged, match=r"long_documents: an interrupted run[\s\S]*--recompute long_documents "):
        require(make_runner(spark, root, [*given, "filter.min_document_tokens=60"], "run-3"))
