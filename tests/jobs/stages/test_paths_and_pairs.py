"""Seed paths and pairings: hand-computed cases."""

from __future__ import annotations

import pytest
from pyspark.sql import DataFrame, SparkSession

import sql
from graphs.cooccurrence import node_id
from graphs.values import GRAPH_FIELDS
from jobs.runtime.settings import DocumentSettings
from jobs.stages.pairings import pairings
from jobs.stages.seed_paths import seed_paths

pytestmark = pytest.mark.spark


def frame(spark: SparkSession, table: str, rows: list[dict[str, object]]) -> DataFrame:
    """Rows of a stored table, absent columns null."""
    schema = sql.columns(table)
    return spark.createDataFrame([tuple(row.get(name) for name in schema.names) for row in rows], schema)


def test_multi_waits_for_rewrites_and_then_uses_them(spark: SparkSession) -> None:
    empty: dict[str, object] = {name: [] for name in GRAPH_FIELDS}
    meta = frame(
        spark,
        "meta_records",
        [{**empty, "id": "m1", "conversation": "c1", "tasks": ["Summarise  the TEXT"], "sentiment": ["neutral"],
          "simplified_instruction": ["Summarise the text."]}],
    )  # fmt: skip
    types = frame(spark, "conversation_types", [{"id": "t1", "conversation": "c1", "document_type": "news"}])
    values = frame(
        spark,
        "canonical_values",
        [
            {"document_type": "news", "field": "tasks", "value": "summarise the text", "canonical": "summarise a text"},
            {"document_type": "news", "field": "sentiment", "value": "neutral", "canonical": "neutral"},
            {"document_type": "news", "field": "simplified_instruction", "value": "Summarise the text.",
             "canonical": "Summarise the text."},
        ],
    )  # fmt: skip
    rewrites = [
        {"document_type": "news", "field": "tasks", "value": "summarise the text", "rewritten": "Compare the texts"},
        {"document_type": "news", "field": "simplified_instruction", "value": "Summarise the text.",
         "rewritten": "Summarise all texts."},
    ]  # fmt: skip

    def paths(held: list[dict[str, object]]) -> dict[str, dict[str, object]]:
        made = seed_paths.function(types, meta, values, frame(spark, "task_rewrites", held))
        return {row["setting"]: row.asDict(recursive=True) for row in made.collect()}

    waiting = paths(rewrites[:1])
    assert waiting["single"]["reject_reason"] is None
    assert waiting["multi"]["reject_reason"] == "defer:waiting:task_rewrites"

    whole = paths(rewrites)
    single = [(n["field"], n["value"], n["node"]) for n in whole["single"]["nodes"]]  # type: ignore[attr-defined]
    assert single == [
        ("sentiment", "neutral", node_id("single", "news", "sentiment", "neutral")),
        ("tasks", "summarise a text", node_id("single", "news", "tasks", "summarise a text")),
    ]
    assert whole["single"]["instruction"] == "Summarise the text."
    multi = [(n["field"], n["value"]) for n in whole["multi"]["nodes"]]  # type: ignore[attr-defined]
    assert multi == [("sentiment", "neutral"), ("tasks", "compare the texts")]
    assert whole["multi"]["instruction"] == "Summarise all texts."
    assert whole["multi"]["reject_reason"] is None

    refused = paths([rewrites[1], {**rewrites[0], "rewritten": None, "reject_reason": "llm:refusal"}])
    assert [n["field"] for n in refused["multi"]["nodes"]] == ["sentiment"], "a refused rewrite leaves the graph"  # type: ignore[attr-defined]
    assert refused["multi"]["reject_reason"] is None


@pytest.mark.parametrize("wordless", ["...", "—", "N/A.", None])
def test_a_rewrite_without_a_word_is_one_that_was_refused(spark: SparkSession, wordless: str | None) -> None:
    held: dict[str, object] = {name: [] for name in GRAPH_FIELDS} | {"simplified_instruction": ["Sum it up."]}
    meta = frame(
        spark,
        "meta_records",
        [{**held, "id": "m1", "conversation": "c1", "tasks": ["sum up"], "sentiment": ["calm", "None.", "unclear"]},
         {**held, "id": "m2", "conversation": "c2", "tasks": ["Sum up."]},
         {**held, "id": "m3", "conversation": "c3", "tasks": ["(none)"], "sentiment": ["..."]}],
    )  # fmt: skip
    types = frame(
        spark,
        "conversation_types",
        [{"id": f"t{n}", "conversation": f"c{n}", "document_type": "news"} for n in (1, 2, 3)],
    )
    known = {("tasks", "sum up"): "sum up", ("sentiment", "calm"): "calm"}
    known |= {("simplified_instruction", "Sum it up."): "Sum it up."}
    known |= {("tasks", "none"): "none", ("sentiment", "unclear"): "none"}  # mapped by an earlier version
    values = frame(
        spark,
        "canonical_values",
        [
            {"document_type": "news", "field": field, "value": value, "canonical": canonical}
            for (field, value), canonical in known.items()
        ],
    )
    rewrites = frame(
        spark,
        "task_rewrites",
        [{"document_type": "news", "field": "tasks", "value": "sum up", "rewritten": wordless},
         {"document_type": "news", "field": "simplified_instruction", "value": "Sum it up.", "rewritten": "All."}],
    )  # fmt: skip
    made = seed_paths.function(types, meta, values, rewrites).collect()
    told = {
        (row["setting"], row["conversation"]): ([n["value"] for n in row["nodes"]], row["reject_reason"])
        for row in made
    }
    assert len(made) == 6 and told == {
        ("single", "c1"): (["calm", "sum up"], None),
        ("single", "c2"): (["sum up"], None),
        ("single", "c3"): ([], "no_values"),
        ("multi", "c1"): (["calm"], None),
        ("multi", "c2"): ([], "no_values"),
        ("multi", "c3"): ([], "no_values"),
    }, "no conversation is lost, and none waits"


DOCUMENTS = [f"d{n}" for n in range(5)]


def pair(spark: SparkSession, setting: str, wanted: int, previous: list[dict[str, object]],
         samples: list[dict[str, object]], max_draws: int = 3) -> list[dict[str, object]]:  # fmt: skip
    asked = [
        {"id": f"i{n}", "walk": f"w{n}", "setting": setting, "document_type": "news", "walk_index": n} for n in range(6)
    ]
    typed = [{"document": d, "document_type": "news"} for d in DOCUMENTS]
    long = [{"id": f"l-{d}", "document": d, "fits_pair": d != "d0"} for d in DOCUMENTS]
    made = pairings.function(
        frame(spark, "instructions", asked),
        frame(spark, "typed_documents", typed),
        frame(spark, "long_documents", long),
        frame(spark, "samples", samples),
        frame(spark, "pairings", previous),
        documents=DocumentSettings(max_draws=max_draws),
        wanted=spark.createDataFrame([(setting, "news", wanted)], "setting string, document_type string, count bigint"),
        seed=13,
    )
    return sorted((row.asDict() for row in made.collect()), key=lambda row: row["walk_index"])


def test_single_takes_the_next_instructions_and_other_documents(spark: SparkSession) -> None:
    first = pair(spark, "single", 3, [], [])
    assert [row["instruction"] for row in first] == ["i0", "i1", "i2"]
    assert len({row["documents"][0] for row in first}) == 3  # type: ignore[index]
    assert {row["draw"] for row in first} == {1}
    assert [row["parent_ids"] for row in first] == [[row["instruction"], f"l-{row['documents'][0]}"] for row in first]  # type: ignore[index]
    second = pair(spark, "single", 9, first, [])
    assert [row["instruction"] for row in second] == ["i3", "i4"], "two documents are left"
    assert not {row["documents"][0] for row in first} & {row["documents"][0] for row in second}  # type: ignore[index]


def test_a_rejected_sample_gives_its_document_back_until_max_draws(spark: SparkSession) -> None:
    drawn = [{"id": f"p{n}", "setting": "single", "instruction": f"i{n}", "documents": [d]} for n, d in
             enumerate(DOCUMENTS)]  # fmt: skip
    samples = [{"id": f"s{n}", "pairing": f"p{n}", "reject_reason": None if n else "ungrounded"} for n in range(5)]
    again = pair(spark, "single", 5, drawn, samples)
    assert [(row["instruction"], row["documents"], row["draw"]) for row in again] == [("i5", ["d0"], 2)]
    assert pair(spark, "single", 5, drawn, samples, max_draws=1) == []


def test_pairs_are_two_documents_that_fit(spark: SparkSession) -> None:
    made = pair(spark, "multi", 5, [], [])
    assert len(made) == 2
    used = [d for row in made for d in row["documents"]]  # type: ignore[attr-defined]
    assert sorted(used) == ["d1", "d2", "d3", "d4"], "d0 is too long for a pair"
