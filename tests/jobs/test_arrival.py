"""What depends on which file came first although near duplicates stay in (docs/incremental.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.runner import Runner
from tests.equality import content
from tests.roots import make_runner, prose, rows, run_stages

pytestmark = pytest.mark.spark
STATED = {
    "a": {"language": "English", "toxic": False, "redacted": False, "licence": "MIT"},
    "b": {"language": "German", "toxic": True, "redacted": True, "licence": "CC0-1.0"},
}
CODES = {"English": "en", "German": "de"}
HERE = ("conversations", "long_conversations")


def write(folder: Path, name: str, said: str) -> Path:
    """A file with one conversation, of which its source states what STATED has under the name."""
    turns = [{"role": "user", "content": said}, {"role": "assistant", "content": "In short: it grew."}]
    record = {"conversation_hash": name, "conversation": turns, "model": "m", **STATED[name]}
    path = folder / f"talk-{name}.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    return path


def read(spark: SparkSession, root: Path, *runs: list[Path]) -> Runner:
    """A root that read these files, run by run."""
    rules = [
        "filter={near_duplicates: false, min_conversation_tokens: 50}",
        f"inputs.documents=['{root.parent}/docs.jsonl']",
    ]
    known: list[str] = []
    for number, files in enumerate(runs):
        known += [str(path) for path in files]
        runner = make_runner(spark, str(root), [*rules, f"inputs.conversations={known}"], f"run-{number}")
        run_stages(runner, *HERE)
    return runner


def stated(runner: Runner) -> dict[str, Any]:
    """What the one row says that its sources state."""
    (row,) = rows(runner, "conversations")
    assert row["path"].endswith(f"talk-{row['conversation_id']}.jsonl")
    return {name: row[name] for name in ("language", "toxic", "redacted", "licence")}


@pytest.mark.timeout(1200)
def test_a_record_of_two_files_takes_what_the_first_one_says(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text("", encoding="utf-8")
    a, b = (write(tmp_path, name, prose("rice", 12)) for name in "ab")
    says = {name: values | {"language": CODES[str(values["language"])]} for name, values in STATED.items()}
    roots = {
        "a": read(spark, tmp_path / "a-then-b", [a], [b]),
        "b": read(spark, tmp_path / "b-then-a", [b], [a]),
        "together": read(spark, tmp_path / "together", [b, a]),  # of one run the smallest path is the first
    }
    assert {name: stated(runner) for name, runner in roots.items()} == {**says, "together": says["a"]}
    reasons = {name: rows(runner, "long_conversations")[0]["reject_reason"] for name, runner in roots.items()}
    assert reasons == {"a": None, "b": "toxic", "together": None}
    sightings = [content(runner.tables, "sources") for runner in roots.values()]
    assert len(sightings[0]) == 2 and sightings[0] == sightings[1] == sightings[2], (
        "both are known, whatever came first"
    )
    ids = {rows(runner, "conversations")[0]["id"] for runner in roots.values()}
    assert len(ids) == 1


@pytest.mark.timeout(1200)
def test_texts_that_differ_in_case_and_spacing_alone_are_one(spark: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text("", encoding="utf-8")
    said = prose("rice", 12)
    spellings = {"a": said, "b": said.upper().replace(" ", "  ")}
    files = {}
    for name, text in spellings.items():
        files[name] = write(tmp_path, name, text)
        record = json.loads(files[name].read_text(encoding="utf-8")) | STATED["a"]
        files[name].write_text(json.dumps(record) + "\n", encoding="utf-8")
    for first, second in ("ab", "ba"):
        runner = read(spark, tmp_path / f"{first}-then-{second}", [files[first]], [files[second]])
        path = {row["id"]: row["path"] for row in rows(runner, "conversations")}
        fate = {path[row["conversation"]]: row["reject_reason"] for row in rows(runner, "long_conversations")}
        kept = {row["conversation"]: row["id"] for row in rows(runner, "long_conversations")}
        (winner,) = [kept[key] for key in kept if path[key] == str(files[first])]
        assert fate == {str(files[first]): None, str(files[second]): f"exact_duplicate:{winner}"}
