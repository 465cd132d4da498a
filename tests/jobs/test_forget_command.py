"""`jobs/forget.py` as a user types it: what it says of a forgetting, line by line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.roots import make_runner, prose, rows, run_stages, write_conversations, write_documents

CHECKOUT = Path(__file__).resolve().parents[2]
STAGES_RUN = (
    "conversations", "long_conversations", "meta_records", "document_types", "conversation_types", "canonical_values",
    "task_rewrites", "seed_paths", "nodes", "edges", "documents", "long_documents",
)  # fmt: skip
REMOVED = re.compile(r"(\w+) +([\d,]+) rows removed")


def typed(root: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.forget", "--root", root, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


@pytest.mark.spark
@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_a_forgetting_is_told_line_by_line(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """A file with a conversation and one with a document go; a document in capitals was the latter's duplicate."""
    talks = [
        [f"Summarise this report on {topic} as a table. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"]
        for topic in ("rice", "tides")
    ]
    stays = write_conversations(tmp_path / "talk-1.jsonl", talks[:1])
    goes = write_conversations(tmp_path / "talk-2.jsonl", talks[1:])
    first = write_documents(tmp_path / "docs-1.jsonl", [prose("basalt", 10), prose("quartz", 10)])
    write_documents(tmp_path / "docs-2.jsonl", [prose("basalt", 10).upper()])
    given = [
        "filter={min_conversation_tokens: 50, min_document_tokens: 50, max_pair_document_tokens: 3000}",
        "types.k=1",
        f"inputs.conversations=['{tmp_path}/talk-*.jsonl']",
    ]
    both = [*given, f"inputs.documents=['{tmp_path}/docs-*.jsonl']"]
    run_stages(make_runner(spark, root, [*given, f"inputs.documents=['{first}']"]), *STAGES_RUN)
    runner = make_runner(spark, root, both, "run-2")
    run_stages(runner, "documents", "long_documents")
    assert len([row for row in rows(runner, "long_documents") if row["reject_reason"]]) == 1
    before = {name: len(rows(runner, name)) for name in ("sources", "seed_paths", "nodes", "llm_calls")}

    told = typed(root, "--source", str(goes), "--source", str(first))
    assert told.returncode == 0, told.stderr
    lines = told.stdout.splitlines()
    removed = {found[1]: int(found[2].replace(",", "")) for line in lines if (found := REMOVED.fullmatch(line))}
    assert {name: removed[name] for name in ("conversations", "documents", "source_files", "sources")} == {
        "conversations": 1, "documents": 2, "source_files": 2, "sources": 3,
    }  # fmt: skip
    assert removed["long_documents"] == 3, "the one that is judged again was taken out as well"
    after = {name: len(rows(make_runner(spark, root, both, "reader"), name)) for name in before}
    for name in ("sources", "seed_paths", "llm_calls"):
        assert removed[name] == before[name] - after[name] > 0, name
    assert f"{sum(removed.values()):,} rows removed in all" in lines
    again = r"long_documents +1 rejected as duplicates of it are judged again on the next run"
    (told_again,) = [line for line in lines if "judged again" in line]
    assert re.fullmatch(again, told_again), told_again
    stale = [line for line in lines if line.startswith("warning: ")]
    assert [line.split()[1] for line in stale] == ["canonical_values", "document_types"]
    assert all(re.search(rf"is stale: .* run with --refit {line.split()[1]} ", line) for line in stale)
    status = [sys.executable, "-m", "jobs.status", "--root", root]
    stands = subprocess.run(status, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [line for line in stands if line.startswith("warning: ")] == stale, "status says it as well"
    assert lines[-1] == (
        "older versions of the tables hold the rows until jobs/maintain.py drops them: docs/forgetting.md"
    )
    assert str(stays) in {row["path"] for row in rows(make_runner(spark, root, both, "reader"), "conversations")}

    again_told = typed(root, "--source", str(goes))
    assert again_told.returncode == 0 and "was forgotten before" in again_told.stdout
    assert "0 rows removed in all" in again_told.stdout and "older versions" not in again_told.stdout
