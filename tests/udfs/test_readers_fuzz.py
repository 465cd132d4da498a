"""However bad the records are, each comes out once, good or with a reason, whatever the Arrow batches."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from udfs.readers import (
    CONVERSATION_FIELDS,
    DOCUMENT_FIELDS,
    SCHEMAS,
    SourceFile,
    list_inputs,
    read_file,
    read_files,
)

KEYS = ("text", "meta", "conversation", "conversations", "messages", "id", "language", "toxic", "license")
VALUES = (
    None,
    True,
    0,
    -1.5,
    2**70,
    "",
    " ",
    "x",
    "é\0",
    "日本",
    [],
    {},
    [None],
    {"role": "user"},
    "\u2028",
    "</s>{{x}}",
)
TURN_KEYS = ("role", "content", "from", "value")


def bad_line(rng: random.Random) -> bytes:
    """A record that is wrong in some way, or by luck in none."""
    record: Any = {rng.choice(KEYS): rng.choice(VALUES) for _ in range(rng.randrange(5))}
    if rng.random() < 0.4:
        turns = [{rng.choice(TURN_KEYS): rng.choice(VALUES) for _ in range(3)} for _ in range(rng.randrange(3))]
        record[rng.choice(KEYS)] = turns
    if rng.random() < 0.2:
        turns = [{"role": "user", "content": "why?"}, {"from": "gpt", "value": rng.choice(("", None, "so."))}]
        record = {**record, "text": "a text", "conversation": turns}
    elif rng.random() < 0.1:
        record = rng.choice(VALUES)
    line = bytearray(str_json(record))
    for _ in range(rng.choice((0, 0, 1, 3))):
        at = rng.randrange(len(line) + 1)
        line[at : at + rng.randrange(3)] = bytes(rng.randrange(256) for _ in range(rng.randrange(3)))
    if rng.random() < 0.1:
        line = line[: rng.randrange(len(line) + 1)]
    return bytes(line).replace(b"\n", b"") or b"?"


def str_json(record: Any) -> bytes:
    return json.dumps(record, ensure_ascii=random.Random(str(record)).random() < 0.5).encode()


def rows_of(path: Path, kind: str, file_format: str) -> list[dict[str, Any]]:
    return list(read_file(SourceFile("f", str(path), file_format), kind))


@pytest.mark.parametrize("kind", ["documents", "conversations"])
def test_twelve_thousand_bad_records_are_all_accounted_for(tmp_path: Path, kind: str) -> None:
    rng = random.Random(20_240_607)
    lines = [line for line in (bad_line(rng) for _ in range(12_000)) if not line.isspace()]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(b"\n".join(lines)))
    rows = rows_of(tmp_path / "a.jsonl", kind, "jsonl")
    assert [row["position"] for row in rows] == list(range(len(lines)))
    reasons = Counter(row.get("reject_reason") for row in rows)
    assert len(reasons) >= 6 and reasons[None] > 500
    packed = rows_of(tmp_path / "a.jsonl.zst", kind, "jsonl.zst")
    assert [row["content_hash"] for row in packed] == [row["content_hash"] for row in rows]
    table = pa.Table.from_batches(run(kind, [("f", tmp_path / "a.jsonl", "jsonl")], 1))
    table.validate(full=True)
    assert table.num_rows == len(lines)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, *TURN_KEYS]), inner, max_size=4)
    ),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(json_like | st.binary(max_size=40), min_size=1, max_size=20),
    st.sampled_from(["documents", "conversations"]),
)
def test_any_records_are_accounted_for(tmp_path: Path, records: list[Any], kind: str) -> None:
    lines = [encoded(record).replace(b"\n", b" ") for record in records]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows = [row for row in rows_of(tmp_path / "a.jsonl", kind, "jsonl") if row["position"] >= 0]
    expected = [index for index, line in enumerate(lines) if line.removeprefix(b"\xef\xbb\xbf").strip()]
    assert [row["position"] for row in rows] == expected
    for row in rows:
        assert set(row) <= set(SCHEMAS[kind].names)
        assert len(row["content_hash"]) == 64
        good = row.get("reject_reason") is None
        assert good == bool(row.get("text") or row.get("turns"))


@pytest.mark.faults
def test_ten_thousand_bad_records_that_hypothesis_made_in_one_go(tmp_path: Path) -> None:
    """Collected example by example, then read as one file of each kind; ten thousand of each are bad."""
    made: list[bytes] = []

    @settings(max_examples=2_500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(json_like | st.binary(max_size=40), min_size=4, max_size=8))
    def collect(records: list[Any]) -> None:
        made.extend(encoded(record).replace(b"\n", b" ") for record in records)

    collect()
    lines = [line for line in made if line.removeprefix(b"\xef\xbb\xbf").strip()]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    for kind in ("documents", "conversations"):
        table = pa.Table.from_batches(run(kind, [("f", tmp_path / "a.jsonl", "jsonl")], 1))
        table.validate(full=True)
        rows = table.to_pylist()
        assert [row["position"] for row in rows] == list(range(len(lines)))
        for row in rows:
            good = row["reject_reason"] is None
            assert good == bool(row.get("text") or row.get("turns"))
        assert sum(row["reject_reason"] is not None for row in rows) >= 10_000


def encoded(record: Any) -> bytes:
    return record if isinstance(record, bytes) else json.dumps(record).encode()


def run(kind: str, files: list[tuple[str, Path, str]], batch_rows: int) -> list[pa.RecordBatch]:
    rows = [{"id": name, "path": str(path), "format": form, "kind": kind, "size": None} for name, path, form in files]

    def batches() -> Iterator[pa.RecordBatch]:
        for at in range(0, len(rows), batch_rows):
            yield pa.RecordBatch.from_pylist(rows[at : at + batch_rows])

    return list(read_files(kind)(batches()))


def some_files(root: Path) -> list[tuple[str, Path, str]]:
    rng = random.Random(5)
    files = []
    for number in range(7):
        lines = [orjson.dumps({"text": "word " * rng.randrange(1, 500)}) for _ in range(rng.randrange(1, 700))]
        lines += [bad_line(rng) for _ in range(20)]
        rng.shuffle(lines)
        path = root / f"{number}.jsonl"
        path.write_bytes(b"\n".join(lines))
        files.append((str(number), path, "jsonl"))
    (root / "empty.txt").touch()
    return [*files, ("8", root / "empty.txt", "text")]


def test_rows_do_not_depend_on_arrow_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = some_files(tmp_path)
    expected = pa.Table.from_batches(run("documents", files, 100)).to_pylist()
    assert expected[-1]["reject_reason"] == "file:empty"
    for batch_rows in (1, 3):
        assert pa.Table.from_batches(run("documents", files, batch_rows)).to_pylist() == expected
    monkeypatch.setattr("udfs.readers.schemas.MAX_BATCH_ROWS", 17)
    monkeypatch.setattr("udfs.readers.streams.READ_BYTES", 1_000)
    batches = run("documents", files, 2)
    assert max(batch.num_rows for batch in batches) == 17
    assert pa.Table.from_batches(batches).to_pylist() == expected


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(orjson.dumps({"text": "x" * 3_000_000}) for _ in range(20)))
    batches = run("documents", [("f", path, "jsonl")], 1)
    assert max(batch.nbytes for batch in batches) < 17 * 1024 * 1024
    assert sum(batch.num_rows for batch in batches) == 20


@pytest.mark.spark
def test_the_reader_runs_on_executors(spark: SparkSession, tmp_path: Path) -> None:
    some_files(tmp_path)
    turns = [{"role": "user", "content": "hello"}, {"role": "assistant", "content": "good day"}]
    (tmp_path / "chats.jsonl").write_bytes(
        orjson.dumps({"conversation_id": "a", "conversation": turns, "toxic": False})
    )
    listed = list_inputs([str(tmp_path)], "documents")
    rows = [(file.path, file.path, file.format) for file in listed]
    files = spark.createDataFrame(rows, "id string, path string, format string").repartition(3)
    found = files.mapInArrow(read_files("documents"), DOCUMENT_FIELDS).orderBy("path", "position").toArrow()
    alone = [row for file in listed for row in read_file(SourceFile(file.path, file.path, file.format), "documents")]
    expected = [{name: row.get(name) for name in SCHEMAS["documents"].names} for row in alone]
    assert found.to_pylist() == sorted(expected, key=lambda row: (row["path"], row["position"]))
    chats = spark.createDataFrame(
        [("c", str(tmp_path / "chats.jsonl"), "jsonl")], "id string, path string, format string"
    )
    row = chats.mapInArrow(read_files("conversations"), CONVERSATION_FIELDS).first()
    assert (
        row is not None and row["turns"][1]["content"] == "good day" and row["toxic"] is False and row["n_turns"] == 1
    )
