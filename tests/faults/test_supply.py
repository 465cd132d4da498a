"""Odd supplies over the whole job: it completes with reasons, or says which supply is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.fake_server.client import FakeServer
from tests.faults.corpus import teacher
from tests.roots import prose, write_conversations, write_documents

pytestmark = [pytest.mark.spark, pytest.mark.faults]

FROM_TALK = "record_table = 'conversations'"
PLENTY = [word for word in ("granite", "harbour") for _ in range(4)]


def synthesize(
    spark: SparkSession,
    folder: Path,
    topics: Sequence[str],
    k: int,
    documents: int = 16,
    single: int = 4,
    same: bool = False,
    added: Sequence[str] = (),
) -> tuple[int, dict[str, Any]]:
    """Conversations on these topics, the `same` text for the same topic or not; documents on granite and harbours.

    What is `added` comes in a file of its own.
    """
    named = topics if same else [f"{topic} number {number}" for number, topic in enumerate(topics)]
    turns = [[f"Summarise this. {prose(name, 14)}", "In short: so."] for name in named]
    texts = [prose(f"{word} {n}", 16 + n) for n in range(documents // 2) for word in ("granite", "harbour")]
    write_documents(folder / f"docs-{documents}.jsonl", texts)
    write_conversations(folder / "talk.jsonl", turns)
    if added:
        write_conversations(folder / "talk-added.jsonl", [[f"Explain {prose(name, 14)}", "As said."] for name in added])
    given = [
        f"inputs.conversations=['{folder}/talk*.jsonl']",
        f"inputs.documents=['{folder}/docs-*.jsonl']",
        "filter={min_conversation_tokens: 100, min_document_tokens: 100, max_pair_document_tokens: 2000, "
        "near_duplicates: false}",
        f"types.k={k}",
        f"targets={{single: {single}, multi: 1}}",
        "classifier={trees: 20, floor_rows: 1000}",
        "embedder={chunks: 1, chunk_tokens: 64}",
    ]
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        settings = load_settings(None, [*given, *teacher(server.base_url)], str(folder / "root"))
        told = folder / "summary.json"
        status = Synthesis(spark, settings, STAGES, Choices(summary=str(told))).run()
    return status, json.loads(told.read_text(encoding="utf-8"))


def test_a_type_with_one_conversation_and_no_documents(spark: SparkSession, tmp_path: Path) -> None:
    """Of five samples one is the lonely type's by the mix; another type gets it, and that is said."""
    status, summary = synthesize(spark, tmp_path, [*PLENTY, "zeppelin"], k=3, single=5)
    assert status == 0, summary
    tables = tables_at(spark, tmp_path / "root")
    kinds = {row["label"]: row["size"] for row in tables.read("document_types").collect()}
    (lonely,) = [label for label, size in kinds.items() if size == 1]
    assert lonely not in {row["document_type"] for row in tables.read("typed_documents").collect()}
    assert summary["targets"]["single"] == {"asked": 5, "accepted": 5}, summary["warnings"]
    assert any(lonely in told and "documents" in told for told in summary["warnings"]), summary["warnings"]
    assert {row["document_type"] for row in tables.read("walks").collect()} <= set(kinds)


def test_fewer_conversations_than_types(spark: SparkSession, tmp_path: Path) -> None:
    """Status 6 names both numbers, before that stage; with a smaller k the same command goes on."""
    status, summary = synthesize(spark, tmp_path, PLENTY, k=10)
    assert status == 6
    told = (
        "document_types: the fit found 8 long conversations and needs at least 10: add conversations, or ask for less"
    )
    assert told in summary["status"], summary["status"]
    made = tables_at(spark, tmp_path / "root")
    assert made.version("meta_records") >= 0 and made.version("document_types") < 0
    asked = made.read("llm_calls").count()
    status, summary = synthesize(spark, tmp_path, PLENTY, k=2)
    assert status == 0, summary
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]
    assert {stage["stage"]: stage["calls"] for stage in summary["stages"]}["meta_records"] == 0 < asked


def test_more_conversations_for_as_many_types(spark: SparkSession, tmp_path: Path) -> None:
    """The other way out of status 6: the same command over more input; what was answered is not asked again."""
    status, summary = synthesize(spark, tmp_path, PLENTY[2:6], k=6)
    assert status == 6
    assert "document_types: the fit found 4 long conversations and needs at least 6: add" in summary["status"]
    status, summary = synthesize(spark, tmp_path, PLENTY[2:6], k=6, added=("tides", "basalt", "moss", "copper"))
    assert status == 0, summary
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]
    assert {stage["stage"]: stage["calls"] for stage in summary["stages"]}["meta_records"] == 4
    assert tables_at(spark, tmp_path / "root").read("document_types").count() == 6


def test_one_type_for_everything(spark: SparkSession, tmp_path: Path) -> None:
    status, summary = synthesize(spark, tmp_path, PLENTY, k=1)
    assert status == 0, summary
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]
    tables = tables_at(spark, tmp_path / "root")
    assert tables.read("typed_documents").select("document_type").distinct().count() == 1


def test_every_conversation_says_the_same(spark: SparkSession, tmp_path: Path) -> None:
    """Eight times one text is one conversation: too few for two types, enough for one, and all samples rest on it."""
    status, summary = synthesize(spark, tmp_path, ["granite"] * 8, k=2, same=True)
    assert status == 6
    assert "document_types: the fit found 1 long conversations and needs at least 2: add" in summary["status"]
    made = tables_at(spark, tmp_path / "root")
    assert made.read("conversations").count() == 1 and made.read("sources").where(FROM_TALK).count() == 8
    assert made.version("document_types") < 0
    status, summary = synthesize(spark, tmp_path, ["granite"] * 8, k=1, same=True)
    assert status == 0, summary
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]
    paths = made.read("seed_paths").select("id", "conversation").collect()
    assert len({row["conversation"] for row in paths}) == 1
    near = {row["nearest_seed_path"] for row in made.read("walks").collect()}
    assert near and near <= {row["id"] for row in paths}, "there is one conversation to walk near"


def test_a_reply_with_thousands_of_values(spark: SparkSession, tmp_path: Path) -> None:
    """The conversation is given up with its reason, and the run ends well without it."""
    status, summary = synthesize(spark, tmp_path, [*PLENTY, "[[values:5000]] tides"], k=2)
    assert status == 0, summary
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert stages["meta_records"]["reasons"] == {"too_many_values": 1}
    assert stages["meta_records"]["kept"] == len(PLENTY) == stages["seed_paths"]["in"], stages["seed_paths"]
    tables = tables_at(spark, tmp_path / "root")
    assert tables.read("nodes").where("value RLIKE '^task [0-9]+$'").isEmpty(), "none of its values came further"
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]


def test_too_few_documents_for_the_classifier(spark: SparkSession, tmp_path: Path) -> None:
    """Status 6 names both numbers; with more documents the same command goes on."""
    status, summary = synthesize(spark, tmp_path, PLENTY, k=2, documents=8)
    assert status == 6
    assert "classifier: the fit found 8 labelled documents and needs at least 10: add documents" in summary["status"]
    made = tables_at(spark, tmp_path / "root")
    fitted = made.version("document_types")
    assert fitted >= 0 and made.version("classifier") < 0
    status, summary = synthesize(spark, tmp_path, PLENTY, k=2)
    assert status == 0, summary
    assert summary["targets"]["single"] == {"asked": 4, "accepted": 4}, summary["warnings"]
    assert tables_at(spark, tmp_path / "root").version("document_types") == fitted
