"""The whole job over input nobody cleaned: every planted fault is named, no record is lost, the rest goes through."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.tables import Tables
from tests.equality import tables_at
from tests.fake_server.client import FakeServer
from tests.faults.corpus import DOCUMENTS, WORDS, teacher, write_corpus
from tests.jobs.test_bad_input import HOSTILE
from tests.roots import prose, write_conversations, write_documents
from tests.small_corpus import synthesize
from udfs.readers.streams import MAX_LINE_BYTES

pytestmark = [pytest.mark.spark, pytest.mark.faults]

BAD_LINES = (
    ("bad_json", b'{"text": "cut off'),
    ("no_text", b'{"meta": {}}'),
    ("not_utf8", b'{"text": "\xff\xfe"}'),
    ("not_utf8", b'{"text": "half \\ud800 of a pair"}'),
    ("nul_bytes", '{"text": "two bytes each"}'.encode("utf-16-le")),
    ("too_large_line", b'{"text": "' + b"y" * 50_000_000 + b'"}'),
)
BEFORE_BLANKS = 3  # of the bad lines; the others stand behind the blank ones
BLANK_LINES = 100_000
TORN = 400  # records of a file of which the end is missing


def plant(folder: Path) -> dict[str, str]:
    """Add to both sides of a small corpus what a crawl brings; the reason for which each file is to be named."""
    talk = [[f"{text} {prose('rice', 8)}", f"In short. {text[:200]}"] for text in HOSTILE.values()]
    write_conversations(folder / "talk-hostile.jsonl", talk)
    write_documents(folder / "docs-hostile.jsonl", [f"{text} {prose('amber', 8)}" for text in HOSTILE.values()])
    bad = [line for _, line in BAD_LINES]
    named: dict[str, str] = {}
    for side in ("talk", "docs"):
        (folder / f"{side}-again.jsonl").write_bytes((folder / f"{side}.jsonl").read_bytes())
        dirty = b"\n".join([*bad[:BEFORE_BLANKS], b"\n" * (BLANK_LINES - 1), *bad[BEFORE_BLANKS:]])
        (folder / f"{side}-bad.jsonl").write_bytes(dirty)
        for kind, pack in (("gz", gzip.compress), ("zst", squeezed)):  # texts of their own: one text is one record
            packed = pack(b"".join(short_record(side, prose(f"{kind} torn {n}", 2)) for n in range(TORN)))
            (folder / f"{side}-torn.jsonl.{kind}").write_bytes(packed[: len(packed) * 3 // 4])
        pq.write_table(pa.table({"text": ["a", "b"]}), folder / f"{side}-footer.parquet")
        whole = (folder / f"{side}-footer.parquet").read_bytes()
        (folder / f"{side}-footer.parquet").write_bytes(whole[:-6])
        (folder / f"{side}-nothing.jsonl").touch()
        (folder / f"{side}-folder.jsonl").mkdir()
        named |= {
            f"{side}-bad.jsonl": "file:blank_lines",
            f"{side}-torn.jsonl.gz": "file:torn",
            f"{side}-torn.jsonl.zst": "file:torn",
            f"{side}-footer.parquet": "file:torn",
            f"{side}-nothing.jsonl": "file:empty",
            f"{side}-folder.jsonl": "file:not_a_file",
        }
    return named


def short_record(side: str, text: str) -> bytes:
    """A line of one side's shape."""
    said = [{"from": "human", "value": text}, {"from": "gpt", "value": "So."}]
    return json.dumps({"text": text} if side == "docs" else {"conversations": said}).encode() + b"\n"


def squeezed(data: bytes) -> bytes:
    """In blocks that can be read one by one, as of a file that is written for hours."""
    packer = zstandard.ZstdCompressor().compressobj()
    step = len(data) // 20 + 1
    parts = [data[start : start + step] for start in range(0, len(data), step)]
    return b"".join(packer.compress(part) + packer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) for part in parts)


@pytest.mark.timeout(1800)
def test_a_crawl_goes_through_and_every_fault_is_told(spark: SparkSession, tmp_path: Path) -> None:
    assert max(len(line) for _, line in BAD_LINES) > MAX_LINE_BYTES
    folder, root = tmp_path / "in", tmp_path / "root"
    given = [setting for setting in write_corpus(folder) if not setting.startswith("inputs.")]
    named = plant(folder)
    given += ["types.k=1"]  # what the fake server calls them does not go with the types of hostile text
    given += ["targets={single: 9, multi: 2}"]  # most of the long documents, so that hostile ones have their turn
    given += [f"inputs.conversations=['{folder}/talk*']", f"inputs.documents=['{folder}/docs*']"]
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given += teacher(server.base_url)
        status, summary = synthesize(spark, root, given)
        again, nothing = synthesize(spark, root, given)
    assert status == 0, summary
    assert again == 0 and sum(stage["calls"] + stage["out"] for stage in nothing["stages"]) == 0, nothing
    for file, reason in named.items():
        told = [line for line in summary["warnings"] if f"/{file}: " in line]
        assert any(reason in line for line in told), (file, summary["warnings"])
    for name, target in summary["targets"].items():
        assert target["accepted"] == target["asked"], (name, summary["warnings"])
    for stage in summary["stages"]:
        assert stage["in"] == stage["kept"] + stage["rejected"] + stage["deferred"], stage

    tables = tables_at(spark, root)
    for side, table in (("talk", "conversations"), ("docs", "documents")):
        require_faults(tables.read(table), side)
    require_once(tables)
    hostile = tables.read("conversations").where("path LIKE '%talk-hostile.jsonl'").select("id", "user_text")
    assert hostile.count() == len(HOSTILE)
    asked = tables.read("meta_records").join(hostile.selectExpr("id AS conversation"), "conversation", "left_semi")
    assert asked.count() == len(HOSTILE), "each of them went to the teacher, and what came back is told"
    require_places(tables)


def require_faults(table: DataFrame, side: str) -> None:
    """What was planted on one side stands there with its line and its reason, and what was good was kept."""
    file = F.regexp_extract("path", "[^/]*$", 0).alias("file")
    read = table.select(file, "position", "reject_reason").collect()
    expected = [(-1, "file:blank_lines")]
    for number, (reason, _) in enumerate(BAD_LINES):
        of_talk = "bad_turns" if reason == "no_text" else reason
        place = number + (BLANK_LINES if number >= BEFORE_BLANKS else 0)
        expected.append((place, of_talk if side == "talk" else reason))
    dirty = [(row["position"], row["reject_reason"]) for row in read if row["file"] == f"{side}-bad.jsonl"]
    assert sorted(dirty) == sorted(expected)
    reasons = Counter((row["file"], row["reject_reason"]) for row in read)
    assert reasons[f"{side}-hostile.jsonl", None] == len(HOSTILE)
    for name in (f"{side}-torn.jsonl.gz", f"{side}-torn.jsonl.zst"):
        assert 100 < reasons[name, None] < TORN, "what stands before the tear is kept"
    once = reasons[f"{side}.jsonl", None] + reasons[f"{side}-again.jsonl", None]
    assert once == {"talk": len(WORDS), "docs": DOCUMENTS}[side], "a copy brings no record of its own"


def require_once(tables: Tables) -> None:
    """A file under two names counts once all the way down: in the seed paths, in the graph, in the samples."""
    paths = tables.kept("seed_paths").collect()
    assert len({(row["setting"], row["conversation"]) for row in paths}) == len(paths)
    held = Counter(node["node"] for row in paths for node in row["nodes"])
    counted = tables.read("nodes").groupBy("node").agg(F.sum("count").alias("n")).where("n <> 0").collect()
    assert {row["node"]: row["n"] for row in counted} == held
    samples = [(row["instruction"], row["context"]) for row in tables.kept("samples").collect()]
    assert len(set(samples)) == len(samples)


def require_places(tables: Tables) -> None:
    """Every document of a sample stands in its context where the row says, every exact span is what was quoted."""
    texts = {row["id"]: row["text"] for row in tables.kept("documents").select("id", "text").collect()}
    spans = hostile = 0
    for row in tables.kept("samples").collect():
        for part in row["documents"]:
            assert row["context"][part["start"] : part["end"]] == texts[part["doc_id"]]
            hostile += any(texts[part["doc_id"]].startswith(text[:40]) for text in HOSTILE.values())
        for span in row["evidence"]:
            quoted = texts[span["doc_id"]][span["start"] : span["end"]]
            assert quoted and (not span["exact"] or quoted in row["response"]), (quoted, row["response"])
            spans += span["exact"]
    assert spans and hostile, "no exact span, or no hostile document in any sample: the test proves less than it says"
