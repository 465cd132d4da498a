"""The register of files: what is hashed, what is new, what is named, and how often."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs.runtime import sources
from jobs.runtime.errors import SettingsFault
from jobs.runtime.registered import Contents, Listed
from jobs.runtime.runner import Runner
from jobs.runtime.settings import load_settings
from jobs.runtime.sources import Seen, find_inputs, register, unread
from jobs.runtime.summary import Summary
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.roots import make_runner, prose, rows, write_conversations, write_documents
from tests.small_corpus import synthesize
from udfs.readers import InputFile, formats


def listed(content: str | None, mtime_ns: int | None, forgotten: bool = False) -> Listed:
    return Listed(f"id-{content}", 1, mtime_ns, content, forgotten)


def test_the_content_that_stands_is_told_from_those_that_stood() -> None:
    file = Contents((listed("a", None), listed("b", 5)))
    assert file.current == listed("b", 5) and file.of("a") == listed("a", None) and file.of("c") is None
    assert file.stands_as(1, 5) and not file.is_open(1, 5) and file.is_open(1, 6) and file.is_open(2, 5)
    older = Contents((listed("a", 9), listed("b", 5)))  # as older programs left it
    assert older.current == listed("a", 9)
    gone = Contents((listed("a", None),))
    assert gone.current is None and gone.is_open(1, 5) and not gone.forgotten


def test_what_could_not_be_hashed_is_open_until_it_is_forgotten() -> None:
    file = Contents((listed("a", 5), listed(None, 6)))
    assert file.waiting == listed(None, 6) and file.current == listed("a", 5) and file.is_open(1, 5)
    lost = Contents((listed(None, 6, forgotten=True),))
    assert lost.forgotten and lost.waiting is None and not lost.is_open(1, 6) and not lost.is_open(7, 7)


def test_a_sentence_is_said_once() -> None:
    summary = Summary()
    for sentence in ("one", "two", "one"):
        summary.warn(sentence)
    assert summary.warnings == ["one", "two"]


@pytest.mark.spark
def test_files_of_a_folder_that_are_not_read_are_named_by_the_run(
    spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Counted, the first by name, with what is read instead: in the summary, and on a dry run."""
    folder = tmp_path / "in"
    folder.mkdir()
    talk = write_conversations(folder / "talk.jsonl", [["why?", "so."]])
    for number in range(7):
        (folder / f"sheet{number}.csv").write_text("a,b\n")
    (folder / "_SUCCESS").touch()
    given = [f"inputs={{conversations: ['{folder}'], documents: ['{talk}']}}"]
    names = ", ".join(f"{folder}/sheet{number}.csv" for number in range(5))
    named = f"inputs.conversations: skipped below folders for their endings, 7: {names} and 2 more. Read are "
    status, summary = synthesize(spark, tmp_path / "root", given, until="conversations")
    assert status == 0 and summary["stages"][0]["kept"] == 1, summary
    (told,) = [line for line in summary["warnings"] if "skipped" in line]
    assert told.startswith(named) and ".jsonl.zst" in told and "convert what is data" in told
    assert f"warning: {told}" in capsys.readouterr().out
    settings = load_settings(None, given, str(tmp_path / "dry"))
    assert Synthesis(spark, settings, STAGES, Choices(dry_run=True)).run() == 0
    assert f"warning: {told}" in capsys.readouterr().out
    assert not (tmp_path / "dry").exists()


@pytest.fixture
def night(
    spark: SparkSession, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], tuple[int, list[str], list[str], list[str]]]:
    """List and register as a run does: (files appended, warnings, names hashed, names a plan takes for new)."""
    talk = write_conversations(tmp_path / "talk.jsonl", [["why?", "so."]])
    settings = [f"inputs.conversations=['{talk}']", f"inputs.documents=['{tmp_path}/docs*']"]
    count = 0
    hashed: list[str] = []
    hash_all = sources._hashed

    def noted(tables: object, files: list[InputFile]) -> object:
        hashed.extend(Path(file.path).name for file in files)
        return hash_all(tables, files)  # type: ignore[arg-type]

    monkeypatch.setattr(sources, "_hashed", noted)

    def run() -> tuple[int, list[str], list[str], list[str]]:
        nonlocal count
        count += 1
        runner = make_runner(spark, root, settings, f"run-{count}")
        files = find_inputs(runner.settings.inputs, Seen(runner.tables))
        planned = [Path(file.path).name for file in unread(runner.tables, files)]
        hashed.clear()
        added = register(runner.tables, files, runner.summary)
        return added, runner.summary.warnings, sorted(hashed), planned

    return run


Night = Callable[[], tuple[int, list[str], list[str], list[str]]]


@pytest.mark.spark
@pytest.mark.timeout(900)
def test_nights_of_a_folder(night: Night, spark: SparkSession, root: str, tmp_path: Path) -> None:
    """A touched file, a rewritten one, one rewritten back, one that goes and comes again."""
    one, other = (write_documents(tmp_path / f"docs-{n}.jsonl", [prose(n, 3)]) for n in ("one", "other"))
    first, second = one.read_bytes(), one.read_bytes() + b'{"text": "more"}\n'
    everything = ["docs-one.jsonl", "docs-other.jsonl", "talk.jsonl"]
    added, warnings, hashed, planned = night()
    assert (added, warnings, hashed, sorted(planned)) == (3, [], everything, everything)
    assert night() == (0, [], [], [])
    for mtime in (4_000_000_000, 1_000):  # a time to come, and one long ago, as of a restored file
        os.utime(one, (mtime, mtime))
        assert night() == (0, [], ["docs-one.jsonl"], []), "hashed once, and no news"
        assert night() == (0, [], [], [])

    one.write_bytes(second)
    os.utime(one, (500, 500))  # older than what it replaces
    added, warnings, hashed, planned = night()
    assert (added, hashed, planned) == (1, ["docs-one.jsonl"], ["docs-one.jsonl"])
    assert len(warnings) == 1 and "docs-one.jsonl: content changed since" in warnings[0]
    assert night() == (0, [], [], [])

    one.write_bytes(first)
    added, warnings, hashed, planned = night()
    assert (added, hashed, planned) == (0, ["docs-one.jsonl"], []), "what was read before is not read again"
    assert len(warnings) == 1 and "docs-one.jsonl: content changed back" in warnings[0]
    assert night() == (0, [], [], [])
    one.write_bytes(second)
    assert "docs-one.jsonl: content changed back" in night()[1][0], "every time"

    kept = other.read_bytes()
    other.unlink()
    assert any("docs-other.jsonl: an input (documents) of an earlier run is no longer" in w for w in night()[1])
    for _ in range(2):
        assert night()[1] == ["1 inputs that earlier runs missed are still not among the inputs; their rows stay"]
    other.write_bytes(kept)
    assert night() == (0, [], ["docs-other.jsonl"], []) and night() == (0, [], [], [])
    stored = rows(make_runner(spark, root), "source_files")
    assert len(stored) == 4 and sum(row["mtime_ns"] is not None for row in stored) == 3


@pytest.mark.spark
@pytest.mark.faults
def test_footers_are_opened_once(spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the run that takes a file in; of other columns, nothing is written."""
    opened: list[str] = []
    looked = formats.require_known_columns

    def noted(path: str, kind: str) -> None:
        opened.append(Path(path).name)
        looked(path, kind)

    monkeypatch.setattr(formats, "require_known_columns", noted)
    talk = write_conversations(tmp_path / "talk.jsonl", [["why?", "so."]])
    given = [f"inputs.conversations=['{talk}']", f"inputs.documents=['{tmp_path}/docs*']", "types.k=1"]
    pq.write_table(pa.table({"text": ["one"]}), tmp_path / "docs-a.parquet")

    def run() -> list[str]:
        opened.clear()
        settings = load_settings(None, given, str(tmp_path / "root"))
        assert Synthesis(spark, settings, STAGES, Choices(until="documents")).run() == 0
        return opened

    assert run() == ["docs-a.parquet"]
    assert run() == []
    pq.write_table(pa.table({"text": ["two"]}), tmp_path / "docs-b.parquet")
    assert run() == ["docs-b.parquet"]
    pq.write_table(pa.table({"body": ["three"]}), tmp_path / "docs-c.parquet")
    runner: Runner = make_runner(spark, str(tmp_path / "root"))
    before = {name: runner.tables.version(name) for name in ("source_files", "documents", "stage_runs")}
    with pytest.raises(SettingsFault, match="body string"):
        run()
    assert {name: runner.tables.refresh(name) for name in before} == before
