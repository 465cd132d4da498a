"""Every question of sql/analysis on a root small enough to count by hand."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import pytest
from pyspark.sql import SparkSession
from scipy import stats

import sql
from jobs.runtime.analysis import Analyst
from jobs.runtime.quotas import mix_distance
from jobs.stages import JOBS
from sql.questions import Question, questions, relations
from tests.sql.small_root import ASKED, TWIN, SmallTables, ran, small_session, wait

WAITS = "waiting:task_rewrites"
THIRD, LOG3 = 1 / 3, math.log2(3)
SELECTED_DISTANCE = 0.4368919  # of (1, 0) from (2/3, 1/3), by hand
# question → its whole answer, columns in the order of the file
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "overview": [(3, 4, 5, 3140, 1020, 1, 1, 2.5 / 3, 5 / 3, "offline", 2, 3, 4, 3, 38)],
    "funnel": [
        (1, "conversations", "kept", None, 3, 0.75), (1, "conversations", "rejected", "bad_json", 1, 0.25),
        (2, "long_conversations", "kept", None, 2, 2 / 3),
        (2, "long_conversations", "rejected", "near_duplicate", 1, THIRD),
        (3, "meta_records", "kept", None, 2, 2 / 3), (3, "meta_records", "waits", WAITS, 1, THIRD),
        (4, "conversation_types", "kept", None, 2, 1.0),
        (7, "seed_paths", "kept", None, 4, 1.0),
        (8, "documents", "kept", None, 2, 2 / 3), (8, "documents", "rejected", "empty", 1, THIRD),
        (9, "long_documents", "kept", None, 2, 1.0), (12, "typed_documents", "kept", None, 2, 1.0),
        (13, "walks", "kept", None, 4, 1.0),
        (14, "instructions", "kept", None, 4, 0.8), (14, "instructions", "rejected", "near_duplicate", 1, 0.2),
        (15, "pairings", "kept", None, 5, 1.0),
        (16, "samples", "kept", None, 4, 0.8), (16, "samples", "rejected", "ungrounded", 1, 0.2),
        (18, "training_set", "kept", None, 3, 0.75), (18, "training_set", "rejected", "over_target", 1, 0.25),
    ],
    "types_by_tasks": [
        ("conversations", "report", "sum", 2, 2 / 3, 2), ("conversations", "novel", "(none)", 1, THIRD, 1),
        ("training set", "report", "sum", 2, 2 / 3, 3), ("training set", "report", "merge", 1, THIRD, 3),
    ],
    "type_mix": [
        ("multi", "report", 1, 1.0, 2, 1, 1, 1.0, 0.0),
        ("single", "report", 2, 2 / 3, 2, 2, 2, 1.0, THIRD), ("single", "novel", 1, THIRD, 0, 1, 0, 0.0, -THIRD),
    ],
    "type_distance": [("multi", 0.0, 0.0), ("single", 0.0, SELECTED_DISTANCE)],
    "field_values": [
        ("tasks", 1, "sum", 2, 2 / 3, 1), ("tone", 1, "dry", 2, 2 / 3, 2), ("tone", 2, "calm", 1, THIRD, 2),
    ],
    "graph_size": [("single", "report", 4, 3, 0.5, 2, 3, 0.75, 2, 1.5, 2)],
    "graph_degrees": [
        ("multi", 0, 0, 1, 1.0), ("single", 0, 0, 1, 0.25), ("single", 1, 1, 2, 0.5), ("single", 2, 3, 1, 0.25),
    ],
    "graph_hubs": [
        ("single", "report", 1, "tasks", "sum", 2, 2, 2), ("single", "report", 2, "tone", "calm", 1, 1, 1),
        ("single", "report", 3, "tone", "dry", 1, 1, 1),
    ],
    "walk_novelty": [
        ("multi", "report", 1, 0.0, 1.0, 1.0, 1.0, 0.0), ("single", "report", 2, 0.5, 0.75, 1.0, 2.0, 1.0),
        ("single", "novel", 1, 0.0, 1.0, 1.0, 1.0, 0.0),
    ],
    "walk_entropy": [
        ("multi", "tasks", 1, 1, 1, 0.0, 0.0, None), ("single", "tone", 3, 3, 3, LOG3, LOG3, 1.0),
        ("single", "tasks", 2, 1, 1, 0.0, 0.0, None),
    ],
    "instruction_diversity": [
        ("multi", 1, 4.0, 1.0, 1.0, 1.0, 1.0, 1, 0.0), ("single", 2, 6.0, 1.0, 9 / 12, 8 / 10, 7 / 8, 4, 0.25),
    ],
    "instruction_verbs": [(1, "summarize", "report", 2, 2 / 3, 3), (2, "summarize", "dates", 1, THIRD, 3)],
    "length_summary": [
        ("multi", "context", 1, 1500, 1500, 1500, 1500, 1500, 1500),
        ("multi", "instruction", 1, 16, 16, 16, 16, 16, 16),
        ("multi", "response", 1, 64, 64, 64, 64, 64, 64),
        ("multi", "whole row", 1, 1580, 1580, 1580, 1580, 1580, 1580),
        ("single", "context", 2, 500, 550, 750, 950, 1000, 1500), ("single", "instruction", 2, 4, 4, 6, 7, 8, 12),
        ("single", "response", 2, 16, 17, 24, 30, 32, 48), ("single", "whole row", 2, 540, 588, 780, 972, 1020, 1560),
    ],
    "lengths": [
        ("multi", "context", 1449, 2047, 1, 1.0), ("multi", "instruction", 16, 22, 1, 1.0),
        ("multi", "response", 64, 90, 1, 1.0),
        ("single", "context", 363, 511, 1, 0.5), ("single", "context", 725, 1023, 1, 0.5),
        ("single", "instruction", 4, 5, 1, 0.5), ("single", "instruction", 8, 11, 1, 0.5),
        ("single", "response", 16, 22, 1, 0.5), ("single", "response", 32, 45, 1, 0.5),
    ],
    "evidence_positions": [
        ("multi", 6, 2, 1.0), ("single", 1, 1, THIRD), ("single", 4, 1, THIRD), ("single", 10, 1, THIRD),
    ],
    "evidence_distance": [("multi", 6, 1, 1.0, 208), ("single", 0, 1, 0.5, 20), ("single", 10, 1, 0.5, 100)],
    "document_reuse": [("multi", 1, 2, 1.0), ("single", 2, 1, 1.0)],
    "document_balance": [("multi", 0.2, 1, 1.0, 0.25)],
    "grounding": [
        ("multi", "report", 1, 1, 1.0, 1.0, 2.0, 1.0, 0, 0, 0, 0),
        ("single", "novel", 2, 1, 1.0, 1.0, 1.0, 1.0, 1, 0, 0, 0),
        ("single", "report", 2, 2, 0.75, 0.5, 1.5, 2 / 3, 0, 0, 0, 0),
    ],
    "answerability": [("multi", "report", 1, 1, 0.0, 0.0, 0.0), ("single", "report", 2, 2, 1.0, 0.5, 0.5)],
    "second_draws": [("single", "novel", 2, 1, 0, 1, 0.0), ("single", "report", 2, 1, 1, 0, 1.0)],
    "languages": [
        ("conversations", "de", 1, 0.5), ("conversations", "en", 1, 0.5), ("documents", "en", 2, 1.0),
        ("training set", "en", 3, 1.0),
    ],
    "sources_and_licences": [
        ("conversations", "WildChat", "ODC-BY", 2, 1.0, 5000), ("documents", "A", "MIT", 1, 0.5, 1000),
        ("documents", "B", "(not stated)", 1, 0.5, 500), ("training set", "A", "MIT", 3, 0.75, 3000),
        ("training set", "B", "(not stated)", 1, 0.25, 500),
    ],
    "teachers": [
        ("meta_records", "offline", "m", "p1", 2), ("instructions", "offline", "m", "p2", 4),
        ("samples", "offline", "m", "p3", 4),
    ],
    "costs": [
        ("samples", 2, 1, 30, 3, 4, 3.0, 0.5, 7.5, 0.75), ("meta_records", 1, 0, 5, 0, 0, 0.5, 0.25, 1.25, 0.0),
    ],
    "run_costs": [
        ("run-1", "samples", 3, 2, 9, 1, 5, 0.5, 0.5, None, 3, 0.5 / 3),
        ("run-2", "meta_records", 2, 2, 7, 1, 5, None, None, None, 1, None),
        ("run-2", "samples", 1, 2, 4, 1, 5, 0.25, 0.25, None, 1, 0.25),
    ],
    "planned_costs": [
        ("run-2", "meta_records", 4.0, 2.0, 8.0, 3, 100.0, 90, 40, 10.0, 12, None, None, None, None),
        ("run-2", "samples", 8.0, 4.0, 16.0, 3, 100.0, 90, 40, 10.0, 12, 1.5, 0.75, 3.0, 0.75),
    ],
    "recipes": [("meta_records", 1, 2, "r1", "run-1", "{}"), ("samples", 0, 5, "r0", "run-1", "{}")],
    "rejected_examples": [
        ("conversations", "bad_json", 1, 1, "c4", "bad_json", None),
        ("long_conversations", "near_duplicate", 1, 1, "l3", TWIN, None),
        ("documents", "empty", 1, 1, "d3", "empty", None), ("instructions", "near_duplicate", 1, 1, "i4", TWIN, None),
        ("samples", "ungrounded", 1, 1, "s4", "ungrounded", ASKED),
    ],
    "stage_times": [("meta_records", 2, 4.0, 0.5, 2, 0.5, 1), ("samples", 2, 4.0, 0.5, 8, 2.0, 2)],
}  # fmt: skip
# sample, setting, selected, score, hmp, cas, tokens
SCORED = [("a", True, 0.9, 4.0, 1.0, 10), ("b", True, 0.8, 3.0, 4.0, 20), ("c", False, 0.2, 2.0, 2.0, 30),
          ("d", False, 0.1, 1.0, 3.0, 40), ("unscored", False, None, None, None, 50)]  # fmt: skip
# sample, score, hmp, cas, truncated, log-perplexities (windowed, long, unasked), tokens of the context: read, cut off
MEASURED = [
    ("a", 0.9, 4.0, 1.0, False, (3.0, 1.0, 2.0), (100, 0)), ("b", 0.8, 3.0, 4.0, True, (2.5, 2.0, 2.0), (500, 40)),
    ("c", 0.2, 2.0, 2.0, False, (2.0, 2.5, 3.5), (300, 0)), ("d", 0.1, 1.0, 3.0, True, (1.0, 3.0, 4.0), (500, 90)),
    ("e", 0.5, 2.5, 5.0, True, (4.0, 1.5, 3.0), (500, 10)),
]  # fmt: skip
# Tables between those above; of three rewrites one waits.
BETWEEN: dict[str, list[dict[str, Any]]] = {
    "canonical_values": [{"id": "v1"}, {"id": "v2"}, {"id": "v3"}],
    "task_rewrites": [{"id": "r1"}, {"id": "r2", "reject_reason": "llm:refusal"}],
    "seed_paths": [{"id": "p1"}, {"id": "p2", "reject_reason": "no_values"}],
    "document_features": [{"id": "f1"}],
    "document_labels": [{"id": "a1"}, {"id": "a2", "reject_reason": "label_outside_set"}],
    "influence": [{"id": "e1"}, {"id": "e2", "reject_reason": "empty_context"}],
    "stage_runs": [ran(1, "task_rewrites", 0, 1.0, 2, 3)],
    "deferrals": [wait("v3", 0, "llm:timeout", 0) | {"stage": "task_rewrites"}],
}
FORMS = [
    ("I need to save time. Summarize the manual from beginning to end.", "summarize", "manual"),
    ("Could you please write a short list of dates?", "write", "list"),
    ("Using only the report, identify the three main findings and explain them.", "identify", "findings"),
    ("Tell me how the engine works.", "tell", None),
    ("Write for a teacher. Extract the particulars.", "write", None),
    ("I would be grateful if you could find the dates in it.", "find", "dates"),
    ("What does the author say about winter?", None, None),
]


@pytest.fixture(scope="module")
def analyst(spark: SparkSession) -> Analyst:
    return Analyst(SmallTables(small_session(spark)))


def answer(analyst: Analyst, name: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in analyst.ask(name, values).collect()]


@pytest.mark.spark
@pytest.mark.parametrize("name", EXPECTED)
def test_figures_are_those_counted_by_hand(analyst: Analyst, name: str) -> None:
    found = answer(analyst, name)
    assert len(found) == len(EXPECTED[name])
    for row, wanted in zip(found, EXPECTED[name], strict=True):
        numbers = [at for at, cell in enumerate(wanted) if isinstance(cell, int | float)]
        assert [row[at] for at in numbers] == pytest.approx([wanted[at] for at in numbers], abs=1e-6), (row, wanted)
        assert [c for at, c in enumerate(row) if at not in numbers] == [
            c for at, c in enumerate(wanted) if at not in numbers
        ]


@pytest.mark.spark
def test_the_funnel_tells_of_every_table_on_the_way(spark: SparkSession) -> None:
    analyst = Analyst(SmallTables(small_session(spark), BETWEEN))
    assert answer(analyst, "funnel") == [
        (5, "canonical_values", "kept", None, 3, 1.0),
        (6, "task_rewrites", "kept", None, 1, pytest.approx(THIRD)),
        (6, "task_rewrites", "rejected", "llm:refusal", 1, pytest.approx(THIRD)),
        (6, "task_rewrites", "waits", "llm:timeout", 1, pytest.approx(THIRD)),
        (7, "seed_paths", "kept", None, 1, 0.5), (7, "seed_paths", "rejected", "no_values", 1, 0.5),
        (10, "document_features", "kept", None, 1, 1.0),
        (11, "document_labels", "kept", None, 1, 0.5), (11, "document_labels", "rejected", "label_outside_set", 1, 0.5),
        (17, "influence", "kept", None, 1, 0.5), (17, "influence", "rejected", "empty_context", 1, 0.5),
    ]  # fmt: skip


def test_the_funnel_leaves_out_only_fitted_tables_and_counts() -> None:
    stages = {one.name for job in JOBS for one in job if one.mode != "fits"}
    assert stages - set(questions()["funnel"].reads) == {"nodes", "edges", "graph_stats"}


def test_distance_is_that_of_the_run() -> None:
    assert mix_distance({"report": 2 / 3, "novel": 1 / 3}, {"report": 2}) == pytest.approx(SELECTED_DISTANCE)


@pytest.mark.spark
def test_field_coverage_knows_all_fields(analyst: Analyst) -> None:
    found = {row[0]: row[1:] for row in answer(analyst, "field_coverage")}
    assert len(found) == 13
    assert found["tasks"] == (2, 1, 0.5, 1.0, 2)
    assert found["document_type"] == (2, 2, 1.0, 1.0, 1)
    assert found["constraint"] == (2, 0, 0.0, 0.0, 0)


@pytest.mark.spark
def test_drift_between_runs(analyst: Analyst) -> None:
    found = {row[:3]: row[3:] for row in answer(analyst, "drift", {"before": "run-1", "after": "run-2"})}
    assert found["single", "rows", "answered"] == (3.0, 1.0, -2.0)
    assert found["single", "rows", "accepted"] == (2.0, 1.0, -1.0)
    assert found["single", "share of answered", "ungrounded"] == pytest.approx((THIRD, None, -THIRD))
    assert found["single", "share of accepted by type", "novel"] == (0.5, None, -0.5)
    assert found["single", "mean of accepted", "tokens of context"] == (532.0, 500.0, -32.0)
    assert found["single", "mean of accepted", "grounded share"] == (1.0, 0.5, -0.5)


@pytest.mark.spark
def test_influence(spark: SparkSession) -> None:
    own = spark.newSession()
    rows = [(sample, "single", None if chosen else "not_selected", *rest) for sample, chosen, *rest in SCORED]
    ddl = "sample string, setting string, reject_reason string, score double, hmp double, cas double, n_tokens bigint"
    own.createDataFrame(rows, ddl).coalesce(1).createOrReplaceTempView("training_set")

    def ask(name: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in own.sql(questions()[name].bound({})).collect()]

    spread = {row[1:3]: row[3:] for row in ask("influence_distribution")}
    assert spread["score", True] == pytest.approx((2, 0.8, 0.825, 0.85, 0.875, 0.9, 0.85))
    assert spread["cas", False] == pytest.approx((2, 2.0, 2.25, 2.5, 2.75, 3.0, 2.5))
    assert {row[:2]: row[3] for row in ask("influence_correlations")} == pytest.approx({
        ("cas", "hmp"): -0.4, ("cas", "n_tokens"): 0.4, ("cas", "score"): -0.4,
        ("hmp", "n_tokens"): -1.0, ("hmp", "score"): 1.0, ("n_tokens", "score"): -1.0,
    })  # fmt: skip
    overlap = {row[0]: row[1:] for row in ask("selection_overlap")}
    assert overlap.pop("by hash")[:2] == (2, 4)
    assert overlap == {
        "score": (2, 4, 2, 1.0), "hmp": (2, 4, 2, 1.0), "shortest": (2, 4, 2, 1.0),
        "cas": (2, 4, 1, 0.5), "longest": (2, 4, 0, 0.0),
    }  # fmt: skip


@pytest.mark.spark
def test_scorers_in_pairs_and_truncated_rows_apart(spark: SparkSession) -> None:
    own = spark.newSession()
    placed = [(name, score, hmp, cas) for name, score, hmp, cas, *_ in MEASURED] + [("out", None, None, None)]
    ddl = "sample string, score double, hmp double, cas double"
    own.createDataFrame(placed, ddl).coalesce(1).createOrReplaceTempView("training_set")
    figures = [(name, cut, *logs, *tokens, None) for name, *_, cut, logs, tokens in MEASURED]
    figures += [("out", True, 9.0, 9.0, 9.0, 9, 9, None), ("refused", False, None, None, None, 0, 0, "empty_context")]
    ddl = "sample string, truncated boolean, windowed_log_ppl double, long_log_ppl double, unasked_log_ppl double, "
    ddl += "context_tokens bigint, dropped_tokens bigint, reject_reason string"
    own.createDataFrame(figures, ddl).coalesce(1).createOrReplaceTempView("influence")

    def ask(name: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in own.sql(questions()[name].bound(values or {})).collect()]

    pairs = {row[:2]: row[2:] for row in ask("influence_scorers", {"share": 0.4})}
    assert len(pairs) == 8 * 7 // 2 and all(one < other for one, other in pairs)
    assert {row[0] for row in pairs.values()} == {5}, "neither the row without a score nor the one without figures"
    by_term = {
        "score": [0.9, 0.8, 0.2, 0.1, 0.5], "hmp": [4.0, 3.0, 2.0, 1.0, 2.5], "cas": [1.0, 4.0, 2.0, 3.0, 5.0],
        "window_gap": [2.0, 0.5, -0.5, -2.0, 2.5], "perplexity": [1.0, 2.0, 2.5, 3.0, 1.5],
        "length": [100, 500, 300, 500, 500], "ifd": [-1.0, 0.0, -1.0, -1.0, -1.5],
    }  # fmt: skip
    for one, other in combinations(sorted(by_term), 2):
        wanted = stats.spearmanr(by_term[one], by_term[other])[0]
        assert pairs[one, other][1] == pytest.approx(wanted), (one, other)
    assert pairs["hmp", "score"][2] == 1.0 and pairs["perplexity", "score"][2] == 0.0
    assert pairs["score", "window_gap"][2] == 0.5, "a, b by the one, e, a by the other"
    redrawn = {row[:2]: row[3] for row in ask("influence_scorers", {"seed": 99})}
    assert {pair for pair, row in pairs.items() if row[1] != redrawn[pair]} <= {p for p in pairs if "random" in p}
    assert any(redrawn["random", term] != pairs["random", term][1] for term in ("score", "window_gap"))

    apart = {row[:2]: row[2:] for row in ask("influence_truncated")}
    assert len(apart) == 2 * 6
    assert apart[False, "score"] == pytest.approx((2, 0.2, 0.375, 0.55, 0.725, 0.9, 0.55, -1.0))
    assert apart[True, "score"][:3] == pytest.approx((3, 0.1, 0.3))
    assert apart[True, "window_gap"] == pytest.approx((3, -2.0, -0.75, 0.5, 1.5, 2.5, 1 / 3, -1.0))
    assert apart[False, "ifd"][:7] == pytest.approx((2, *[math.exp(-1.0)] * 6))
    assert apart[False, "ifd"][7] is None, "of equal values there is none"


@pytest.mark.spark
def test_verbs_and_objects(spark: SparkSession) -> None:
    own = spark.newSession()
    samples = [(str(at), text) for at, (text, *_) in enumerate(FORMS)]
    own.createDataFrame(samples, "id string, instruction string").coalesce(1).createOrReplaceTempView("samples")
    own.sql(
        "CREATE TEMPORARY VIEW training_set AS SELECT id AS sample, 'single' AS setting, 'x' AS document_type, "
        "CAST(NULL AS STRING) AS reject_reason FROM samples"
    )
    found = own.sql(questions()["instruction_forms"].bound({})).collect()
    by_sample = {row["sample"]: (row["verb"], row["object"]) for row in found}
    assert [by_sample[str(at)] for at in range(len(FORMS))] == [(verb, thing) for _, verb, thing in FORMS]


@pytest.mark.spark
def test_parameters_have_defaults_and_can_be_set(analyst: Analyst) -> None:
    assert questions()["field_values"].parameters == {"top": 5}
    assert len(answer(analyst, "field_values", {"top": 1})) == 2


def test_every_question_is_asked_here_and_opens_with_one() -> None:
    elsewhere = {"drift", "field_coverage", "instruction_forms"}
    assert questions().keys() - {n for n in questions() if n.startswith(("influence", "selection"))} == (
        EXPECTED.keys() | elsewhere
    )
    for question in questions().values():
        assert question.question.endswith("?"), question.name
        assert known(question), question.name
        assert question.name not in sql.tables()


def known(question: Question) -> bool:
    stored = {*sql.tables(), *questions(), "samples_before", "samples_after"}
    return bool(question.reads) and set(question.reads) <= stored


def test_relations_are_what_stands_after_from_and_join() -> None:
    text = (
        "WITH a AS (SELECT * FROM Samples), b (x) AS (SELECT 1) SELECT 'FROM walks', documents -- FROM nodes\n"
        "FROM a JOIN edges e ON e.id = a.id LEFT JOIN delta.`x` d CROSS JOIN a"
    )
    assert relations(text) == ("samples", "edges")
