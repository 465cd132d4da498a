"""Normal forms of values: hand-written cases, and what must hold for any text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.normal_form import normalise_value

CASES = [
    ("Summarise the Report.", "summarise the report"),
    ("  summarise\tthe \n report ", "summarise the report"),
    ("“Summarise the report”", "summarise the report"),
    ("- summarise the report;", "summarise the report"),
    ("**Bold claim**", "bold claim"),
    ("ｆｕｌｌ　ｗｉｄｔｈ", "full width"),  # compatibility forms
    ("ﬁnance", "finance"),
    ("STRASSE", "strasse"),
    ("Straße", "strasse"),  # casefold, not lower
    ("cafe\u0301", "café"),  # composed
    ("soft\u00adhyphen", "softhyphen"),
    ("zero\u200bwidth", "zerowidth"),
    ("[formal]", "formal"),
    ("python (3.11)", "python (3.11)"),  # brackets that do not wrap the whole stay
    ("(a) and (b)", "(a) and (b)"),
    ("C++", "c++"),
    ("C#", "c#"),
    (".NET", ".net"),
    ("-5 degrees", "-5 degrees"),
    ("50%", "50%"),
    ("Wait ...", "wait"),
    ("?!", ""),
    ("", ""),
    ("\x00bell\x07", "bell"),
    ("half \ud800 pair", "half \ufffd pair"),
]


@pytest.mark.parametrize(("raw", "expected"), CASES)
def test_cases(raw: str, expected: str) -> None:
    assert normalise_value(raw) == expected


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_twice_is_once_and_storable(raw: str) -> None:
    form = normalise_value(raw)
    assert normalise_value(form) == form
    assert form == form.strip()
    form.encode("utf-8")


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abcé -.", max_size=20), st.sampled_from([" ", "\t", "“", "”", "*", "\u200b"]))
def test_case_space_and_wrapping_do_not_matter(raw: str, mark: str) -> None:
    assert normalise_value(mark + raw.upper() + mark) == normalise_value(raw)
