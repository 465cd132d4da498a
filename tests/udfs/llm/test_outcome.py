"""The rule that turns recorded calls into outcomes, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from udfs.llm.calls import CALL_SCHEMA, CallRow
from udfs.llm.outcome import best_call, settle

GOOD, BAD = '{"label": "A"}', "not JSON"


def call(status: str, text: str | None = None, kind: str | None = None, **more: Any) -> CallRow:
    """A call row with the fields that matter here."""
    fields = dict.fromkeys(CALL_SCHEMA.names) | {"status": status, "text": text, "error_kind": kind}
    row: Any = {**fields, **more}
    found: CallRow = row
    return found


@pytest.mark.parametrize(
    ("root", "corrected", "expected"),
    [
        (None, None, None),
        (call("ok", GOOD), None, ("ok", None, GOOD)),
        (call("passing", None, "timeout"), None, None),
        (call("fatal", None, "quota"), None, None),
        (call("lasting", None, "refusal"), None, ("lasting", "refusal", None)),
        (call("lasting", GOOD, "length"), None, ("lasting", "length", None)),
        (call("ok", BAD), None, BAD),
        (call("ok", BAD), call("passing", None, "server"), BAD),
        (call("ok", BAD), call("ok", GOOD), ("ok", None, GOOD)),
        (call("ok", BAD), call("lasting", BAD, "bad_json"), ("lasting", "bad_json", None)),
        (call("ok", BAD), call("lasting", None, "content_filter"), ("lasting", "content_filter", None)),
        # a parser that has learned to read what it could not
        (call("ok", GOOD), call("lasting", BAD, "bad_json"), ("ok", None, GOOD)),
        (call("ok", BAD), call("lasting", GOOD, "bad_json"), ("ok", None, GOOD)),
    ],
)
def test_settling(root: CallRow | None, corrected: CallRow | None, expected: Any) -> None:
    settled = settle("key", "type_label", root, corrected, raises_limit=False)
    if isinstance(expected, tuple):
        outcome = settled.outcome
        assert outcome is not None and outcome.key == "key"
        assert (outcome.status, outcome.error_kind, outcome.text) == expected
    else:
        assert settled.outcome is None and settled.known_text == expected
        assert settled.further == (None if expected is None else "correction")


@pytest.mark.parametrize(
    ("longer", "raises_limit", "expected"),
    [
        (None, False, ("lasting", "length")),
        (None, True, "longer"),
        (call("passing", None, "timeout"), True, "longer"),
        (call("ok", GOOD), True, ("ok", None)),
        (call("ok", GOOD), False, ("ok", None)),  # made while the setting was another
        (call("lasting", '{"la', "length"), True, ("lasting", "length")),
        (call("lasting", BAD, "bad_json"), True, ("lasting", "bad_json")),
    ],
)
def test_a_reply_that_was_cut_off(longer: CallRow | None, raises_limit: bool, expected: Any) -> None:
    settled = settle("key", "type_label", call("lasting", '{"la', "length"), longer, raises_limit)
    if settled.outcome is None:
        assert settled.further == expected
    else:
        assert (settled.outcome.status, settled.outcome.error_kind) == expected


def test_the_best_of_several_calls_does_not_depend_on_their_order() -> None:
    calls = [
        call("passing", id="1"),
        call("ok", GOOD, id="3"),
        call("lasting", id="0"),
        call("ok", GOOD, id="2"),
    ]
    for order in (calls, calls[::-1]):
        best = best_call(order)
        assert best is not None and best["id"] == "2"
    assert best_call([]) is None
