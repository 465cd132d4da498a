"""Globs, folders and files become a list, and everything wrong with them is said at once."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from udfs.readers import (
    InputFaults,
    SourceFile,
    UnreadableInput,
    detect_format,
    formats,
    hash_file,
    list_inputs,
    read_file,
    reading,
)
from udfs.readers.listing import Stamp


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("{}")


def names(root: Path, *entries: str, kind: str = "documents") -> list[str]:
    return [
        str(Path(file.path).relative_to(root)) for file in list_inputs([str(root / entry) for entry in entries], kind)
    ]


def test_a_folder_gives_its_readable_files_sorted(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/z.txt",
        "b/a.md",
        "a.jsonl",
        "picture.png",
        "_SUCCESS",
        ".hidden.txt",
        "_tmp/x.jsonl",
        "b/.x.txt.crc",
    )
    assert names(tmp_path, "") == ["a.jsonl", "b/a.md", "b/z.txt"]
    with pytest.raises(InputFaults, match="holds no file"):
        names(tmp_path, "b", kind="conversations")


def test_what_a_folder_holds_of_unknown_endings_is_told_once(tmp_path: Path) -> None:
    """Skipped, unlike the same file under a glob; markers, hidden files and folders are not worth a word."""
    touch(tmp_path, "in/a.jsonl", "in/b.csv", "in/c/d.docx", "in/_SUCCESS", "in/.a.swp", "in/_tmp/x.csv", "in/c/e.txt")
    skipped: list[str] = []
    entries = [f"{tmp_path}/in", f"{tmp_path}/in/c", f"{tmp_path}/i*"]
    found = list_inputs(entries, "documents", skipped=skipped)
    assert [Path(file.path).name for file in found] == ["a.jsonl", "e.txt"]
    assert skipped == [f"{tmp_path}/in/b.csv", f"{tmp_path}/in/c/d.docx"]
    with pytest.raises(InputFaults, match=r"b\.csv cannot be read\. Found: a file of an unknown kind"):
        list_inputs([f"{tmp_path}/in/*"], "documents")
    with pytest.raises(InputFaults, match="holds no file") as caught:
        list_inputs([f"{tmp_path}/in/c"], "conversations")
    assert [fault.code for fault in caught.value.faults] == ["empty_folder"], "what was skipped is no file of it"


def test_files_are_listed_once_with_size_and_format(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl", "b.JSONL.ZST", "c.ndjson.gz", "d[1].md")
    found = list_inputs([str(tmp_path / "*"), str(tmp_path / "a.jsonl"), str(tmp_path / "d[1].md")], "documents")
    assert [file.format for file in found] == ["jsonl", "jsonl.zst", "jsonl.gz", "text"]
    assert [file.size for file in found] == [2, 2, 2, 2]
    assert all(file.mtime_ns > 10**18 and file.kind == "documents" for file in found)


def test_globs_descend_and_pass_over_markers(tmp_path: Path) -> None:
    touch(tmp_path, "x/1.jsonl", "x/y/2.jsonl", "x/_committed.jsonl")
    assert names(tmp_path, "**/*.jsonl") == ["x/1.jsonl", "x/y/2.jsonl"]
    assert names(tmp_path, "x/*") == ["x/1.jsonl", "x/y/2.jsonl"]


def test_folders_called_like_files(tmp_path: Path) -> None:
    touch(tmp_path, "written_by_spark.jsonl/part-0.jsonl", "written_by_spark.jsonl/_SUCCESS")
    (tmp_path / "empty.jsonl").mkdir()
    assert names(tmp_path, "*.jsonl") == ["empty.jsonl", "written_by_spark.jsonl/part-0.jsonl"]
    assert names(tmp_path, "") == ["empty.jsonl", "written_by_spark.jsonl/part-0.jsonl"]


def test_all_faults_at_once(tmp_path: Path) -> None:
    touch(tmp_path, "notes.docx", "LICENSE")
    (tmp_path / "empty").mkdir()
    pq.write_table(pa.table({"body": ["x"], "n": [1]}), tmp_path / "other.parquet")
    entries = ["missing.jsonl", "*.csv", "notes.docx", "LICENSE", "empty", "other.parquet"]
    with pytest.raises(InputFaults) as caught:
        list_inputs([*(str(tmp_path / entry) for entry in entries), "nosuch://bucket/x.jsonl"], "documents")
    codes = [fault.code for fault in caught.value.faults]
    assert codes == [
        "missing",
        "empty_glob",
        "unknown_kind",
        "unknown_kind",
        "empty_folder",
        "unknown_columns",
        "unreachable",
    ]
    text = str(caught.value)
    assert "body string, n int64" in text and "text string" in text and "notes.docx" in text
    assert str(caught.value.faults[0]) == caught.value.faults[0].sentence
    assert copy.copy(caught.value).faults == caught.value.faults  # it travels between processes


def test_torn_and_empty_files_are_no_faults_of_the_settings(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.jsonl.zst", "c.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "gone")
    assert len(names(tmp_path, "*")) == 5


def test_conversation_tables_of_other_columns_name_every_shape(tmp_path: Path) -> None:
    turns = [[{"speaker": "a", "line": "b"}]]
    pq.write_table(pa.table({"conversation": turns, "id": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UnreadableInput) as caught:
        detect_format(str(tmp_path / "a.parquet"), "conversations")
    for word in ("a.parquet", "speaker", "WildChat", "LMSYS-Chat", "ShareGPT", "conversation_hash", "from, value"):
        assert word in str(caught.value)


def test_text_is_no_conversation(tmp_path: Path) -> None:
    touch(tmp_path, "a.md")
    with pytest.raises(UnreadableInput, match="unknown kind"):
        detect_format(str(tmp_path / "a.md"), "conversations")
    with pytest.raises(ValueError, match="pictures"):
        list_inputs([], "pictures")


def test_remote_schemes_keep_their_names() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/bucket/in/a.jsonl", b'{"text": "far away"}\n')
    store.pipe("/bucket/in/b.txt", b"also far")
    found = list_inputs(["memory://bucket/in/*", "memory://bucket/in"], "documents")
    assert [file.path for file in found] == ["memory://bucket/in/a.jsonl", "memory://bucket/in/b.txt"]
    store.pipe("/bucket/in/c.csv", b"a,b\n")
    skipped: list[str] = []
    assert list_inputs(["memory://bucket/in"], "documents", skipped=skipped) == found
    assert skipped == ["memory://bucket/in/c.csv"]
    rows = [row for file in found for row in read_file(SourceFile("f", file.path, file.format), "documents")]
    assert [row["text"] for row in rows] == ["far away", "also far"]
    assert hash_file(found[1].path) == hashlib.sha256(b"also far").hexdigest()
    assert [
        row["reject_reason"] for row in read_file(SourceFile("f", "memory://bucket/no.jsonl", "jsonl"), "documents")
    ] == ["defer:file:missing"]


def test_hashes_are_of_content_and_never_raise(tmp_path: Path) -> None:
    touch(tmp_path, "a.jsonl", "b.jsonl")
    assert (
        hash_file(str(tmp_path / "a.jsonl"))
        == hash_file(str(tmp_path / "b.jsonl"))
        == hashlib.sha256(b"{}").hexdigest()
    )
    assert hash_file(str(tmp_path)) is not None, "a folder stays one"
    assert hash_file(str(tmp_path / "gone")) is None, "a file that is not there may come back"


@pytest.fixture
def far() -> Iterator[tuple[fsspec.AbstractFileSystem, SourceFile]]:
    """A store, and a file in it as it was listed."""
    store = fsspec.filesystem("memory")
    store.pipe("/listed/a.jsonl", b'{"text": "one"}\n{"text": "two"}\n')
    (found,) = list_inputs(["memory://listed/a.jsonl"], "documents")
    content = hash_file(found.path)
    yield store, SourceFile("f", found.path, found.format, found.size, found.mtime_ns, content)
    store.rm("/listed", recursive=True)


def test_a_remote_file_rewritten_after_it_was_listed_is_not_read(
    far: tuple[fsspec.AbstractFileSystem, SourceFile],
) -> None:
    store, file = far
    assert [row.get("reject_reason") for row in read_file(file, "documents")] == [None, None]
    store.pipe("/listed/a.jsonl", b'{"text": "six"}\n{"text": "ten"}\n')  # of the same size
    assert [row["reject_reason"] for row in read_file(file, "documents")] == ["file:changed"]
    store.pipe("/listed/a.jsonl", b'{"text": "one"}\n{"text": "two"}\n')  # touched, not changed
    assert [row.get("reject_reason") for row in read_file(file, "documents")] == [None, None]
    store.rm("/listed/a.jsonl")
    assert [row["reject_reason"] for row in read_file(file, "documents")] == ["defer:file:missing"]
    store.pipe("/listed/a.jsonl", b"")


def test_a_remote_file_rewritten_while_it_is_read_is_named(
    far: tuple[fsspec.AbstractFileSystem, SourceFile],
) -> None:
    store, file = far
    rows = read_file(file, "documents")
    assert next(rows)["text"] == "one"
    store.pipe("/listed/a.jsonl", b'{"text": "six"}\n{"text": "ten"}\n')
    assert [row.get("reject_reason") for row in rows] == [None, "file:changed"]


def test_a_store_that_knows_a_new_content_by_its_tag_alone(
    far: tuple[fsspec.AbstractFileSystem, SourceFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and time are as they were; the tag is not."""
    store, file = far
    info, tags = type(store).info, iter(["1", "2"])
    told = info(store, "/listed/a.jsonl")

    def tagged(self: object, path: str, **_: object) -> dict[str, object]:
        return {**told, "ETag": next(tags)}

    rows = read_file(file, "documents")
    monkeypatch.setattr(type(store), "info", tagged)
    monkeypatch.setattr(reading, "open_bytes", lambda _: io.BytesIO(b'{"text": "one"}\n{"text": "two"}\n'))
    next(rows)
    monkeypatch.setattr(reading, "hash_content", lambda _: "other")
    assert [row.get("reject_reason") for row in rows] == [None, "file:changed"]


def test_times_are_compared_as_far_as_both_are_told() -> None:
    second = 10**9
    assert Stamp(2, 5 * second).stands_as(2, 5 * second + 7), "listed with milliseconds, asked for without"
    assert not Stamp(2, 5 * second + 6).stands_as(2, 5 * second + 7)
    assert not Stamp(2, 6 * second).stands_as(2, 5 * second) and not Stamp(3, 5 * second).stands_as(2, 5 * second)
    assert not Stamp(2, 0).stands_as(2, None), "a content that the file does not have any more"


def test_a_parquet_file_that_was_seen_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"text": [name]}), tmp_path / f"{name}.parquet")
    opened: list[str] = []
    looked = formats.open_bytes
    monkeypatch.setattr(formats, "open_bytes", lambda path: opened.append(Path(path).name) or looked(path))
    found = list_inputs([str(tmp_path)], "documents", lambda file: Path(file.path).name == "a.parquet")
    assert [file.format for file in found] == ["parquet", "parquet"] and opened == ["b.parquet"]
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "c.parquet")
    with pytest.raises(InputFaults, match="body string"):
        list_inputs([str(tmp_path)], "documents", lambda file: Path(file.path).name == "a.parquet")
