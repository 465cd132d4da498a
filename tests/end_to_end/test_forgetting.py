"""The whole job, with two files forgotten that came later: as if it had never seen them, and it goes on from there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime import ledger
from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import forget
from jobs.runtime.maintenance import maintain
from jobs.runtime.opening import opened
from jobs.runtime.replaying import Replay
from jobs.runtime.settings import load_settings
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.leftovers import holding, leave_call
from tests.reporting import write_report
from tests.small_corpus import SmallCorpus, fitting, small_corpus, synthesize
from udfs.llm.spool import list_segments

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.faults]
CHECKOUT = Path(__file__).resolve().parents[2]
GENERATED = ("walks", "instructions", "pairings", "samples", "influence", "training_set")  # each made from the former
MARK = "the quorvex ledger of station seven"  # stands in the middle of every text of the files that are forgotten
DUPLICATE = re.compile(r"(?:exact|near)_duplicate:([0-9a-f]+)$")
Rows = dict[str, dict[str, Any]]


def marked(corpus: SmallCorpus, conversations: range, documents: range) -> SmallCorpus:
    """The corpus with MARK in the middle of all that these records say."""
    talks = corpus.conversations.to_pylist()
    for number in conversations:
        for turn in talks[number]["conversation"]:
            turn["content"] = in_the_middle(turn["content"])
    lines = list(corpus.documents)
    for number in documents:
        record = json.loads(lines[number])
        lines[number] = json.dumps(record | {"text": in_the_middle(record["text"])}).encode() + b"\n"
    return SmallCorpus(pa.Table.from_pylist(talks, schema=corpus.conversations.schema), lines)


def in_the_middle(text: str) -> str:
    """The text with a sentence more, between two of its own words."""
    words = text.split(" ")
    half = len(words) // 2
    return " ".join([*words[:half], f"Then {MARK} was sealed.", *words[half:]])


def counts(spark: SparkSession, root: Path, name: str, *key: str) -> dict[tuple[str, ...], int]:
    rows = tables_at(spark, root).read(name).groupBy(*key).agg(F.sum("count")).collect()
    return {tuple(row)[:-1]: row[-1] for row in rows}


def graph(spark: SparkSession, root: Path) -> list[dict[tuple[str, ...], int]]:
    return [counts(spark, root, "nodes", "node", "value"), counts(spark, root, "edges", "source", "target")]


def generated(spark: SparkSession, root: Path) -> dict[str, Rows]:
    """The rows of every generated table by their ids."""
    tables = tables_at(spark, root)
    return {name: {row["id"]: row.asDict(recursive=True) for row in tables.read(name).collect()} for name in GENERATED}


def dead_walks(spark: SparkSession, root: Path, walks: Rows) -> set[str]:
    """Which walks a root carries no more, in plain Python: a node or an edge of theirs or their seed path is gone."""
    nodes = {node for (node,), count in counts(spark, root, "nodes", "node").items() if count}
    edges = {frozenset(ends) for ends, count in counts(spark, root, "edges", "source", "target").items() if count}
    seeds = {row["id"] for row in tables_at(spark, root).read("seed_paths").select("id").collect()}
    dead = set()
    for name, row in walks.items():
        path = [node["node"] for node in row["nodes"]]
        carried = nodes.issuperset(path) and all(frozenset(pair) in edges for pair in pairwise(path))
        if not carried or row["nearest_seed_path"] not in {None, *seeds}:
            dead.add(name)
    return dead


def assert_it_cascaded(before: dict[str, Rows], after: dict[str, Rows], dead: set[str], records: set[str]) -> None:
    """What has a dead walk or a forgotten record among its ancestors went, table by table, and nothing else did.

    A row that was rejected as the duplicate of one that went is taken out to be judged again.
    """
    gone = dead | records
    assert set(before["walks"]) - set(after["walks"]) == dead
    for name in GENERATED[1:]:
        # A pairing names the stored forms of its documents as parents, and the documents beside them.
        held = {
            key: row["parent_ids"] + (row["documents"] if name == "pairings" else [])
            for key, row in before[name].items()
        }
        doomed = {key for key, parents in held.items() if not gone.isdisjoint(parents)}
        went = set(before[name]) - set(after[name])
        assert doomed and doomed <= went, f"{name}: {len(doomed - went)} of {len(doomed)} rows stayed"
        assert len(went) < len(before[name]), f"{name}: every row went"
        for key in went - doomed:
            found = DUPLICATE.match(before[name][key]["reject_reason"] or "")
            assert found and found[1] in doomed, f"{name}: {key} went with nothing that it was made from"
        gone |= doomed


def everything(spark: SparkSession, root: Path) -> str:
    """All that the tables hold, as JSON."""
    tables = tables_at(spark, root)
    return "\n".join(line for name in sql.tables() for line in tables.read(name).toJSON().collect())


def beginning(text: str) -> str:
    """The first characters of a text as JSON has them."""
    return json.dumps(text, ensure_ascii=False)[1:200]


def versions(spark: SparkSession, root: Path) -> dict[str, int]:
    tables = tables_at(spark, root)
    return {name: tables.version(name) for name in sql.tables()}


@pytest.mark.timeout(3600)
def test_a_root_that_forgot_is_one_that_never_saw(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = small_corpus(tmp_path / "whole")
    many = corpus.conversations.num_rows
    corpus = marked(corpus, range(many - 8, many - 1), range(6))
    talks = corpus.write_conversations(tmp_path / "conversations-1.parquet", 0, -8)
    assert talks.is_file()
    corpus.write_documents(tmp_path / "documents-1.jsonl.zst", 6, -1)
    given = fitting(tmp_path, "selection.by=influence", "influence.max_tokens=1024")
    root, before = tmp_path / "root", tmp_path / "never-saw"
    status, first = synthesize(spark, root, given)
    assert status == 0
    shutil.copytree(root, before)

    later = corpus.write_conversations(tmp_path / "conversations-2.parquet", -8, -1)
    more = corpus.write_documents(tmp_path / "documents-2.jsonl.zst", 0, 6)
    given.append("targets={single: 9, multi: 4}")  # so that walks are drawn over what is to be forgotten
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "remove_segments", lambda segments: None)  # as a run that is killed before it
        assert synthesize(spark, root, given)[0] == 0
    assert graph(spark, root) != graph(spark, before)
    chosen = tables_at(spark, root).kept("training_set").select(F.explode("documents").alias("document")).limit(1)
    (document,) = chosen.collect()  # of the first file: a training row is to die of it
    read = tables_at(spark, root)
    papers = read.read("documents").where(F.col("path") == str(more)).collect()
    documents, texts = {row["id"] for row in papers}, [row["text"] for row in papers]
    talk = read.read("conversations").where(F.col("path") == str(later)).collect()
    texts += [row[said] for row in talk for said in ("user_text", "assistant_text")]
    assert len(talk) == 7 and all(len(text) > 100 and MARK in text[32:] for text in texts)
    held = everything(spark, root)
    assert MARK in held and all(beginning(text) in held for text in texts)
    settings, made = load_settings(None, given, str(root)), generated(spark, root)
    logged, page = write_report(read, settings), root / "report.html"
    assert list_segments(f"{root}/_spool")
    leave_call(str(root), "samples", f"It is said that {MARK} was sealed.")
    shown = {"_spool", "_mlflow", page.name, "conversations", "documents"}
    assert shown <= {Path(path).parts[0] for path in holding(root, MARK)}, "so the places below were there to be purged"
    with opened(spark, settings, print) as runner:
        outcome = forget(runner, STAGES, [str(later), str(more)], [document["document"]])
    assert not logged.exists() and not page.exists() and not list_segments(f"{root}/_spool")
    assert {
        "conversations",
        "documents",
        "seed_paths",
        "nodes",
        "samples",
        "training_set",
        "influence",
        "llm_calls",
    } <= set(outcome.removed)
    assert graph(spark, root) == graph(spark, before)
    dead = dead_walks(spark, root, made["walks"])
    assert 0 < len(dead) < len(made["walks"])
    assert_it_cascaded(made, generated(spark, root), dead, {*documents, document["document"]})
    for name in ("nodes", "edges"):
        taken = tables_at(spark, root).read(name).where("count < 0")
        assert not taken.isEmpty() and taken.where("batch NOT LIKE 'forget-%'").isEmpty(), "counts are taken back"
    held = everything(spark, root)
    assert MARK not in held and not [text for text in texts if beginning(text) in held]

    with pytest.raises(SettingsFault, match=f"{document['document'][:16]}.*: was forgotten on"):
        Replay(spark, STAGES, tables_at(spark, root), str(tmp_path / "replayed"), print).run(first["run_id"])
    assert not (tmp_path / "replayed").exists()

    # The next run makes up for the samples that are gone, reads nothing again, and warns of what is stale.
    status, summary = synthesize(spark, root, given)
    assert status == 0, summary["warnings"]
    assert {name: told["accepted"] for name, told in summary["targets"].items()} == {"single": 9, "multi": 4}
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert {stages[name]["state"] for name in ("conversations", "meta_records", "nodes", "edges")} == {"unchanged"}
    assert any("classifier is stale" in warning for warning in summary["warnings"])
    assert document["document"] not in {row["id"] for row in tables_at(spark, root).read("documents").collect()}

    # Maintenance with no history left, and still nothing to do afterwards.
    with opened(spark, settings, print) as runner:
        maintain(runner, STAGES, 0)
    assert not holding(root, MARK), "no version, no log and no other file holds what was forgotten"
    assert tables_at(spark, root).read("nodes").select("batch").distinct().count() == 1
    assert graph(spark, root) == graph(spark, before)
    kept = versions(spark, root)
    status, summary = synthesize(spark, root, given)
    assert status == 0 and {stage["state"] for stage in summary["stages"]} <= {"unchanged", "frozen"}, summary
    assert {name: v for name, v in versions(spark, root).items() if name != "stage_runs"} == {
        name: v for name, v in kept.items() if name != "stage_runs"
    }

    # The streams, none of them begun again, take in what comes.
    corpus.write_conversations(tmp_path / "conversations-3.parquet", -1)
    corpus.write_documents(tmp_path / "documents-3.jsonl.zst", -1)
    status, summary = synthesize(spark, root, given)
    assert status == 0 and any("classifier is stale" in line for line in summary["warnings"]), summary["warnings"]
    tables, run = tables_at(spark, root), f"run_id = '{summary['run_id']}'"
    new = tables.read("conversations").where(F.col("path").endswith("/conversations-3.parquet"))
    assert new.join(tables.read("seed_paths").where(run), F.col("conversation") == new["id"]).count() > 0
    taking = ("conversation_types", "canonical_values", "nodes", "edges", "long_documents", "document_features")
    assert all(not tables.read(name).where(run).isEmpty() for name in (*taking, "typed_documents"))
    assert graph(spark, root) != graph(spark, before)

    # A refit takes the warning away.
    status, summary = synthesize(spark, root, given, refit=("document_types", "canonical_values", "classifier"))
    assert status == 0 and not [line for line in summary["warnings"] if "stale" in line], summary["warnings"]

    # As a user types it: a second time, an unknown file, a root that another run holds.
    def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs.forget", "--root", str(root), *arguments]
        return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)

    again = typed("--source", str(later))
    assert again.returncode == 0 and "was forgotten before" in again.stdout and "0 rows removed" in again.stdout
    unknown = typed("--source", str(tmp_path / "other.parquet"))
    assert unknown.returncode == 2 and "never read such a file" in unknown.stderr, unknown.stderr
    with opened(spark, settings, print):
        held_by_us = typed("--source", str(later))
    assert held_by_us.returncode == 5 and f"process {os.getpid()}" in held_by_us.stderr, held_by_us.stderr
