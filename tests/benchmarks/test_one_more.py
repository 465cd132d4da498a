"""One more conversation on a root whose targets are met, against a run with nothing new and a bare chain of tables.

All are commands that a scheduler starts, each in a JVM of its own. The chain is what Spark and Delta alone take for as
many tables in a row as the conversation passes through; it does nothing with the rows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.timing import ratio, say
from tests.small_corpus import fitting, small_corpus

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).resolve().parents[2]
SUBMIT = Path(sys.prefix) / "bin" / "spark-submit"
ROWS = 64


def submit(script: str, *arguments: str) -> str:
    """A job on this machine, as a scheduler starts it; what it printed."""
    done = subprocess.run(
        [str(SUBMIT), str(CHECKOUT / script), *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def run_job(root: Path, given: list[str]) -> dict[str, Any]:
    """A run of the main job; its summary."""
    summary = root.with_suffix(".json")
    chosen = [part for one in given for part in ("--set", one)]
    submit("jobs/synthesize.py", "--root", str(root), "--summary", str(summary), *chosen)
    told: dict[str, Any] = json.loads(summary.read_text(encoding="utf-8"))
    return told


def chain(folder: Path, tables: int, rows: int) -> float:
    """Seconds of a bare chain."""
    said = submit("tests/benchmarks/bare_chain.py", str(folder), str(tables), str(rows))
    found = re.search(r"^chain ([\d.]+)$", said, re.M)
    assert found, said
    return float(found[1])


def test_one_more_conversation(tmp_path: Path) -> None:
    records = small_corpus(tmp_path / "whole")
    records.write_conversations(tmp_path / "conversations-1.parquet", 0, -1)
    records.write_documents(tmp_path / "documents-1.jsonl.zst")
    given = fitting(tmp_path)
    first = run_job(tmp_path / "root", given)
    idle = run_job(tmp_path / "root", given)
    records.write_conversations(tmp_path / "conversations-2.parquet", -1)
    more = run_job(tmp_path / "root", given)
    again = run_job(tmp_path / "root", given)
    stages = [one["stage"] for one in more["stages"] if one["state"] == "done" and one["in"]]
    assert "meta_records" in stages and "edges" in stages and not [one for one in idle["stages"] if one["calls"]]
    chain(tmp_path / "chain", len(stages), ROWS)
    bare = chain(tmp_path / "chain", len(stages), 1)
    nothing = min(idle["seconds"], again["seconds"])
    added = more["seconds"] - nothing
    calls = sum(one["calls"] for one in more["stages"])
    say(
        "one more conversation",
        f"first run {first['seconds']:.1f} s, nothing new {nothing:.1f} s, one more {more['seconds']:.1f} s "
        f"({added:.1f} s more, {calls} calls, {len(stages)} stages with rows); a bare chain of {len(stages)} streamed "
        f"Delta tables {bare:.1f} s, {ratio(bare, added):.2f} of what is added",
    )
