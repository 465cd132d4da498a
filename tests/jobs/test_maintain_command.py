"""Maintenance packs what many appends left behind; and `jobs/maintain.py` as a user types it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.opening import opened
from jobs.runtime.settings import load_settings
from jobs.runtime.tables import Tables
from tests.equality import content, tables_at
from tests.roots import make_runner, prose, run_stages, write_conversations, write_documents

pytestmark = [pytest.mark.spark, pytest.mark.faults]
CHECKOUT = Path(__file__).resolve().parents[2]
TABLES = ("documents", "long_documents", "sources", "source_files")
RUNS = 4


def typed(root: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "jobs.maintain", "--root", root, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def active(tables: Tables) -> dict[str, int]:
    """Files that the newest version of each table is read from."""
    return {name: len(tables.read(name).inputFiles()) for name in TABLES}


@pytest.mark.timeout(1200)
def test_many_appends_are_packed_and_the_command_says_what_it_did(
    spark: SparkSession, root: str, tmp_path: Path
) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl", [["Summarise this.", "In short: so."]])
    given = [
        f"inputs.conversations=['{talk}']",
        f"inputs.documents=['{tmp_path}/docs-*.jsonl']",
        "filter={min_document_tokens: 50, max_pair_document_tokens: 300, max_document_tokens: 600}",
    ]
    for run in range(RUNS):
        write_documents(tmp_path / f"docs-{run}.jsonl", [prose(f"topic{run}", 10)])
        run_stages(make_runner(spark, root, given, f"run-{run}"), "documents", "long_documents")
    tables = tables_at(spark, root)
    files, held = active(tables), {name: content(tables, name) for name in TABLES}
    assert all(count >= RUNS for count in files.values()), files
    versions = {name: tables.version(name) for name in sql.tables()}

    # Refused, and nothing is written: a short retention that was not meant, and a root that another run holds.
    refused = typed(root, "--retain", "1")
    assert refused.returncode == 2 and "--retain 1: below 168 hours" in refused.stderr, refused.stderr
    assert "--drop-history" in refused.stderr
    with opened(spark, load_settings(None, given, root), print):
        busy = typed(root)
    assert busy.returncode == 5 and f"process {os.getpid()}" in busy.stderr, busy.stderr
    assert {name: tables.refresh(name) for name in versions} == versions

    done = typed(root)
    assert done.returncode == 0, done.stderr
    said = re.search(r"^(\d+) tables, (\d+) commits; versions of the last 168 hours stay readable$", done.stdout, re.M)
    now = tables_at(spark, root)
    there = [name for name in versions if versions[name] >= 0]
    assert said and int(said[1]) == len(there)
    # Noting that every stage stays unchanged is a commit of its own behind the ones that are counted.
    grown = sum(now.version(name) - versions[name] for name in there)
    assert int(said[2]) in (grown, grown - 1) and int(said[2]) > 0
    packed = active(now)
    assert all(packed[name] < files[name] for name in TABLES), (files, packed)
    assert {name: content(now, name) for name in TABLES} == held
    states = run_stages(make_runner(spark, root, given, "later"), "documents", "long_documents").stages
    assert {tally.state for tally in states.values()} == {"unchanged"}
