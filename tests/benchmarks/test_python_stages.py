"""Every Python function of the job inside Spark against itself in a bare loop: what the way through Spark costs.

Throughput is megabytes per CPU second, the JVM's and the workers' seconds added up, so a busy machine changes little.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from tests.benchmarks.processes import spark_cpu
from tests.benchmarks.synthetic import stream
from tests.benchmarks.timing import say, size_mb
from udfs.assemble import ASSEMBLED_DDL, assemble
from udfs.language import detect, language
from udfs.minhash import signature, signature_matrix
from udfs.models.embedder import embed, embed_texts
from udfs.models.forest import classify, predict, train_forest
from udfs.readers import CONVERSATION_FIELDS, DOCUMENT_FIELDS, read_files
from udfs.settings import ClassifierSettings, EmbedderSettings, EvidenceSettings, MinhashSettings, TokenizerSettings
from udfs.text import sentences
from udfs.tokens import count_tokens, token_count

BATCH = 500  # rows, as infra/spark-defaults.conf sets it
FILES = 8
TOKENS, MINHASH, EVIDENCE = TokenizerSettings(), MinhashSettings(), EvidenceSettings()
EMBEDDER = EmbedderSettings(device="cpu", chunks=2, chunk_tokens=128)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]


@dataclass(frozen=True)
class Case:
    """One Python stage: its plan in Spark and its function in a loop, both down to one number that must be equal."""

    share: float  # of the benchmark's megabytes; slow functions take less, so that each runs for minutes, not hours
    write: Callable[[Path, float], float]  # makes the input below a folder, returns its megabytes
    frame: Callable[[DataFrame], DataFrame]  # one row, one number
    loop: Callable[[pa.RecordBatch], float]  # the same number of one batch; they are summed


def write_texts(folder: Path, megabytes: float) -> float:
    """Documents as parquet."""
    return write_rows(folder, ({"text": text} for text in stream(megabytes, seed=7)))


def write_rows(folder: Path, rows: Iterator[dict[str, Any]]) -> float:
    """Rows dealt out to parquet files."""
    folder.mkdir(parents=True)
    writers: list[pq.ParquetWriter] = []
    size, number, batch = 0, 0, list[dict[str, Any]]()

    def flush() -> None:
        nonlocal number
        table = pa.Table.from_pylist(batch)
        if len(writers) <= number % FILES:
            writers.append(pq.ParquetWriter(folder / f"{number % FILES}.parquet", table.schema))
        writers[number % FILES].write_table(table)
        number += 1
        batch.clear()

    for row in rows:
        size += sum(len(value) if isinstance(value, str) else 4 * len(value) for value in row.values() if value)
        batch.append(row)
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    for writer in writers:
        writer.close()
    return size / 1e6


def write_files(kind: str) -> Callable[[Path, float], float]:
    """Files as sources have them (.jsonl.zst), and the table that lists them."""

    def write(folder: Path, megabytes: float) -> float:
        raw = folder.parent / f"{folder.name}-raw"
        raw.mkdir(parents=True)
        paths = [raw / f"{part}.jsonl.zst" for part in range(FILES)]
        size = 0
        for part, path in enumerate(paths):
            with zstandard.open(path, "wb") as out:
                for text in stream(megabytes / FILES, seed=100 + part):
                    line = orjson.dumps(record(kind, text)) + b"\n"
                    size += len(line)
                    out.write(line)
        listed = ({"id": path.name, "path": str(path), "format": "jsonl.zst"} for path in paths)
        folder.mkdir()
        for part, row in enumerate(listed):
            pq.write_table(pa.Table.from_pylist([row]), folder / f"{part}.parquet")
        return size / 1e6

    return write


def record(kind: str, text: str) -> dict[str, Any]:
    """SlimPajama's and ShareGPT's shapes."""
    if kind == "documents":
        return {"text": text, "meta": {"redpajama_set_name": "RedPajamaC4"}}
    half = len(text) // 2
    return {"conversations": [{"from": "human", "value": text[:half]}, {"from": "gpt", "value": text[half:]}]}


def write_replies(folder: Path, megabytes: float) -> float:
    """Replies that quote four sentences of their document, one of them with other spacing."""

    def rows() -> Iterator[dict[str, Any]]:
        for number, text in enumerate(stream(megabytes, seed=9)):
            spans = sentences(text)[:: max(len(sentences(text)) // 4, 1)][:4]
            quotes = [text[start:end] for start, end in spans]
            told = [{"document": 1, "text": "  ".join(q.split()) if n else q} for n, q in enumerate(quotes)]
            reply = {"answerable": True, "instruction": "Say it.", "response": " ".join(quotes), "quotes": told}
            held = {"documents": [{"doc_id": "d", "text": text}]}
            yield {"input_id": str(number), "reason": "", "text": json.dumps(reply), "variables": json.dumps(held)}

    return write_rows(folder, rows())


def write_vectors(folder: Path, megabytes: float) -> float:
    """Unit vectors of 384 numbers."""
    rng = np.random.default_rng(3)
    return write_rows(folder, ({"vector": unit(rng)} for _ in range(max(int(megabytes * 1e6 / 1536), 1_000))))


def unit(rng: np.random.Generator) -> list[float]:
    vector = rng.normal(size=384)
    return list(map(float, np.round(vector / np.linalg.norm(vector), 5)))


def forest() -> bytes:
    """A forest of the default size, fitted on noise: its speed does not depend on what it learned."""
    rng = np.random.default_rng(4)
    vectors = np.array([unit(rng) for _ in range(2_000)], dtype=np.float32)
    labels = [f"type {n}" for n in rng.integers(0, 10, 2_000)]
    return train_forest([str(n) for n in range(2_000)], vectors, labels, ClassifierSettings()).model


def read_case(kind: str, fields: str, text: str) -> Case:
    reader: Any = read_files(kind)
    return Case(
        1.0,
        write_files(kind),
        lambda files: files.mapInArrow(reader, fields).agg(F.sum(F.length(text)).cast("double").alias("n")),
        lambda batch: float(sum(sum(map(len, out[text].to_pylist())) for out in reader(iter([batch])))),
    )


def text_case(share: float, column: Callable[[], Any], loop: Callable[[list[str]], float]) -> Case:
    return Case(
        share,
        write_texts,
        lambda rows: rows.select(column().alias("v")).agg(F.sum("v").cast("double").alias("n")),
        lambda batch: loop(batch["text"].to_pylist()),
    )


def assembled(batch: pa.RecordBatch) -> float:
    frame = batch.to_pandas().assign(reason=None)
    return float(sum(out["grounded_share"].fillna(0.0).sum() for out in assemble(EVIDENCE, TOKENS)(iter([frame]))))


def assembling(rows: DataFrame) -> DataFrame:
    function: Any = assemble(EVIDENCE, TOKENS)
    asked = rows.withColumn("reason", F.lit(None).cast("string"))
    return asked.mapInPandas(function, ASSEMBLED_DDL).agg(F.sum("grounded_share").alias("n"))


def forest_case() -> Case:
    model = forest()
    return Case(
        0.25,
        write_vectors,
        lambda rows: rows.agg(F.sum(classify(model)("vector")["probability"].cast("double")).alias("n")),
        lambda batch: float(predict(model, np.array(batch["vector"].to_pylist(), np.float32))[1].astype(float).sum()),
    )


def first_minima(texts: list[str]) -> float:
    return float(signature_matrix(texts, MINHASH)[0][:, 0].astype(np.int64).sum())


def first_components(texts: list[str]) -> float:
    return float(embed_texts(texts, EMBEDDER, True)[:, 0].astype(np.float64).sum())


CASES: dict[str, Callable[[], Case]] = {
    "documents reader": lambda: read_case("documents", DOCUMENT_FIELDS, "text"),
    "conversations reader": lambda: read_case("conversations", CONVERSATION_FIELDS, "user_text"),
    "token filter": lambda: text_case(
        1.0, lambda: token_count(TOKENS)("text"), lambda texts: float(sum(count_tokens(texts, TOKENS)))
    ),
    "MinHash signature": lambda: text_case(1.0, lambda: signature(MINHASH)("text")[0], first_minima),
    "language": lambda: text_case(
        0.5, lambda: F.length(language()("text")), lambda texts: float(sum(map(len, detect(texts))))
    ),
    "evidence and assembly": lambda: Case(0.25, write_replies, assembling, assembled),
    "forest": forest_case,
    "embedding": lambda: text_case(0.004, lambda: embed(EMBEDDER, True)("text")[0].cast("double"), first_components),
}


@pytest.mark.parametrize("name", list(CASES))
def test_stage_keeps_its_speed_in_spark(name: str, spark: SparkSession, tmp_path: Path) -> None:
    case = CASES[name]()
    megabytes = case.write(tmp_path / "data", size_mb(1_000) * case.share)
    warm_mb = case.write(tmp_path / "warm", min(megabytes / 10, 4.0))
    rows, first = (spark.read.parquet(str(tmp_path / folder)) for folder in ("data", "warm"))
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH))
    started = time.perf_counter()
    case.frame(first).collect()  # workers start, engines and models load
    cold = time.perf_counter() - started
    looped(case, tmp_path / "warm")
    started = time.perf_counter()
    (row,) = case.frame(rows).collect()
    wall = time.perf_counter() - started
    cpu = spark_cpu()
    (one,) = case.frame(rows.coalesce(1)).collect()  # like the loop: two tasks may share a core's units
    inside = spark_cpu() - cpu
    cpu = time.process_time()
    alone = looped(case, tmp_path / "data")
    bare = time.process_time() - cpu
    assert row["n"] == pytest.approx(alone, rel=1e-6) and one["n"] == pytest.approx(alone, rel=1e-6)
    say(
        "Python stage",
        f"{name}, {megabytes:,.0f} MB: in Spark {megabytes / inside:.1f} MB per CPU second (JVM and worker, one task), "
        f"bare loop {megabytes / bare:.1f} ({bare / inside:.2f}x, reach 0.65x); "
        f"{megabytes / wall:.1f} MB/s on two cores warm, first {warm_mb:.1f} MB cold in {cold:.1f} s; same result",
    )


def looped(case: Case, folder: Path) -> float:
    """The bare function over the same batches."""
    total = 0.0
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(BATCH, use_threads=False):
            total += case.loop(batch)
    return total
