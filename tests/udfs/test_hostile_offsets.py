"""Evidence and documents of a sample over hostile texts: every offset points at what it stands for."""

from __future__ import annotations

import itertools
import json

import pytest

from tests.jobs.test_bad_input import HOSTILE
from tests.roots import prose
from udfs.assemble import assemble_one
from udfs.settings import EvidenceSettings, TokenizerSettings

TAIL = f"\n{prose('zircon', 3)}"  # sentences to quote, behind everything that could move an offset
QUOTE = "The zircon report of station 2 says that sample 14 grew by 2 units"


def quotable(name: str) -> tuple[str, list[str]]:
    """A text, and quotes of it: from its hostile head, and from its end."""
    text = HOSTILE[name]
    return text + TAIL, [text[:60], QUOTE]


@pytest.mark.parametrize(("first", "second"), itertools.pairwise([*HOSTILE, next(iter(HOSTILE))]))
def test_offsets_point_at_what_was_quoted(first: str, second: str) -> None:
    texts, quotes = zip(*map(quotable, (first, second)), strict=True)
    told = [{"document": number, "text": text} for number, two in enumerate(quotes, 1) for text in two]
    response = " ".join(f"{two[1]}." for two in quotes)
    reply = {"answerable": True, "instruction": "Say it.", "response": response, "quotes": told}
    held = [{"doc_id": name, "text": text} for name, text in zip((first, second), texts, strict=True)]
    row = {"input_id": "p", "reason": None, "text": json.dumps(reply), "variables": json.dumps({"documents": held})}
    made = assemble_one(row, EvidenceSettings(), TokenizerSettings())
    assert made["reject_reason"] is None
    assert [made["context"][place["start"] : place["end"]] for place in made["places"]] == list(texts)
    found = [(span["doc_id"], span["start"], span["end"], span["exact"]) for span in made["evidence"]]
    expected = [
        (name, text.index(quote), text.index(quote) + len(quote), True)
        for name, text, two in zip((first, second), texts, quotes, strict=True)
        for quote in (part.strip() for part in two)
    ]
    assert sorted(found) == sorted(expected)
