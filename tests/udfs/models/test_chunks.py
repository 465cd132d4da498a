"""Pieces of a text: everything is read when it fits, evenly spaced places when it does not."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.models.chunks import CHARS_READ, CHARS_WHOLE, spans, token_chunks, windows


def test_a_sequence_that_fits_is_read_whole_in_consecutive_pieces() -> None:
    assert spans(0, 4, 10) == []
    assert spans(25, 4, 10) == [(0, 10), (10, 20), (20, 25)]
    assert spans(40, 4, 10) == [(0, 10), (10, 20), (20, 30), (30, 40)]


def test_a_longer_sequence_is_read_at_even_places_from_start_to_end() -> None:
    assert spans(100, 4, 10) == [(0, 10), (30, 40), (60, 70), (90, 100)]
    assert spans(100, 1, 10) == [(0, 10)]


@settings(deadline=None, max_examples=100)
@given(n=st.integers(0, 500), chunks=st.integers(1, 6), size=st.integers(1, 40))
def test_spans_never_overlap_and_cover_what_they_can(n: int, chunks: int, size: int) -> None:
    found = spans(n, chunks, size)
    covered = sum(stop - start for start, stop in found)
    assert covered == min(n, chunks * size)
    assert all(0 <= start < stop <= n and stop - start <= size for start, stop in found)
    assert all(before[1] <= after[0] for before, after in pairwise(found))


def test_a_short_text_is_one_window() -> None:
    text = "a b " * 30
    assert windows(text, 4, 10) == [text]


def test_a_long_text_is_cut_at_spaces_into_even_windows() -> None:
    text = " ".join(f"word{i}" for i in range(2_000))
    parts = windows(text, 4, 20)
    assert len(parts) == 4
    assert parts[0].startswith("word0 ") and parts[-1].endswith("word1999")
    known = set(text.split())
    assert all(word in known for part in parts for word in part.split())  # no word is cut
    assert all(len(part) <= CHARS_READ * 20 for part in parts)


def test_a_script_without_spaces_is_cut_where_it_is() -> None:
    text = "文" * 5_000
    assert [len(part) for part in windows(text, 4, 20)] == [CHARS_READ * 20] * 4


def test_blanks_give_nothing_and_hide_nothing() -> None:
    assert windows("", 4, 10) == []
    assert windows(" \n\t" * 1_000, 4, 10) == []
    assert windows(" " * 4_001 + "needle" + " " * 7_000, 2, 10) == ["needle"]


def test_a_lone_surrogate_is_replaced() -> None:
    assert windows("a \ud800 é", 1, 10) == ["a ? é"]


@settings(deadline=None, max_examples=60)
@given(text=st.text(max_size=3_000), chunks=st.integers(1, 4), size=st.integers(1, 12))
def test_windows_are_parts_of_the_text(text: str, chunks: int, size: int) -> None:
    parts = windows(text, chunks, size)
    clean = text.encode("utf-8", "replace").decode()
    assert all(part in clean and not part.isspace() for part in parts)
    assert len(parts) <= chunks
    assert bool(parts) == bool(text.strip())
    if len(text) <= CHARS_WHOLE * chunks * size and text.strip():
        assert parts == [clean]


def test_chunks_of_tokens_come_from_one_window_or_from_each() -> None:
    assert token_chunks([list(range(7))], 3, 2) == [[0, 1], [2, 3], [5, 6]]
    assert token_chunks([[1, 2, 3], [], [4]], 3, 2) == [[1, 2], [4]]
    assert token_chunks([], 3, 2) == []
