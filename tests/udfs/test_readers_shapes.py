"""Every release we promise to read, hand-written in its own shape, becomes the same rows."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from udfs.readers import SourceFile, detect_format, read_file, read_files
from udfs.readers.schemas import CONVERSATION_SCHEMA, DOCUMENT_SCHEMA

Rows = list[dict[str, Any]]
TURNS = [("user", "Why is the sky blue?"), ("assistant", "Rayleigh.")]
AS_MESSAGES = [{"role": role, "content": content} for role, content in TURNS]
AS_SHAREGPT = [{"from": "human", "value": TURNS[0][1]}, {"from": "gpt", "value": TURNS[1][1]}]
HASH = hashlib.sha256(orjson.dumps([list(turn) for turn in TURNS])).hexdigest()

WILDCHAT = {
    "conversation_hash": "abc",
    "model": "gpt-4",
    "timestamp": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    "conversation": [
        {**turn, "country": "Nowhere", "hashed_ip": "ff", "header": {"user-agent": "x"}} for turn in AS_MESSAGES
    ],
    "turn": 1,
    "language": "English",
    "openai_moderation": [{"flagged": True, "categories": {"self-harm/intent": False}}],
    "toxic": False,
    "redacted": True,
    "hashed_ip": "ff",
}
WILDCHAT_ORIGINAL = {
    "conversation_id": "def",
    "model": "gpt-3.5",
    "conversation": AS_MESSAGES,
    "turn": 1,
    "language": "English",
}
LMSYS = {
    "conversation_id": "ghi",
    "model": "vicuna-13b",
    "conversation": AS_MESSAGES,
    "turn": 1,
    "language": "unknown",
    "openai_moderation": [{"flagged": False}, {"flagged": True}],
    "redacted": False,
}
SHAREGPT = {"id": "jkl_0", "conversations": AS_SHAREGPT}
# Releases joined in one table: every turn has the keys of all, every record the columns.
JOINED = {
    "id": "mno",
    "messages": [],
    "conversations": [
        {**turn, "role": None, "content": ""} if number else {"from": "", "value": None, **AS_MESSAGES[number]}
        for number, turn in reversed(list(enumerate(AS_SHAREGPT)))
    ][::-1],
}
MESSAGES = {"id": 7, "messages": [{"role": "system", "content": "Be brief."}, *AS_MESSAGES], "license": "cc0"}


def write_parquet(path: Path, records: Rows) -> None:
    pq.write_table(pa.Table.from_pylist(records), path, row_group_size=2)


def write_jsonl(path: Path, records: Rows) -> None:
    path.write_bytes(b"".join(orjson.dumps(record) + b"\n" for record in records))


def write_gz(path: Path, records: Rows) -> None:
    path.write_bytes(gzip.compress(b"\n".join(map(orjson.dumps, records))))


def write_zst(path: Path, records: Rows) -> None:
    path.write_bytes(zstandard.compress(b"\n".join(map(orjson.dumps, records))))


def write_array(path: Path, records: Rows) -> None:
    path.write_text(json.dumps(records, indent=1, default=str))


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "parquet": write_parquet,
    "jsonl": write_jsonl,
    "jsonl.gz": write_gz,
    "jsonl.zst": write_zst,
    "json": write_array,
}


def read(path: Path, kind: str) -> Rows:
    source = SourceFile("file-1", str(path), detect_format(str(path), kind))
    return list(read_file(source, kind))


@pytest.mark.parametrize("ending", sorted(WRITERS))
@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (WILDCHAT, {"conversation_id": "abc", "model": "gpt-4", "language": "en", "toxic": False, "redacted": True}),
        (WILDCHAT_ORIGINAL, {"conversation_id": "def", "model": "gpt-3.5", "language": "en"}),
        (LMSYS, {"conversation_id": "ghi", "language": "und", "toxic": True, "redacted": False}),
        (SHAREGPT, {"conversation_id": "jkl_0", "model": None, "language": None, "toxic": None}),
        (JOINED, {"conversation_id": "mno"}),
    ],
    ids=["wildchat", "wildchat-original", "lmsys", "sharegpt", "joined"],
)
def test_conversation_shapes(tmp_path: Path, ending: str, record: dict[str, Any], expected: dict[str, Any]) -> None:
    path = tmp_path / f"chats.{ending}"
    WRITERS[ending](path, [record, record, record])
    rows = read(path, "conversations")
    assert [row["position"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row.get("reject_reason") is None
        assert row["turns"] == TURNS
        assert (row["user_text"], row["assistant_text"], row["n_turns"]) == (TURNS[0][1], TURNS[1][1], 1)
        assert row["content_hash"] == HASH
        assert {key: row[key] for key in expected} == expected


def test_private_fields_stay_in_the_file(tmp_path: Path) -> None:
    for name, writer in WRITERS.items():
        path = tmp_path / f"chats.{name}"
        writer(path, [WILDCHAT])
        assert "hashed_ip" not in str(read(path, "conversations")) and "Nowhere" not in str(read(path, "conversations"))


def test_meta_says_shape_and_time(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [WILDCHAT])
    (row,) = read(tmp_path / "a.parquet", "conversations")
    assert orjson.loads(row["meta"]) == {"shape": "wildchat", "timestamp": "2024-01-02T03:04:05"}


def test_messages_with_a_system_turn(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [MESSAGES])
    (row,) = read(tmp_path / "a.jsonl", "conversations")
    assert [turn.role for turn in row["turns"]] == ["system", "user", "assistant"]
    assert (row["conversation_id"], row["n_turns"], row["licence"]) == ("7", 1, "cc0")


@pytest.mark.parametrize(
    ("roles", "turns"),
    [("human gpt", 1), ("gpt human", 2), ("gpt human gpt", 2), ("system human gpt", 1), ("system gpt human gpt", 2)],
)
def test_a_piece_that_opens_with_an_answer_is_no_single_turn(tmp_path: Path, roles: str, turns: int) -> None:
    """Releases of ShareGPT cut long conversations: the answer in front belongs to a question that is not there."""
    write_jsonl(
        tmp_path / "a.jsonl", [{"id": "x_1", "conversations": [{"from": r, "value": r} for r in roles.split()]}]
    )
    (row,) = read(tmp_path / "a.jsonl", "conversations")
    assert row.get("reject_reason") is None and row["n_turns"] == turns


@pytest.mark.parametrize("contents", [["Only a question."], ["A question.", None], ["A question.", ""]])
def test_a_missing_reply_is_for_the_filter_not_the_reader(tmp_path: Path, contents: list[str | None]) -> None:
    turns = [{"role": role, "content": text} for role, text in zip(("user", "assistant"), contents, strict=False)]
    write_jsonl(tmp_path / "a.jsonl", [{"conversation_id": "a", "conversation": turns}])
    (row,) = read(tmp_path / "a.jsonl", "conversations")
    assert row.get("reject_reason") is None
    assert row["assistant_text"] == ""


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        ([], "bad_turns"),
        (None, "bad_turns"),
        ("a chat", "bad_turns"),
        ([["user", "hi"]], "bad_turns"),
        ([{"role": "user"}], "bad_turns"),
        ([{"content": "hi"}], "bad_turns"),
        ([{"role": "user", "content": 5}], "bad_turns"),
        ([{"role": "user", "content": "a\0b"}], "nul_bytes"),
        ([{"role": "user", "content": " "}, {"role": "assistant", "content": None}], "no_text"),
    ],
)
def test_conversations_that_are_none(tmp_path: Path, turns: object, reason: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"conversation_id": "a", "conversation": turns}])
    (row,) = read(tmp_path / "a.jsonl", "conversations")
    assert row["reject_reason"] == reason


DOCUMENT = {"text": "A long text. é 日本", "meta": {"redpajama_set_name": "RedPajamaC4"}}


@pytest.mark.parametrize("ending", sorted(WRITERS))
@pytest.mark.parametrize("as_string", [False, True])
def test_slimpajama_with_meta_as_struct_and_as_string(tmp_path: Path, ending: str, as_string: bool) -> None:
    meta = json.dumps(DOCUMENT["meta"]) if as_string else DOCUMENT["meta"]
    WRITERS[ending](tmp_path / f"docs.{ending}", [{**DOCUMENT, "meta": meta}] * 5)
    rows = read(tmp_path / f"docs.{ending}", "documents")
    assert [row["position"] for row in rows] == list(range(5))
    for row in rows:
        assert row["text"] == DOCUMENT["text"]
        assert row["source"] == "RedPajamaC4"
        assert row["content_hash"] == hashlib.sha256(str(DOCUMENT["text"]).encode()).hexdigest()
        assert orjson.loads(row["meta"]) == DOCUMENT["meta"]
        assert row["licence"] is None and row["language"] is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"license": "CC-BY-4.0"}, {"licence": "CC-BY-4.0"}),
        ({"metadata": {"licence": "MIT", "lang": "German"}}, {"licence": "MIT", "language": "de"}),
        (
            {"source": "arxiv", "language": "en", "id": 5},
            {"source": "arxiv", "language": "en", "meta": '{"id":5,"language":"en","source":"arxiv"}'},
        ),
        ({"meta": "not json"}, {"meta": '{"meta":"not json"}'}),
        ({"vector": [0.5] * 30_000}, {"meta": '{"meta_characters":120012}'}),
        ({}, {"source": None, "licence": None, "language": None, "meta": None}),
    ],
)
def test_what_a_document_says_of_itself(tmp_path: Path, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "words", **fields}])
    (row,) = read(tmp_path / "a.jsonl", "documents")
    assert {key: row[key] for key in expected} == expected


def test_text_files_are_one_document_each(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_bytes(b"\xef\xbb\xbf# Title\r\n\r\nWords.\n")
    (row,) = read(tmp_path / "a.md", "documents")
    assert (row["text"], row["position"], row["meta"]) == ("# Title\r\n\r\nWords.\n", 0, None)


def test_jsonl_under_the_name_json(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.json", [SHAREGPT, SHAREGPT])
    assert [row["content_hash"] for row in read(tmp_path / "a.json", "conversations")] == [HASH, HASH]


@pytest.mark.parametrize("writer", ["large", "dictionary", "view"])
def test_other_string_layouts(tmp_path: Path, writer: str) -> None:
    text = pa.array(["one", "two", "one"])
    layouts = {
        "large": pa.large_string(),
        "dictionary": pa.dictionary(pa.int32(), pa.string()),
        "view": pa.string_view(),
    }
    pq.write_table(pa.table({"text": text.cast(layouts[writer])}), tmp_path / "a.parquet")
    assert [row["text"] for row in read(tmp_path / "a.parquet", "documents")] == ["one", "two", "one"]


def test_batches_have_the_declared_schema(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [DOCUMENT, {"no": "text"}])
    write_jsonl(tmp_path / "b.jsonl", [WILDCHAT, {"no": "turns"}])
    for kind, name, schema in (("documents", "a", DOCUMENT_SCHEMA), ("conversations", "b", CONVERSATION_SCHEMA)):
        files = pa.RecordBatch.from_pylist([{"id": "f", "path": str(tmp_path / f"{name}.jsonl"), "format": "jsonl"}])
        (batch,) = read_files(kind)(iter([files]))
        assert batch.schema.equals(schema)
        batch.validate(full=True)
        assert batch.num_rows == 2


def test_frames_of_the_largest_window(tmp_path: Path) -> None:
    """What `zstd --long=31` makes: dumps of forums are packed so."""
    window = zstandard.ZstdCompressionParameters(window_log=31, enable_ldm=True)
    packed = zstandard.ZstdCompressor(compression_params=window).compressobj()  # of a size that is not known before
    data = packed.compress(orjson.dumps(MESSAGES) + b"\n") + packed.flush()
    (tmp_path / "a.jsonl.zst").write_bytes(data)
    assert zstandard.get_frame_parameters(data).window_size == 1 << 31
    (row,) = read(tmp_path / "a.jsonl.zst", "conversations")
    assert row.get("reject_reason") is None and row["conversation_id"] == "7"
