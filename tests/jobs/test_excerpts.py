"""Documents in pieces: nothing lost, nothing doubled, evidence where it stands."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.runtime.report.excerpts import AROUND, ENDS, EVIDENCE, LEFT_OUT, TEXT, WHOLE, Piece, excerpts

spans = st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60)), max_size=6)


def length(piece: Piece) -> int:
    kind, value = piece
    return value if kind == LEFT_OUT and isinstance(value, int) else len(str(value))


@given(st.text(max_size=50), spans)
def test_a_short_document_is_whole_and_marked(text: str, held: list[tuple[int, int]]) -> None:
    pieces = excerpts(text, held)
    assert "".join(str(value) for _, value in pieces) == text
    marked = {at for start, end in held for at in range(max(0, start), min(len(text), end))}
    at = 0
    for kind, value in pieces:
        assert kind in (TEXT, EVIDENCE)
        for place in range(at, at + len(str(value))):
            assert (place in marked) is (kind == EVIDENCE)
        at += len(str(value))


def test_a_long_document_keeps_its_ends_and_what_stands_around_evidence() -> None:
    text = "".join(chr(97 + at % 26) for at in range(WHOLE + 10_000))
    pieces = excerpts(text, [(10_000, 10_040), (10_030, 10_060)])
    assert [kind for kind, _ in pieces] == [TEXT, LEFT_OUT, TEXT, EVIDENCE, TEXT, LEFT_OUT, TEXT]
    assert sum(map(length, pieces)) == len(text)
    assert pieces[0] == (TEXT, text[:ENDS])
    assert pieces[2] == (TEXT, text[10_000 - AROUND : 10_000])
    assert pieces[3] == (EVIDENCE, text[10_000:10_060])
    assert pieces[-1] == (TEXT, text[-ENDS:])
