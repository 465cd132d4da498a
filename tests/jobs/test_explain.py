"""Why a row is here: its prompt, its gates; and unknown ids are answered with those most like them."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.explain import _lines, explain
from jobs.runtime.ancestry import Found, nearest
from jobs.runtime.errors import SettingsFault
from jobs.runtime.reasons import gates, prompt_of
from jobs.stages.samples import samples
from jobs.stages.walks import walks
from tests.sql.small_root import SmallTables
from udfs.llm.requests import prompt_sha


def rows(*ids: str) -> list[dict[str, Any]]:
    return [{"id": name} for name in ids]


@pytest.mark.spark
def test_a_prompt_is_rendered_again_while_its_text_is_the_same(spark: SparkSession) -> None:
    steps = [{"field": "tasks", "value": "sum up", "node": "n1"}]
    held: dict[str, list[dict[str, Any]]] = {
        "pairings": [{"id": "pair", "setting": "single", "document_type": "report", "walk": "w", "instruction": "i",
                      "documents": ["d"]}],
        "instructions": [{"id": "i", "instruction": "Sum it up."}],
        "walks": [{"id": "w", "nodes": steps}],
        "documents": [{"id": "d", "text": "It rained in May."}],
    }  # fmt: skip
    found = Found("samples", {"id": "s", "parent_ids": ["pair"]})
    messages = prompt_of(SmallTables(spark, held), samples, found, prompt_sha("answer"))
    assert messages is not None and [message["role"] for message in messages] == ["system", "user"]
    for text in ("It rained in May.", "Sum it up.", '"value": "sum up"'):
        assert text in messages[1]["content"]
    assert prompt_of(SmallTables(spark, held), samples, found, "another") is None
    assert prompt_of(SmallTables(spark, held), walks, found, prompt_sha("answer")) is None


def test_gates_are_told_with_the_figures_that_passed_them() -> None:
    spans = [{"exact": True}, {"exact": False}]
    shares = [{"share": 0.25}, {"share": 0.75}]
    row = {"grounded_share": 0.8, "evidence": spans, "document_shares": shares}
    limits = {"evidence": {"min_grounded_share": 0.5, "min_document_share": 0.2}}
    assert gates(Found("samples", row), limits) == [
        "evidence: 2 spans located, 1 of them letter for letter (at least 1)",
        "grounded: 0.80 of the sentences (at least 0.5)",
        "both documents: the lesser holds 0.25 of the evidence (at least 0.2)",
    ]
    assert gates(Found("samples", row), {}) == gates(Found("walks", row), limits) == []


@pytest.mark.spark
def test_both_draws_of_an_answer_are_told(spark: SparkSession) -> None:
    call = {"stage": "samples", "task": "answer", "teacher": "openai", "model": "m", "status": "ok", "prompt_sha": "p"}
    held: dict[str, list[dict[str, Any]]] = {
        "samples": [
            {
                "id": "s" * 32,
                "parent_ids": [],
                "run_id": "r",
                "draw": 2,
                "call_id": "c2",
                "other_call": "c1",
                "answerable_call": "c3",
            }
        ],
        "llm_calls": [
            {"id": "c1", "text": "the first", **call},
            {"id": "c2", "text": "the second", **call},
            {"id": "c3", "text": "with both", **call},
        ],
    }
    told = explain(SmallTables(spark, held), "s" * 32)
    ((one,),) = told["levels"]
    assert one["facts"]["draw"] == 2
    assert (one["call"]["text"], one["other_call"]["text"]) == ("the second", "the first")
    lines = [line.strip() for line in _lines(told)]
    assert lines[lines.index("the answerability, call c3: ok") + 1] == "reply: with both"
    assert "the other draw, call c1: ok" in lines and lines.index("reply: the second") < lines.index("reply: the first")


@pytest.mark.spark
def test_what_was_made_from_a_row_is_counted_and_its_first_ids_are_told(spark: SparkSession) -> None:
    def made(name: str, *parents: str) -> dict[str, Any]:
        return {"id": name, "parent_ids": list(parents), "run_id": "r"}

    def read(stage: str, *inputs: str) -> dict[str, Any]:
        return {"stage": stage, "inputs": dict.fromkeys(inputs, 0), "run_id": "other"}

    calls = [made(f"{n:032}", "f" * 32) for n in (5, 3, 9, 1)]
    held: dict[str, list[dict[str, Any]]] = {
        "source_files": [made("f" * 32), made("e" * 32)],
        "conversations": [*calls, calls[0], made("a" * 32, "e" * 32), {"id": "b" * 32, "parent_ids": None}],
        # Made from two of them, once in the first round and once more by way of another.
        "long_conversations": [made("c" * 32, calls[1]["id"], calls[2]["id"]), made("d" * 32, "c" * 32, "f" * 32)],
        "stage_runs": [read("conversations", "source_files"), read("deferrals", "source_files"),
                       read("long_conversations", "conversations", "long_conversations", "source_files")],
    }  # fmt: skip
    tables = SmallTables(spark, held)
    ids = [one["id"] for one in calls]
    told = explain(tables, "f" * 32)
    assert told["made_from_it"] == {
        "conversations": {"count": 4, "ids": ids[:3]},
        "long_conversations": {"count": 2, "ids": ["d" * 32, "c" * 32]},
    }
    assert list(_lines(told))[-2:] == [
        f"made from it: 4 in conversations ({', '.join(i[:16] for i in ids[:3])} …)",
        f"made from it: 2 in long_conversations ({'d' * 16}, {'c' * 16})",
    ]
    whole = explain(tables, "f" * 32, whole=True)
    assert whole["made_from_it"] == {"conversations": ids, "long_conversations": ["d" * 32, "c" * 32]}


@pytest.mark.spark
def test_nearest_ids_are_offered(spark: SparkSession) -> None:
    held = {"samples": rows("abcdef0123456789ff", "abcdef0123999999ff"), "walks": rows("abcdff0123456789ff", "77" * 9)}
    tables = SmallTables(spark, held)
    assert nearest(tables, "abcdef012345678a") == [("samples", "abcdef0123456789ff"), ("walks", "abcdff0123456789ff")]
    with pytest.raises(SettingsFault, match="has this id; nearest: samples abcdef0123456789, walks abcdff0123456789"):
        explain(tables, "abcdef012345678a")
    with pytest.raises(SettingsFault, match=r"no row and no run of small has this id$"):
        explain(tables, "0" * 16)
