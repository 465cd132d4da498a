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
from pyspark.sql import SparkSession

from jobs.runtime.tables import Tables
from tests.equality import tables_at
from tests.fake_server.client import FakeServer
from tests.faults.corpus import teacher, write_corpus
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
BLANK_LINES = 100_000
TORN = 400  # records of a file of which the end is missing


def plant(folder: Path) -> dict[str, str]:
    """Add to a small corpus what a crawl brings; the reason for which each file is to be named."""
    talk = [[f"{text} {prose('rice', 8)}", f"In short. {text[:200]}"] for text in HOSTILE.values()]
    write_conversations(folder / "talk-hostile.jsonl", talk)
    write_documents(folder / "docs-hostile.jsonl", [f"{text} {prose('amber', 8)}" for text in HOSTILE.values()])
    (folder / "docs-bad.jsonl").write_bytes(b"\n".join(line for _, line in BAD_LINES) + b"\n" * BLANK_LINES)
    for kind, pack in (("gz", gzip.compress), ("zst", squeezed)):  # texts of their own: one text is one record
        lines = (json.dumps({"text": prose(f"{kind} torn {n}", 2)}).encode() + b"\n" for n in range(TORN))
        packed = pack(b"".join(lines))
        (folder / f"docs-torn.jsonl.{kind}").write_bytes(packed[: len(packed) * 3 // 4])
    pq.write_table(pa.table({"text": ["a", "b"]}), folder / "docs-footer.parquet")
    whole = (folder / "docs-footer.parquet").read_bytes()
    (folder / "docs-footer.parquet").write_bytes(whole[:-6])
    (folder / "docs-nothing.jsonl").touch()
    (folder / "docs-folder.jsonl").mkdir()
    return {
        "docs-bad.jsonl": "file:blank_lines",
        "docs-torn.jsonl.gz": "file:torn",
        "docs-torn.jsonl.zst": "file:torn",
        "docs-footer.parquet": "file:torn",
        "docs-nothing.jsonl": "file:empty",
        "docs-folder.jsonl": "file:not_a_file",
    }


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
    read = tables.read("documents").selectExpr("regexp_extract(path, '[^/]*$', 0) AS file", "reject_reason").collect()
    reasons = Counter((row["file"], row["reject_reason"]) for row in read)
    planted = Counter([*(reason for reason, _ in BAD_LINES), "file:blank_lines"])
    assert {reason: n for (file, reason), n in reasons.items() if file == "docs-bad.jsonl"} == planted
    assert reasons["docs-hostile.jsonl", None] == len(HOSTILE)
    for file in ("docs-torn.jsonl.gz", "docs-torn.jsonl.zst"):
        assert 100 < reasons[file, None] < TORN, "what stands before the tear is kept"
    hostile = tables.read("conversations").where("path LIKE '%talk-hostile.jsonl'").select("id", "user_text")
    assert hostile.count() == len(HOSTILE)
    asked = tables.read("meta_records").join(hostile.selectExpr("id AS conversation"), "conversation", "left_semi")
    assert asked.count() == len(HOSTILE), "each of them went to the teacher, and what came back is told"
    require_places(tables)


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
