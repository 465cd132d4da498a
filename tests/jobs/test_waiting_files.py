"""A file that could not be reached waits: every run reads it again, and in the end nothing of the fault is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from jobs.runtime.forgetting import forget
from jobs.runtime.runner import Runner
from jobs.runtime.settings import load_settings
from jobs.runtime.sources import find_inputs, register
from jobs.runtime.summary import StageTally
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.roots import BY_NAME, make_runner, prose, rows, run_stages, write_conversations, write_documents
from tests.small_corpus import synthesize

pytestmark = pytest.mark.spark
TEXTS = [prose(topic, 10) for topic in ("rice", "tides", "moss", "basalt")]


def flaky(until: int) -> Callable[[str], Any]:
    """A reader whose files break off after `until` bytes with an error of their store."""

    def of_kind(kind: str) -> Any:
        def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            import io
            from unittest import mock

            from udfs.readers import reading

            class Reset(io.BytesIO):
                def read(self, size: int | None = -1) -> bytes:
                    if self.tell() == until:
                        raise ConnectionResetError("the store went away")
                    return super().read(until)

            with mock.patch.object(reading, "open_bytes", lambda path: Reset(Path(path).read_bytes())):
                yield from reading.read_files(kind)(batches)

        return read

    return of_kind


def given(folder: Path) -> list[str]:
    talk = write_conversations(folder / "talk.jsonl", [["why?", "so."]])
    return [f"inputs.conversations=['{talk}']", f"inputs.documents=['{folder}/docs*']", "types.k=1"]


def tally(runner: Runner) -> StageTally:
    """Run the stage that reads documents; its account, which balances."""
    told = run_stages(runner, "documents").stages["documents"]
    told.require_balance()
    return told


def waiting(runner: Runner) -> int:
    return runner.history.open_deferrals("documents").count()


def test_records_before_the_fault_are_kept_once_and_the_rest_comes_later(
    spark: SparkSession, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_documents(tmp_path / "docs.jsonl", TEXTS)
    write_documents(tmp_path / "docs-other.jsonl", TEXTS[:1])
    settings = given(tmp_path)
    half = sum(len(line) for line in file.read_bytes().splitlines(True)[:2]) + 10
    first = make_runner(spark, root, settings)
    with monkeypatch.context() as patch:
        patch.setitem(BY_NAME["documents"].function.__globals__, "read_files", flaky(half))
        told = tally(first)
    assert (told.rows_in, told.kept, told.rejected, told.deferred) == (2, 1, 0, 1)
    assert told.reasons == {"defer:file:unreadable": 1} and told.out == 2
    stored = rows(first, "documents")
    assert {row["text"] for row in stored} == set(TEXTS[:2]) and not any(row["reject_reason"] for row in stored)
    named = [line for line in first.summary.warnings if "docs.jsonl: file:unreadable" in line]
    assert len(named) == 1 and "the store went away" in named[0] and "forget.py --source" in named[0]

    second = make_runner(spark, root, settings, "run-2")
    told = tally(second)
    assert (told.rows_in, told.kept, told.deferred, told.out) == (1, 1, 0, 2), "only what was not there is written"
    texts = [row["text"] for row in rows(second, "documents")]
    assert sorted(texts) == sorted(TEXTS), "each once, and no row of the fault"
    assert len(rows(second, "sources")) == 5, "four records, one of them in two files"
    assert waiting(second) == 0 and not any("waits" in line for line in second.summary.warnings)
    assert tally(make_runner(spark, root, settings, "run-3")).state == "unchanged"


@pytest.mark.faults
def test_a_run_with_a_file_that_waits_says_so(spark: SparkSession, tmp_path: Path) -> None:
    """Exit status 4 and the file's name in every summary, until it is there."""
    root, file = tmp_path / "root", tmp_path / "docs.jsonl"
    settings = given(tmp_path)
    file.symlink_to(file)  # opening it fails, as on a mount that is away; its name is listed
    for _ in range(2):
        status, summary = synthesize(spark, root, settings, until="documents")
        assert status == 4 and summary["status"] == "deferred", summary
        assert any("docs.jsonl: file:unreadable" in line for line in summary["warnings"]), summary["warnings"]
        (told,) = [one for one in summary["stages"] if one["stage"] == "documents"]
        assert (told["in"], told["kept"], told["rejected"], told["deferred"]) == (1, 0, 0, 1)
    file.unlink()
    write_documents(file, TEXTS)
    status, summary = synthesize(spark, root, settings, until="documents")
    assert status == 0 and summary["warnings"] == [], summary["warnings"]
    runner = make_runner(spark, str(root), settings)
    assert {row["text"] for row in rows(runner, "documents")} == set(TEXTS) and waiting(runner) == 0
    assert not any(row["reject_reason"] for row in [*rows(runner, "documents"), *rows(runner, "sources")])
    assert len(rows(runner, "documents")) == len(TEXTS) and len(rows(runner, "sources")) == len(TEXTS) + 1
    assert len(rows(runner, "source_files")) == 2, "it was registered once"
    settled = load_settings(None, settings, str(root))
    assert Synthesis(spark, settled, STAGES, Choices(until="documents")).run() == 0


@pytest.mark.faults
def test_a_file_that_is_gone_waits_until_it_is_back_or_forgotten(
    spark: SparkSession, root: str, tmp_path: Path
) -> None:
    file, lost = (write_documents(tmp_path / f"docs-{name}.jsonl", [prose(name, 10)]) for name in ("back", "lost"))
    settings = given(tmp_path)
    first = make_runner(spark, root, settings)
    register(first.tables, find_inputs(first.settings.inputs), first.summary)
    kept = file.read_bytes()
    file.unlink()
    lost.unlink()
    first.run(BY_NAME["documents"])
    first.history.flush()
    assert first.summary.stages["documents"].reasons == {"defer:file:missing": 2} and waiting(first) == 2
    write_documents(tmp_path / "docs-new.jsonl", [prose("new", 10)])
    file.write_bytes(kept)  # restored: another time, the same content
    second = make_runner(spark, root, settings, "run-2")
    told = tally(second)
    assert (told.rows_in, told.kept, told.deferred) == (3, 2, 1)
    assert {Path(row["path"]).name for row in rows(second, "documents")} == {"docs-back.jsonl", "docs-new.jsonl"}
    assert any("docs-lost.jsonl: file:missing" in line for line in second.summary.warnings)

    forgetter = make_runner(spark, root, settings, "forget-1")
    assert forget(forgetter, STAGES, [str(lost)], []).removed == {"source_files": 1}
    assert waiting(forgetter) == 0
    last = make_runner(spark, root, settings, "run-3")
    told = tally(last)
    assert (told.rows_in, told.deferred, told.state) == (0, 0, "done")
    write_documents(lost, [prose("lost", 10)])
    again = make_runner(spark, root, settings, "run-4")
    assert tally(again).rows_in == 0 and len(rows(again, "documents")) == 2, "what was forgotten stays away"
    assert any("docs-lost.jsonl: was forgotten" in line for line in again.summary.warnings)
