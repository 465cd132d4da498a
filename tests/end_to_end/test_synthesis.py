"""The whole main job on a small real corpus: once, again (nothing to do), with more input, exported, explained."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

import sql
from jobs.explain import explain
from jobs.runtime.analysis import open_root
from jobs.runtime.errors import RecipeChanged, SettingsFault
from jobs.runtime.exporting import write
from jobs.runtime.report.figures import NOT_SHOWN, gather
from jobs.runtime.report.page import page
from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.runtime.tables import Tables
from jobs.stages import STAGES
from sql.questions import questions
from tests.equality import content, tables_at
from tests.fake_server.client import FakeServer
from tests.small_corpus import fitting, small_corpus, synthesize
from tests.udfs.models.influence.families import save_family
from udfs.llm.requests import PROMPTS, prompt_sha

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end]

# Stay empty when nothing had to wait and nothing was forgotten, and where samples are not imported.
KEPT_APART = {"deferrals", "tombstones", "imports"}
TAKEN = 7  # the first 0.7 of 9 candidates


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A part of the demonstration corpus, in two conversation files and one document file."""
    folder = tmp_path_factory.mktemp("corpus")
    records = small_corpus(folder / "whole")
    records.write_conversations(folder / "conversations-1.parquet", 0, -8)
    records.write_conversations(folder / "later.parquet", -8)
    records.write_documents(folder / "documents-1.jsonl.zst")
    yield folder


def tables_of(spark: SparkSession, root: Path) -> Tables:
    return Tables(spark, load_settings(None, [], str(root)).storage)


def versions(spark: SparkSession, root: Path) -> dict[str, int]:
    tables = tables_of(spark, root)
    return {name: tables.version(name) for name in sql.tables() if name != "stage_runs"}


@pytest.fixture(scope="module")
def scoring(corpus: Path) -> list[str]:
    """Settings that measure with a pair of random models, whose tokens are bytes, and take a part of the samples."""
    short, long = (save_family(corpus / name, "llama", seed) for name, seed in (("short", 1), ("long", 2)))
    influence = {"max_tokens": 3_000, "short_window": 2_500, "segment_tokens": 512, "device": "cpu"}
    return [
        f"influence={json.dumps({'short_model': str(short), 'long_model': str(long), **influence})}",
        "selection={by: influence, top_share: 0.7}",
    ]


@pytest.fixture(scope="module")
def finished(
    spark: SparkSession, corpus: Path, scoring: list[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("roots") / "offline"
    status, summary = synthesize(spark, root, fitting(corpus, *scoring))
    assert status == 0, summary["warnings"]
    return root, summary


def test_targets_are_met_and_every_row_is_accounted_for(
    spark: SparkSession, finished: tuple[Path, dict[str, Any]]
) -> None:
    root, summary = finished
    assert summary["targets"] == {"single": {"asked": 6, "accepted": 6}, "multi": {"asked": 3, "accepted": 3}}
    for stage in summary["stages"]:
        assert stage["in"] == stage["kept"] + stage["rejected"] + stage["deferred"], stage
    tables = tables_of(spark, root)
    empty = [name for name in sql.tables() if name not in KEPT_APART and tables.read(name).isEmpty()]
    assert not empty, f"tables without a row: {empty}"


def as_json(rows: list[Row]) -> Any:
    """Rows as the report writes them."""
    return json.loads(json.dumps(rows, default=str), parse_float=lambda text: float(f"{float(text):.6g}"))


def test_every_question_has_an_answer_and_the_report_holds_it(
    spark: SparkSession, finished: tuple[Path, dict[str, Any]]
) -> None:
    tables = tables_of(spark.newSession(), finished[0])
    found = gather(tables, open_root(tables))
    shown = set(questions()) - NOT_SHOWN
    assert not found["missing"] and set(found["figures"]) == shown
    empty = {name for name in shown if not found["figures"][name]["rows"]}
    off = {"answerability", "second_draws", "planned_costs"}
    assert empty == off, "the two first are settings that are off, and calls of the offline teacher are not planned"
    other = tables_of(spark.newSession(), finished[0])
    analyst = open_root(other)
    assert not analyst.ask("instruction_forms").isEmpty()
    for name in ("overview", "funnel", "type_mix", "influence_correlations", "run_costs"):
        assert as_json(analyst.ask(name).collect()) == found["figures"][name]["rows"], name
    states = {"before": 0, "after": other.version("samples")}
    drift = {
        row["key"]: row
        for row in analyst.ask("drift", states).where("setting = 'single' AND measure = 'rows'").collect()
    }
    assert drift["accepted"]["after"] >= finished[1]["targets"]["single"]["accepted"]
    assert drift["answered"]["before"] <= drift["answered"]["after"]
    placed = [row for row in found["rows"] if row["status"] == "selected"]
    assert placed and all(row["walk"] and row["seed_instruction"] and row["user_text"] for row in placed)
    assert len(found["points"]) == sum(row.get("score") is not None for row in found["rows"]) > 0
    assert found["graph"] and len(page(found).encode()) < 5e6


def test_evidence_lies_in_the_documents(spark: SparkSession, finished: tuple[Path, dict[str, Any]]) -> None:
    tables = tables_of(spark, finished[0])
    texts = {row["id"]: row["text"] for row in tables.read("documents").select("id", "text").collect()}
    accepted = tables.kept("samples").collect()
    assert len(accepted) >= 9
    for sample in accepted:
        for held in sample["documents"]:
            assert sample["context"][held["start"] : held["end"]] == texts[held["doc_id"]]
        assert sample["evidence"]
        for span in sample["evidence"]:
            quoted = texts[span["doc_id"]][span["start"] : span["end"]]
            assert len(quoted) == span["end"] - span["start"] >= 20
        assert sample["messages"][1]["content"] == sample["response"]
        assert sample["generator"]["teacher"] == "offline", "the extractive teacher is marked on every row"


def test_every_accepted_sample_is_measured_and_the_best_of_each_type_are_taken(
    spark: SparkSession, finished: tuple[Path, dict[str, Any]]
) -> None:
    tables = tables_of(spark, finished[0])
    accepted = {row["id"] for row in tables.kept("samples").select("id").collect()}
    assert {row["sample"] for row in tables.read("influence").collect()} == accepted, "these and only these"
    rows = tables.read("training_set").collect()
    assert {row["sample"] for row in rows} == accepted
    candidates = [row for row in rows if row["reject_reason"] != "over_target"]
    assert len(candidates) == 9 and sorted(row["rank"] for row in candidates) == list(range(1, 10))
    taken = [row for row in candidates if row["reject_reason"] is None]
    assert len(taken) == TAKEN and all(row["truncated"] and row["selected_because"] for row in taken)
    best = sorted(candidates, key=lambda row: (-round(row["score"], 12), row["sample"]))
    assert [row["rank"] for row in best] == list(range(1, 10))
    out = [row for row in candidates if row["reject_reason"]]
    assert {row["reject_reason"] for row in out} == {"not_selected:top_share"}
    for row in out:  # nobody of its kind who is worse is in
        kind = [
            one for one in taken if (one["setting"], one["document_type"]) == (row["setting"], row["document_type"])
        ]
        assert all(one["rank"] < row["rank"] for one in kind)


def test_graph_counts_equal_plain_python(spark: SparkSession, finished: tuple[Path, dict[str, Any]]) -> None:
    require_counts(tables_of(spark, finished[0]))


def require_counts(tables: Tables) -> None:
    """Nodes and edges, summed over batches, against counters over the stored seed paths."""
    nodes: Counter[str] = Counter()
    edges: Counter[frozenset[str]] = Counter()
    for row in tables.kept("seed_paths").collect():
        held = {(node["field"], node["node"]) for node in row["nodes"]}
        nodes.update(node for _, node in held)
        edges.update(frozenset((a[1], b[1])) for a, b in combinations(held, 2) if a[0] != b[0])
    stored = tables.read("nodes").groupBy("node").agg(F.sum("count").alias("n")).collect()
    assert {row["node"]: row["n"] for row in stored} == nodes
    pairs = tables.read("edges").groupBy("source", "target").agg(F.sum("count").alias("n")).collect()
    assert {frozenset((row["source"], row["target"])): row["n"] for row in pairs} == edges


def test_second_run_does_nothing(
    spark: SparkSession, corpus: Path, scoring: list[str], finished: tuple[Path, dict[str, Any]]
) -> None:  # fmt: skip
    root, _ = finished
    before = versions(spark, root)
    status, summary = synthesize(spark, root, fitting(corpus, *scoring))
    assert status == 0
    assert sum(stage["calls"] for stage in summary["stages"]) == 0
    assert sum(stage["out"] for stage in summary["stages"]) == 0
    assert versions(spark, root) == before
    assert summary["targets"]["single"] == {"asked": 6, "accepted": 6}


def test_changed_settings_are_refused_by_name(
    spark: SparkSession, corpus: Path, scoring: list[str], finished: tuple[Path, dict[str, Any]]
) -> None:
    root, _ = finished
    before = versions(spark, root)
    settings = load_settings(None, fitting(corpus, *scoring, "walks.edge_weight=sublinear"), str(root))
    with pytest.raises(RecipeChanged, match=r"walks: walks.edge_weight: 'paper' → 'sublinear'[\s\S]*--recompute walks"):
        Synthesis(spark, settings, STAGES, Choices()).run()
    with pytest.raises(SettingsFault, match="no stage is named 'nonsense'"):
        Synthesis(spark, load_settings(None, fitting(corpus), str(root)), STAGES, Choices(until="nonsense")).run()
    assert versions(spark, root) == before


def test_explain_follows_a_row_to_its_files(spark: SparkSession, finished: tuple[Path, dict[str, Any]]) -> None:
    root, summary = finished
    tables = tables_of(spark, root)
    row = tables.kept("training_set").orderBy("id").limit(1).collect()[0]
    told = explain(tables, row["id"][:12])
    met = {one["table"]: one for level in told["levels"] for one in level}
    for table in ("training_set", "influence", "samples", "pairings", "instructions", "walks", "seed_paths",
                  "documents", "conversations", "source_files"):  # fmt: skip
        assert table in met, f"{table} is missing from the chain"
    assert met["samples"]["call"]["teacher"] == "offline"
    assert met["source_files"]["facts"]["path"].startswith("/")
    assert {"score", "rank", "selected_because"} <= met["training_set"]["facts"].keys()
    assert {"short_log_ppl", "long_log_ppl", "segment_attention"} <= met["influence"]["facts"].keys()
    assert {run["stage"] for run in told["versions"]} >= {"samples", "training_set"}
    assert explain(tables, summary["run_id"])["executions"][0]["run_id"] == summary["run_id"]
    file = tables.read("source_files").where("kind = 'documents'").collect()[0]
    assert explain(tables, file["id"])["made_from_it"].keys() >= {"documents", "samples", "training_set"}
    with pytest.raises(SettingsFault, match="no row and no run"):
        explain(tables, "0" * 64)


def test_lineage_names_versions(spark: SparkSession, finished: tuple[Path, dict[str, Any]]) -> None:
    import mlflow

    root, summary = finished
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{root}/_mlflow/mlflow.db")
    run = client.get_run(summary["run_id"])
    assert run.info.status == "FINISHED"
    for task in PROMPTS:  # the version that a run's tag names is the text that its rows' hash names
        version = client.get_prompt_version(
            f"longloom-{task.replace('_', '-')}", run.data.tags[f"longloom.prompt.{task}"]
        )
        assert version.tags["longloom.sha256"] == prompt_sha(task)
    first = tables_at(spark, root).read("llm_calls").where("parent_key IS NULL")  # no correction turns
    asked = first.select("task", "prompt_sha").distinct().collect()
    assert asked and all(call["prompt_sha"] == prompt_sha(call["task"]) for call in asked)
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{summary['run_id']}'")
    named = {child.data.tags["mlflow.runName"]: child for child in children}
    assert {stage["stage"] for stage in summary["stages"]} <= set(named)
    inputs = {held.dataset.name: held for held in named["samples"].inputs.dataset_inputs}
    assert {"pairings", "instructions", "walks", "documents", "long_documents", "samples"} <= set(inputs)
    tags = {tag.key: tag.value for tag in inputs["samples"].tags}
    assert tags["mlflow.data.context"] == "output"
    assert int(tags["delta_version"]) >= 0
    assert client.search_model_versions("name='longloom-document-types'")


def test_export_loads_unchanged(spark: SparkSession, finished: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    import datasets

    os.environ["HF_HUB_OFFLINE"] = "1"
    out = tmp_path / "export"
    assert write(tables_of(spark, finished[0]), str(out), ["jsonl", "parquet"]) == {"jsonl": TAKEN, "parquet": TAKEN}
    loaded = [
        datasets.load_dataset(kind, data_files=f"{out}/{name}/*", split="train", cache_dir=str(tmp_path / name))
        for kind, name in (("json", "jsonl"), ("parquet", "parquet"))
    ]
    for data in loaded:
        assert len(data) == TAKEN
        assert {row["rank"] for row in data} <= set(range(1, 10)) and all(0 < row["score"] < 1 for row in data)
        assert [turn["role"] for turn in data[0]["messages"]] == ["user", "assistant"]
    assert sorted(loaded[0]["id"]) == sorted(loaded[1]["id"])
    from trl.data_utils import is_conversational

    assert is_conversational(loaded[0][0])
    with pytest.raises(SettingsFault, match="is not empty"):
        write(tables_of(spark, finished[0]), str(out), ["jsonl"])


def test_more_input_is_added_and_the_old_rows_stay(
    spark: SparkSession, corpus: Path, scoring: list[str], finished: tuple[Path, dict[str, Any]]
) -> None:
    root, _ = finished
    tables = tables_of(spark, root)
    old = {name: content(tables, name) for name in ("meta_records", "canonical_values", "seed_paths")}
    (corpus / "later.parquet").rename(corpus / "conversations-2.parquet")
    status, summary = synthesize(spark, root, fitting(corpus, *scoring), until="edges")
    assert status == 0
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert stages["conversations"]["in"] == 1
    assert 0 < stages["meta_records"]["calls"] <= 8
    assert stages["document_types"]["calls"] == 0, "the types are frozen"
    assert stages["long_documents"]["state"] == "unchanged", "no document came, so nothing behind documents starts"
    tables = tables_of(spark, root)
    for name, rows in old.items():
        now = content(tables, name)
        assert len(now) > len(rows), name
        assert {key: now[key] for key in rows} == rows, f"old rows of {name} changed"
    require_counts(tables)
    held = tables.read("nodes").select("batch").distinct().count()
    assert held == 2, "counts of the new batch stand beside the old ones"


@pytest.mark.faults
def test_another_teacher_over_http_with_faults(spark: SparkSession, corpus: Path, tmp_path: Path) -> None:
    """The same job against a server that fails now and then: nothing is lost, what waits is told, a rerun ends it."""
    root = tmp_path / "openai"
    with FakeServer(
        key=os.environ["FAKE_KEY"], faults={"server_503": 0.1, "rate_limited": 0.05, "bad_schema": 0.05}, times=1
    ) as server:
        given = fitting(
            corpus,
            "targets={single: 3, multi: 1}",
            "llm.teacher=openai",
            "llm.model=fake",
            "llm.api_key_env=FAKE_KEY",
            f"llm.base_url={server.base_url}",
        )
        for _ in range(3):
            status, summary = synthesize(spark, root, given)
            for stage in summary["stages"]:
                assert stage["in"] == stage["kept"] + stage["rejected"] + stage["deferred"], stage
            if status == 0:
                break
            assert status == 4, summary
        assert status == 0, summary
        assert {name: told["accepted"] for name, told in summary["targets"].items()} == {"single": 3, "multi": 1}
        assert len(server.requests()) > 0, "the job spoke HTTP"
    secret = os.environ["FAKE_KEY"].encode()
    told = [path for path in root.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert not told, f"the key stands in {told}"
    calls = tables_of(spark, root).read("llm_calls").toJSON().collect()
    assert calls and not any(secret.decode() in call for call in calls)
