"""Bytes become lines and array elements: every split of the bytes, torn streams, over-long lines."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.readers.arrays import elements, starts_with_bracket
from udfs.readers.errors import FileFault
from udfs.readers.streams import Blanks, Line, decompressed, lines


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def until_fault(found: Iterator[Line]) -> tuple[list[Line], str | None]:
    """The lines, and the reason of the fault that ended them."""
    kept: list[Line] = []
    try:
        for line in found:
            kept.append(line)
    except FileFault as fault:
        return kept, fault.reason
    return kept, None


def whole(data: bytes, compression: str | None) -> tuple[bytes, str | None]:
    pieces: list[bytes] = []
    try:
        for piece in decompressed(io.BytesIO(data), compression):
            pieces.append(piece)
    except FileFault as fault:
        return b"".join(pieces), fault.reason
    return b"".join(pieces), None


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=12), max_size=12), st.integers(1, 9))
def test_lines_do_not_depend_on_pieces(rows: list[bytes], size: int) -> None:
    data = b"\n".join(row.replace(b"\n", b"") for row in rows)
    expected = [Line(n, raw.removeprefix(b"\xef\xbb\xbf")) for n, raw in enumerate(data.split(b"\n"))]
    expected = [line for line in expected if line.raw and not line.raw.isspace()]
    assert list(lines(cut(data, size), Blanks())) == expected


def test_a_line_over_the_limit_is_not_held() -> None:
    data = b"x" * 50 + b"\n" + b"y" * 10 + b"\n" + b"z" * 11
    assert [line.raw for line in lines(cut(data, 7), Blanks(), limit=10)] == [None, b"y" * 10, None]


def test_blank_lines_are_counted_and_keep_their_positions() -> None:
    blanks = Blanks()
    found = list(lines(iter([b"\n \r\n\t\na\n\nb\n"]), blanks))
    assert [(line.position, line.raw) for line in found] == [(3, b"a"), (5, b"b")]
    assert blanks.count == 4


def test_a_torn_source_marks_the_line_it_broke() -> None:
    def source() -> Iterator[bytes]:
        yield b'{"a":1}\n{"b"'
        raise FileFault("torn")

    found, reason = until_fault(lines(source(), Blanks()))
    assert found == [Line(0, b'{"a":1}'), Line(1, b'{"b"', fragment=True)]
    assert reason == "torn"


DATA = b"".join(b'{"text": "line %d %s"}\n' % (n, b"word " * (n % 50)) for n in range(20_000))


@pytest.mark.parametrize("compression", ["zst", "gz"])
def test_compressed_streams_of_several_frames(compression: str) -> None:
    compress = zstandard.compress if compression == "zst" else gzip.compress
    joined = b"".join(compress(DATA[at : at + 100_000]) for at in range(0, len(DATA), 100_000))
    assert whole(joined, compression) == (DATA, None)
    if compression == "gz":
        assert whole(joined + b"\0" * 512, compression) == (DATA, None)


@pytest.mark.parametrize("compression", ["zst", "gz"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95, 0.999])
def test_torn_streams_keep_their_head(compression: str, share: float) -> None:
    packed = zstandard.compress(DATA) if compression == "zst" else gzip.compress(DATA)
    kept, reason = whole(packed[: int(len(packed) * share)], compression)
    assert reason == "torn"
    assert DATA.startswith(kept)
    assert len(kept) > (share - 0.19) * len(DATA) * 0.5


def test_damage_and_rubbish_are_torn_and_zero_bytes_are_empty() -> None:
    assert whole(b"", "zst") == (b"", "empty")
    assert whole(b"", None) == (b"", "empty")
    assert whole(b"this is no zstd", "zst")[1] == "torn"
    assert whole(b"this is no gzip", "gz")[1] == "torn"
    assert whole(zstandard.compress(DATA) + b"tail", "zst") == (DATA, "torn")


def test_output_held_back_by_the_piece_limit_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udfs.readers.streams.GZIP_PIECE_BYTES", 1_000)
    assert whole(gzip.compress(b"a" * 1_000_000), "gz") == (b"a" * 1_000_000, None)


json_values = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(json_values, max_size=6), st.integers(1, 7), st.sampled_from([None, 2]), st.booleans())
def test_array_elements_equal_a_json_parser(values: list[object], size: int, indent: int | None, ascii_: bool) -> None:
    data = json.dumps(values, indent=indent, ensure_ascii=ascii_).encode()
    found = list(elements(cut(data, size)))
    assert [orjson.loads(line.raw or b"") for line in found] == values
    assert [line.position for line in found] == list(range(len(values)))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=9), min_size=1), min_size=1, max_size=5), st.data()
)
def test_a_torn_array_keeps_its_whole_elements(values: list[dict[str, str]], data: st.DataObject) -> None:
    text = json.dumps(values).encode()
    at = data.draw(st.integers(0, len(text) - 1))
    found, reason = until_fault(elements(cut(text[:at], 5)))
    assert reason == "torn"
    complete = [orjson.loads(line.raw or b"") for line in found if not line.fragment]
    assert complete == values[: len(complete)]
    assert sum(line.fragment for line in found) <= 1


def test_an_element_over_the_limit_is_passed_over() -> None:
    data = json.dumps([{"a": 1}, {"b": 'x\\"' * 40}, {"c": 2}]).encode()
    for size in (3, 1_000):
        found = list(elements(cut(data, size), limit=30))
        assert [line.raw is None for line in found] == [False, True, False]
        assert [line.position for line in found] == [0, 1, 2]


def test_what_follows_an_array_is_named() -> None:
    found, reason = until_fault(elements(iter([b"[1, 2]", b" \n", b"3"])))
    assert ([line.raw for line in found], reason) == ([b"1", b"2"], "torn")


@pytest.mark.parametrize(("data", "expected"), [(b"\xef\xbb\xbf \n[1]", True), (b'{"a":1}', False), (b"  ", False)])
def test_arrays_are_told_by_their_first_character(data: bytes, expected: bool) -> None:
    is_array, pieces = starts_with_bracket(cut(data, 2))
    assert (is_array, b"".join(pieces)) == (expected, data)
