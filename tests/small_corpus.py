"""A part of the demonstration corpus, small enough for a whole run in a test, and the settings that fit it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from pyspark.sql import SparkSession

from jobs.runtime.demo_corpus import build_demo_corpus
from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES

SHARE = 0.7
# Selects by score: with these the stage influence runs, on the end of each context, by the embedded pair; now and then
# request and answer leave no room for a context.
SCORING = (f"selection={{by: influence, top_share: {SHARE}}}", "influence={max_tokens: 512, device: cpu}")


@dataclass(frozen=True)
class SmallCorpus:
    """Records of the corpus, to be laid into files as a test wants them."""

    conversations: pa.Table
    documents: list[bytes]  # JSON lines

    def write_conversations(self, path: Path, start: int = 0, stop: int | None = None) -> Path:
        rows = range(self.conversations.num_rows)[start:stop]
        pq.write_table(self.conversations.slice(rows.start, len(rows)), path)
        return path

    def write_documents(self, path: Path, start: int = 0, stop: int | None = None) -> Path:
        path.write_bytes(zstandard.ZstdCompressor().compress(b"".join(self.documents[start:stop])))
        return path


def small_corpus(folder: Path) -> SmallCorpus:
    """Every fifth conversation and every second document."""
    whole = build_demo_corpus(str(folder), seed=3)
    table = pq.read_table(whole.conversations)
    lines = zstandard.ZstdDecompressor().stream_reader(Path(whole.documents).read_bytes()).read().splitlines(True)
    return SmallCorpus(table.take(list(range(0, table.num_rows, 5))), lines[::2])


def fitting(folder: Path, *more: str) -> list[str]:
    """Overrides for a run over `conversations-*.parquet` and `documents-*.jsonl.zst` of a folder."""
    return [
        f"inputs.conversations=['{folder}/conversations-*.parquet']",
        f"inputs.documents=['{folder}/documents-*.jsonl.zst']",
        "types.k=4",
        "targets={single: 6, multi: 3}",
        "classifier.trees=40",
        "embedder={chunks: 2, chunk_tokens: 64}",
        *more,
    ]


def synthesize(
    spark: SparkSession, root: Path, given: Sequence[str], **choices: Any
) -> tuple[int, dict[str, Any]]:  # fmt: skip
    """Run the job in this process; its exit status and its summary."""
    summary = root.parent / f"{root.name}.json"
    settings = load_settings(None, given, str(root))
    status = Synthesis(spark, settings, STAGES, Choices(summary=str(summary), **choices)).run()
    return status, json.loads(summary.read_text(encoding="utf-8"))
