"""Sentences, paragraphs and words are found where a reader would find them, and cover the text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.text import fold, normalise_spaces, paragraphs, sentences, shorten, words


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("Dr. Smith met J. R. Moss at 3.14 p.m. on Jan. 5.", ["Dr. Smith met J. R. Moss at 3.14 p.m. on Jan. 5."]),
        ("See Fig. 3, e.g. the left one. Then go.", ["See Fig. 3, e.g. the left one.", "Then go."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Really?! he asked. Yes… no. And...", ["Really?! he asked.", "Yes… no.", "And..."]),
        ("日本語です。次です！「はい。」終わり", ["日本語です。", "次です！", "「はい。」", "終わり"]),
        ("मैं गया। वह आया।", ["मैं गया।", "वह आया।"]),
        ("هل هذا سؤال؟ نعم.", ["هل هذا سؤال؟", "نعم."]),
        (
            "# Heading\nFirst line here.\n- item one\n- item two",
            ["# Heading", "First line here.", "- item one", "- item two"],
        ),
        ("1. First point\n2. Second point. More.", ["1. First point", "2. Second point.", "More."]),
        ("Title\n\nBody text.", ["Title", "Body text."]),
        (
            "This line was wrapped by an old mail program so it\ngoes on here. And London\nends it.",
            ["This line was wrapped by an old mail program so it\ngoes on here.", "And London\nends it."],
        ),
        ("Wow!!! ... !", ["Wow!!! ... !"]),
        ("", []),
        (" \n\t ", []),
    ],
)
def test_sentences_by_hand(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


pieces = st.sampled_from([*"aB. !?\n\t-。…\"'()1é\u2028\r", "Dr. ", "e.g.", "\n\n", "word ", "\n- ", "... "])


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=40).map("".join) | st.text(max_size=60))
def test_every_mark_lies_in_exactly_one_sentence(text: str) -> None:
    for spans in (sentences(text), paragraphs(text)):
        covered = [at for start, end in spans for at in range(start, end)]
        assert len(covered) == len(set(covered))
        assert spans == sorted(spans)
        left = "".join(character for at, character in enumerate(text) if at not in set(covered))
        assert not left.strip()
        assert all(text[start:end] == text[start:end].strip() != "" for start, end in spans)


@pytest.mark.parametrize(
    "unit", ["a", "a ", ". ", "\n", "a.", "\n\n \n", "。", "x. \n", " ", "(", "Dr. ", "\u0301", ".", ".x", "….", "?)"]
)
def test_a_megabyte_of_anything_takes_seconds_at_most(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    started = time.process_time()
    sentences(text)
    paragraphs(text)
    words(text)
    assert time.process_time() - started < 10


def test_paragraphs_and_words() -> None:
    text = "  First\nstill first.\n \n\n\tSecond — it's well-known, e.g. 3 of 4.\n"
    assert [text[a:b] for a, b in paragraphs(text)] == ["First\nstill first.", "Second — it's well-known, e.g. 3 of 4."]
    assert [text[a:b] for a, b in words(text)][3:] == ["Second", "it's", "well-known", "e", "g", "3", "of", "4"]


def test_forms_for_comparing() -> None:
    assert normalise_spaces(" a\n\tb\u00a0 c\u3000") == "a b c"
    assert fold("Ｆｕｌｌ\u200b  ﬁne\u202e STRASSE") == fold("full fine straße")
    assert fold("é") == fold("e\u0301")


def test_shortening() -> None:
    assert shorten("short  text", 20) == "short text"
    assert shorten("a sentence that is too long", 15) == "a sentence…"
    assert shorten("x" * 100, 10) == "x" * 9 + "…"
    assert all(len(shorten("one two three " * 50, n)) <= n for n in range(60))
