"""Everything that can be wrong with a line or a file earns its own reason, and the rest is read."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from udfs.readers import SourceFile, format_of, hash_file, listing, read_file, reading, streams

GOOD = b'{"text": "a good document"}'


def read(path: Path, kind: str = "documents", **listed: Any) -> list[dict[str, Any]]:
    return list(read_file(SourceFile("file-1", str(path), format_of(str(path), kind) or "?", **listed), kind))


def reasons(rows: list[dict[str, Any]]) -> list[str | None]:
    return [row.get("reject_reason") for row in rows]


def meta(row: dict[str, Any]) -> dict[str, Any]:
    return dict(orjson.loads(row["meta"]))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "bad_json"),
        (b'{"text": "cut o', "bad_json"),
        (b'{"text": "a",}', "bad_json"),
        (b'{"text": "tab\there"}', "bad_json"),
        (b"[" * 100_000, "bad_json"),
        (b'{"a":' * 50_000, "bad_json"),
        (b'{"n": ' + b"9" * 5_000 + b', "text": }', "bad_json"),
        (b'["text", "x"]', "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"null", "not_an_object"),
        (b"17", "not_an_object"),
        (b"{}", "no_text"),
        (b'{"txt": "x"}', "no_text"),
        (b'{"text": null}', "no_text"),
        (b'{"text": ["x"]}', "no_text"),
        (b'{"text": " \\n\\t\\u00a0"}', "no_text"),
        (b'{"text": "caf\xe9"}', "not_utf8"),
        (b'{"text": "\xed\xa0\x80"}', "not_utf8"),
        (b"\xff\xfe{\x00", "nul_bytes"),
        (b"\xff\xfe plain", "not_utf8"),
        (b'{"text": "half \\ud83d"}', "not_utf8"),
        (b'{"text": "other half \\ude00 here"}', "not_utf8"),
        (b'{"text": "fine", "meta": {"title": "\\ud800"}}', "not_utf8"),
        (b'{"text": "a\\u0000b"}', "nul_bytes"),
        (b'{"text": "a\x00b"}', "nul_bytes"),
        (b"\x00\x00\x00", "nul_bytes"),
    ],
)
def test_a_bad_line_between_good_ones(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"\n".join([GOOD, line, GOOD]))
    rows = read(path)
    assert reasons(rows) == [None, reason, None]
    assert [row["position"] for row in rows] == [0, 1, 2]
    assert len(rows[1]["content_hash"]) == 64 and rows[1]["path"] == str(path)
    assert meta(rows[1])["bytes"] == len(line)
    assert "text" not in rows[1] or rows[1]["text"] is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"text": "x", "meta": {"score": NaN}}',
        b'{"text": "x", "meta": {"n": 123456789012345678901234567890}}',
        b'{"text": "x", "big": 1e999}',
        b'\xef\xbb\xbf{"text": "x"}',
        b'{"text": "x"}\r',
        b' \t{"text": "\\ud83d\\ude00"}',
        *(b'{"text": "x", "meta": ' + b'{"a":' * n + b"1" + b"}" * n + b"}" for n in (200, 300, 900, 1_000, 1_020)),
        b'{"text": "x", "timestamp": ' + b"[" * 900 + b"]" * 900 + b"}",
    ],
)
def test_odd_but_readable_lines(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "docs.jsonl").write_bytes(line + b"\n")
    assert reasons(read(tmp_path / "docs.jsonl")) == [None]


def test_a_fifty_megabyte_line_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(GOOD + b'\n{"text": "' + b"x" * 50_000_000 + b'"}\n' + GOOD + b"\n")
    rows = read(path)
    assert reasons(rows) == [None, "too_large_line", None]
    path = tmp_path / "docs.txt"
    path.write_bytes(b"x" * 50_000_000)
    assert reasons(read(path)) == ["too_large_text"]


def test_a_hundred_thousand_empty_lines(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"\n" * 100_000 + GOOD)
    rows = read(path)
    assert reasons(rows) == [None, "file:blank_lines"]
    assert (rows[0]["position"], rows[1]["position"], meta(rows[1])["blank_lines"]) == (100_000, -1, 100_000)
    path.write_bytes(b"\n" * 100_000)
    (row,) = read(path)
    assert (row["reject_reason"], meta(row)["blank_lines"]) == ("file:no_records", 100_000)
    path.write_bytes(GOOD + b"\n\n")
    assert reasons(read(path)) == [None]


@pytest.mark.parametrize("ending", ["jsonl.zst", "jsonl.gz"])
def test_torn_compressed_files(tmp_path: Path, ending: str) -> None:
    records = [{"text": f"document {n} " + os.urandom(200).hex()} for n in range(2_000)]
    data = b"\n".join(map(orjson.dumps, records))
    packed = zstandard.compress(data) if ending.endswith("zst") else gzip.compress(data)
    path = tmp_path / f"docs.{ending}"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    rows = read(path)
    assert rows[-1]["reject_reason"] == "file:torn" and rows[-1]["position"] == -1
    assert meta(rows[-1])["records"] == len(rows) - 1 > 500
    assert [row["text"] for row in rows[:-1]] == [record["text"] for record in records[: len(rows) - 1]]


def test_a_torn_array(tmp_path: Path) -> None:
    data = json.dumps([{"text": f"document {n}"} for n in range(100)]).encode()
    (tmp_path / "docs.json").write_bytes(data[:1_000])
    rows = read(tmp_path / "docs.json")
    assert set(reasons(rows[:-1])) == {None} and len(rows) > 30
    assert rows[-1]["reject_reason"] == "file:torn"


def write_parquet(path: Path, rows: int = 3_000) -> bytes:
    table = pa.table({"text": [f"document {n} " + os.urandom(50).hex() for n in range(rows)]})
    pq.write_table(table, path, row_group_size=500, compression="zstd", use_dictionary=False)
    return path.read_bytes()


@pytest.mark.parametrize("cut", [1, 3, 11, 500])
def test_parquet_with_a_torn_footer(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "docs.parquet"
    path.write_bytes(write_parquet(path)[:-cut])
    assert reasons(read(path)) == ["file:torn"]


def test_parquet_with_a_damaged_row_group(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    data = bytearray(write_parquet(path))
    second = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = second.data_page_offset
    data[start : start + 2_000] = b"\xff" * 2_000
    path.write_bytes(bytes(data))
    rows = read(path)
    assert rows[-1]["reject_reason"] == "file:torn" and "row group 1" in meta(rows[-1])["detail"]
    positions = [row["position"] for row in rows[:-1]]
    assert set(range(500)) | set(range(1_000, 3_000)) <= set(positions)
    assert len(positions) == len(set(positions))


def test_parquet_with_bytes_that_are_no_text(tmp_path: Path) -> None:
    raw = pa.array([b"fine", b"caf\xe9", b"also fine", None, b"nul \x00"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    pq.write_table(pa.table({"text": text}), tmp_path / "docs.parquet")
    assert reasons(read(tmp_path / "docs.parquet")) == [None, "not_utf8", None, "no_text", "nul_bytes"]


def test_parquet_with_a_name_twice(tmp_path: Path) -> None:
    columns = [pa.array(["first"]), pa.array(["second"])]
    pq.write_table(pa.Table.from_arrays(columns, names=["text", "text"]), tmp_path / "docs.parquet")
    assert reasons(read(tmp_path / "docs.parquet")) == [None]


def test_parquet_whose_columns_changed_after_listing(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "docs.parquet")
    assert reasons(read(tmp_path / "docs.parquet")) == ["file:unknown_columns"]


@pytest.mark.parametrize("ending", ["jsonl", "json", "jsonl.gz", "jsonl.zst", "parquet", "txt", "md"])
def test_files_that_hold_nothing(tmp_path: Path, ending: str) -> None:
    (tmp_path / f"a.{ending}").write_bytes(b"")
    (tmp_path / f"b.{ending}").mkdir()
    os.mkfifo(tmp_path / f"c.{ending}")
    assert reasons(read(tmp_path / f"a.{ending}")) == ["file:empty"]
    assert reasons(read(tmp_path / f"b.{ending}")) == ["file:not_a_file"]
    assert reasons(read(tmp_path / f"c.{ending}")) == ["file:not_a_file"]
    assert reasons(read(tmp_path / f"d.{ending}")) == ["defer:file:missing"]


@pytest.mark.parametrize("content", [b"[]", b" [ \n ] \n", b"\n \n"])
def test_files_without_records(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    assert reasons(read(tmp_path / "a.json")) == ["file:no_records"]


def test_parquet_without_rows(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert reasons(read(tmp_path / "a.parquet")) == ["file:no_records"]


@pytest.mark.parametrize(("content", "reason"), [(b"a\0b", "nul_bytes"), (b"caf\xe9", "not_utf8"), (b" \n", "no_text")])
def test_text_files_that_are_no_text(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    assert reasons(read(tmp_path / "a.txt")) == [reason]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "a.jsonl").chmod(0)
    assert reasons(read(tmp_path / "a.jsonl")) == ["defer:file:unreadable"]


class Failing(io.BytesIO):
    """A file whose store goes away after so many bytes."""

    def __init__(self, content: bytes, until: int, error: Exception) -> None:
        super().__init__(content)
        self.until, self.error = until, error

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.getbuffer()) if size is None or size < 0 else self.tell() + size
        if end > self.until:
            raise self.error
        return super().read(size)


@pytest.mark.parametrize("ending", ["jsonl", "json", "jsonl.gz", "jsonl.zst", "parquet", "txt"])
@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "Input/output error"), ConnectionResetError("reset"), RuntimeError("expired token")]
)
def test_a_file_whose_store_goes_away_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, error: Exception
) -> None:
    """What came before is kept and is part of what the whole file gives; the tear is not taken for the file's own."""
    path = tmp_path / f"docs.{ending}"
    records = [{"text": f"document {n} " + os.urandom(2_000).hex()} for n in range(3_000)]
    data = b"\n".join(map(orjson.dumps, records))
    if ending == "parquet":
        write_parquet(path, 30_000)
    else:
        packed = {"json": orjson.dumps(records), "jsonl.gz": gzip.compress(data), "jsonl.zst": zstandard.compress(data)}
        path.write_bytes(packed.get(ending, data))
    whole = read(path)
    assert None in reasons(whole) or ending == "txt"
    content = path.read_bytes()
    # A parquet file is read from its end: the last bytes are there, a row group in the middle is not.
    failing = FailingMiddle if ending == "parquet" else Failing
    monkeypatch.setattr(reading, "open_bytes", lambda _: failing(content, len(content) // 2, error))
    rows = read(path)
    assert rows[-1]["reject_reason"] == "defer:file:unreadable" and rows[-1]["position"] == -1
    assert type(error).__name__ in meta(rows[-1])["detail"]
    assert {row["content_hash"] for row in rows[:-1]} < {row["content_hash"] for row in whole}
    assert [row.get("reject_reason") for row in rows[:-1]] == [None] * meta(rows[-1])["records"]
    assert ending == "txt" or len(rows) > 100
    monkeypatch.undo()
    assert read(path) == whole, "the fault leaves nothing behind"


class FailingMiddle(Failing):
    def read(self, size: int | None = -1) -> bytes:
        if self.until < self.tell() < self.until * 1.5:
            raise self.error
        return io.BytesIO.read(self, size)


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_file_whose_store_is_away_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    content = write_parquet(tmp_path / "docs.parquet")
    monkeypatch.setattr(reading, "open_bytes", lambda _: Failing(content, 0, OSError("away")))
    assert reasons(read(tmp_path / f"docs.{ending}")) == ["defer:file:unreadable"]
    monkeypatch.undo()

    def no_client(*_: object, **__: object) -> None:
        raise ImportError("install s3fs to access S3")

    monkeypatch.setattr(streams.fsspec, "open", no_client)
    (row,) = read_file(SourceFile("f", f"s3://bucket/docs.{ending}", ending), "documents")
    assert row["reject_reason"] == "defer:file:unreadable" and "s3fs" in meta(row)["detail"]


def test_a_rewritten_file_is_not_mixed_with_the_listed_one(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(GOOD)
    status = path.stat()
    listed = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "content_hash": hash_file(str(path))}
    assert reasons(read(path, **listed)) == [None]
    os.utime(path, ns=(1, 1))  # touched, not changed
    assert reasons(read(path, **listed)) == [None]
    path.write_bytes(GOOD + b"\n" + GOOD)
    assert reasons(read(path, **listed)) == ["file:changed"]
    path.unlink()
    assert reasons(read(path, **listed)) == ["defer:file:missing"]


def test_a_touched_file_that_cannot_be_hashed_is_not_taken_for_a_rewritten_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(GOOD)
    listed = {"size": len(GOOD), "mtime_ns": 1, "content_hash": hash_file(str(path))}
    monkeypatch.setattr(listing, "open_bytes", lambda _: Failing(GOOD, 0, OSError("away")))
    assert reasons(read(path, **listed)) == ["defer:file:unreadable"]


@pytest.mark.parametrize("change", ["rewritten", "removed"])
def test_a_file_that_changes_while_it_is_read_is_named(tmp_path: Path, change: str) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"\n".join([GOOD] * 3))
    status = path.stat()
    listed = {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "content_hash": hash_file(str(path))}
    found = read_file(SourceFile("file-1", str(path), "jsonl", **listed), "documents")
    assert next(found).get("reject_reason") is None
    if change == "removed":
        path.unlink()
    else:
        path.write_bytes(b'{"text": "another document altogether"}\n')
    rest = [row.get("reject_reason") for row in found]
    assert rest == [None, None, "defer:file:missing" if change == "removed" else "file:changed"]


def test_quarantined_rows_have_identities_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b"same\nsame\nsame\n")
    hashes = {row["content_hash"] for row in read(path)}
    other = {row["content_hash"] for row in read_file(SourceFile("file-2", str(path), "jsonl"), "documents")}
    assert len(hashes) == len(other) == 3 and not hashes & other
