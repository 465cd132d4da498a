"""From a teacher's answer to a sample: spans against the text, gates by code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.assemble import assemble_one, build_context
from udfs.settings import EvidenceSettings, TokenizerSettings

RIVER = "The river rose by four metres in March. Boats were moved to the upper quay. Nobody was hurt in the flood."
MILL = "The mill burned down in the spring of 1911. Its owner built a larger one of brick. It ground rye for the town."


def answer(response: str, quotes: list[tuple[int, str]], **changes: Any) -> str:
    told = {"answerable": True, "instruction": "Say what happened.", "response": response,
            "quotes": [{"document": number, "text": text} for number, text in quotes]}  # fmt: skip
    return json.dumps({**told, **changes})


def made(text: str | None, documents: list[str], reason: str | None = None) -> dict[str, Any]:
    held = [{"doc_id": f"d{n}", "text": t} for n, t in enumerate(documents)]
    row = {"input_id": "p", "reason": reason, "text": text, "variables": json.dumps({"documents": held})}
    return assemble_one(row, EvidenceSettings(), TokenizerSettings())


def test_a_grounded_answer_is_accepted_with_its_spans() -> None:
    quote = "Boats were moved to the upper quay."
    sample = made(answer(quote, [(1, quote)]), [RIVER])
    assert sample["reject_reason"] is None
    (span,) = sample["evidence"]
    assert RIVER[span["start"] : span["end"]] == quote
    assert sample["messages"][0]["content"] == f"{RIVER}\n\nSay what happened."
    assert sample["messages"][1]["content"] == quote
    assert all(count > 0 for count in sample["lengths"].values())


@pytest.mark.parametrize(
    ("text", "documents", "code"),
    [
        (answer("", [], answerable=False), [RIVER], "unanswerable"),
        (answer("It rained.", []), [RIVER], "no_evidence"),
        (answer("It rained.", [(1, "The moon is made of old green cheese.")]), [RIVER], "no_evidence"),
        (
            answer(
                "Boats were moved to the upper quay. Dragons ate the harbour. Elves sang for hours. Wizards wept.",
                [(1, "Boats were moved to the upper quay.")],
            ),
            [RIVER],
            "ungrounded",
        ),
        (
            answer("Boats were moved to the upper quay.", [(1, "Boats were moved to the upper quay.")]),
            [RIVER, MILL],
            "one_sided",
        ),
        ("not json at all", [RIVER], "llm:bad_json"),
    ],
)
def test_each_gate_gives_its_code(text: str, documents: list[str], code: str) -> None:
    assert made(text, documents)["reject_reason"] == code


def test_a_failed_call_keeps_its_reason() -> None:
    assert made(None, [RIVER], "llm:content_filter")["reject_reason"] == "llm:content_filter"


def test_both_documents_must_carry_the_answer() -> None:
    quotes = [(1, "Boats were moved to the upper quay."), (2, "Its owner built a larger one of brick.")]
    sample = made(answer(" ".join(text for _, text in quotes), quotes), [RIVER, MILL])
    assert sample["reject_reason"] is None
    assert {span["doc_id"] for span in sample["evidence"]} == {"d0", "d1"}


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1, max_size=3))
def test_places_point_at_the_texts(texts: list[str]) -> None:
    context, places = build_context(texts)
    assert [context[start:end] for start, end in places] == texts
