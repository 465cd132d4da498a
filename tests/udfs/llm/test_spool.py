"""The spool: what was reported is on the disk, whatever is killed, and nothing torn is read."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.udfs.llm.support import spooled
from udfs.llm import spool as spool_module
from udfs.llm.calls import CALL_DDL, CALL_SCHEMA, CallRow
from udfs.llm.spool import (
    SpoolUnavailable,
    SpoolWriter,
    list_segments,
    read_segment,
    remove_segments,
)


def call(key: str, text: str = "t", **more: Any) -> CallRow:
    """A call row, all other fields plain."""
    fields: Any = dict.fromkeys(CALL_SCHEMA.names)
    fields |= {"key": key, "text": text, "status": "ok", "stage": "s", "seconds": 0.5, **more}
    row: CallRow = fields
    return row


def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    spool = str(tmp_path)
    text = 'line\nbreak "quote" \u2028 🙂 \x00 {{ x }}'
    with SpoolWriter(spool, "meta_records", "run-1", partition=3) as writer:
        wait([writer.append(call("a", text, tokens_in=7)), writer.append(call("b", "", parent_key="a"))])
    (segment,) = list_segments(spool)
    assert segment.partition == 3 and segment.name.startswith("run-1~p00003~")
    first, second = read_segment(segment)
    assert (first["text"], first["tokens_in"], first["error"]) == (text, 7, None)
    assert (second["text"], second["parent_key"]) == ("", "a")
    assert list(first) == CALL_SCHEMA.names
    assert first["id"] != second["id"] and len(str(first["id"])) == 64
    assert read_segment(segment) == [first, second]  # ids do not change from reading to reading


def test_a_resolved_future_means_on_the_disk(tmp_path: Path) -> None:
    with SpoolWriter(str(tmp_path), "s", "r") as writer:
        writer.append(call("a")).result(timeout=10)
        assert [row["key"] for row in spooled(str(tmp_path))] == ["a"]


def test_stages_are_apart_and_an_idle_writer_leaves_no_file(tmp_path: Path) -> None:
    spool = f"file://{tmp_path}"
    for stage in ("one", "two", "idle"):
        with SpoolWriter(spool, stage, "r") as writer:
            if stage != "idle":
                writer.append(call(stage))
    assert [row["key"] for row in spooled(spool, "one")] == ["one"]
    assert len(list_segments(spool)) == 2
    assert list_segments(spool, "idle") == [] == list_segments(f"{spool}/nowhere")


def test_removed_segments_are_gone_and_may_be_removed_twice(tmp_path: Path) -> None:
    with SpoolWriter(str(tmp_path), "s", "r") as writer:
        writer.append(call("a"))
    segments = list_segments(str(tmp_path))
    remove_segments(segments)
    remove_segments(segments)
    assert list_segments(str(tmp_path)) == []


@given(cut=st.integers(0, 400))
@settings(max_examples=50, deadline=None)
def test_a_file_cut_anywhere_gives_its_whole_lines(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("torn")
    with SpoolWriter(str(folder), "s", "r") as writer:
        wait([writer.append(call(f"k{number}", "é" * 20)) for number in range(3)])
    (file,) = (folder / "s").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: min(cut, len(whole))])
    expected = [json.loads(line)["key"] for line in whole[:cut].split(b"\n")[:-1]]
    assert [row["key"] for row in spooled(str(folder))] == expected


def test_a_damaged_line_costs_itself_only(tmp_path: Path) -> None:
    with SpoolWriter(str(tmp_path), "s", "r") as writer:
        wait([writer.append(call(key)) for key in "abc"])
    (file,) = (tmp_path / "s").iterdir()
    lines = file.read_bytes().split(b"\n")
    kept = {row["key"]: row["id"] for row in spooled(str(tmp_path))}
    file.write_bytes(b"\n".join([lines[0], b"\x00\x00garbage", *lines[2:]]))
    assert {row["key"]: row["id"] for row in spooled(str(tmp_path))} == {k: kept[k] for k in "ac"}


def test_killed_writer_keeps_every_row_it_reported(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import itertools, sys
        from udfs.llm.spool import SpoolWriter
        writer = SpoolWriter({str(tmp_path)!r}, "s", "r")
        for number in itertools.count():
            row = {{"key": str(number), "text": "x" * 50_000, "status": "ok"}}
            writer.append(row).result()
            print(number, flush=True)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while int(process.stdout.readline()) < 20:
        pass
    process.send_signal(signal.SIGKILL)
    reported = 20 + len(process.communicate()[0].split())
    found = [int(row["key"]) for row in spooled(str(tmp_path))]
    assert found == list(range(len(found))) and len(found) >= reported + 1


def test_rows_that_wait_are_synced_as_one_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs: list[int] = []
    real = spool_module.os.fsync
    monkeypatch.setattr(spool_module.os, "fsync", lambda file: (syncs.append(file), real(file)))
    with SpoolWriter(str(tmp_path), "s", "r") as writer:
        wait([writer.append(call(str(number))) for number in range(2_000)])
    assert len(spooled(str(tmp_path))) == 2_000
    assert 1 <= len(syncs) < 200


def test_object_stores_get_whole_objects_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module._ObjectSink, "linger", 0.3)
    spool = "memory://bucket/spool"
    with SpoolWriter(spool, "s", "r", partition=1) as writer:
        wait([writer.append(call("a")), writer.append(call("b"))])
        writer.append(call("c")).result(timeout=10)
    segments = list_segments(spool)
    assert [segment.partition for segment in segments] == [1, 1]
    assert [row["key"] for row in spooled(spool)] == ["a", "b", "c"]
    remove_segments(segments)
    assert list_segments(spool) == []


def test_mounted_object_stores_count_as_object_stores() -> None:
    assert not spool_module.open_storage("/Volumes/main/default/spool")[2]
    assert spool_module.open_storage("/data/spool")[2]


def test_rows_that_cannot_be_kept_fail_their_futures(tmp_path: Path) -> None:
    writer = SpoolWriter(str(tmp_path), "s", "r")
    (tmp_path / "s").rmdir()
    (tmp_path / "s").write_text("a file where the folder should be")
    with pytest.raises(SpoolUnavailable, match="cannot be written"):
        writer.append(call("a")).result(timeout=10)
    writer.close()


def test_bad_places_and_names_are_told_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SpoolUnavailable, match="Install the fsspec driver"):
        SpoolWriter("nosuch://bucket/spool", "s", "r")
    with pytest.raises(ValueError, match="cannot be part of a file name"):
        SpoolWriter(str(tmp_path), "s", "run/1")
    assert fsspec.filesystem("file").exists(str(tmp_path))


def test_ddl_names_the_columns_of_the_rows() -> None:
    names = [part.split()[0] for part in CALL_DDL.split(", ")]
    assert names == CALL_SCHEMA.names == list(CallRow.__annotations__)


def test_a_row_given_up_does_not_end_the_writing(tmp_path: Path) -> None:
    """A cancelled call leaves a cancelled future behind; the rows after it must still become durable."""
    with SpoolWriter(str(tmp_path), "stage", "run") as spool:
        given_up = spool.append(call("a"))
        given_up.cancel()
        later = [spool.append(call(name)) for name in ("b", "c")]
        for durable in later:
            durable.result(timeout=10)
    kept = {made["key"] for made in spooled(str(tmp_path))}
    assert {"b", "c"} <= kept
