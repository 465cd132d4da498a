"""Python stages that take rows, one batch after the other, against their functions in a bare loop."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from sql.frames import FOUND
from tests.benchmarks.stages import FILES, Case, compare, write_rows
from tests.benchmarks.synthetic import stream
from udfs.assemble import ASSEMBLED_DDL, assemble
from udfs.language import detect, language
from udfs.llm.requests import REQUEST_DDL, build_requests
from udfs.minhash import signature, signature_matrix
from udfs.models.clusters import assign, nearest_centroid
from udfs.models.embedder import embed, embed_texts
from udfs.models.forest import classify, predict, train_forest
from udfs.models.influence.columns import MEASURED_DDL, measure_frames, measured
from udfs.near_duplicates import first_alike
from udfs.readers import CONVERSATION_FIELDS, DOCUMENT_FIELDS, read_files
from udfs.readers.hashing import hash_files
from udfs.settings import (
    ClassifierSettings,
    EmbedderSettings,
    EvidenceSettings,
    InfluenceSettings,
    LlmSettings,
    MinhashSettings,
    TokenizerSettings,
)
from udfs.text import sentences
from udfs.tokens import count_tokens, token_count

TOKENS, MINHASH, EVIDENCE = TokenizerSettings(), MinhashSettings(), EvidenceSettings()
EMBEDDER = EmbedderSettings(device="cpu", chunks=2, chunk_tokens=128)

pytestmark = [pytest.mark.bench, pytest.mark.timeout(7200)]


def write_texts(folder: Path, megabytes: float) -> float:
    """Documents as parquet."""
    return write_rows(folder, ({"text": text} for text in stream(megabytes, seed=7)))


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


def cluster_case() -> Case:
    rng = np.random.default_rng(5)
    centroids = np.array([unit(rng) for _ in range(10)], dtype=np.float32)
    return Case(
        0.5,
        write_vectors,
        lambda rows: rows.agg(F.sum(assign(centroids.tolist())("vector")["cluster"]).cast("double").alias("n")),
        lambda batch: float(nearest_centroid(np.array(batch["vector"].to_pylist(), np.float32), centroids)[0].sum()),
    )


def hash_case() -> Case:
    """Files listed for a run are hashed where they will be read."""

    def hashing(files: DataFrame) -> DataFrame:
        function: Any = hash_files
        made = files.mapInPandas(function, "id string, path string, format string, content_hash string")
        return made.agg(F.sum(digits(F.col("content_hash"))).alias("n"))

    def hashed(batch: pa.RecordBatch) -> float:
        return sum(head(digest) for frame in hash_files(iter([batch.to_pandas()])) for digest in frame["content_hash"])

    return Case(1.0, write_files("documents"), hashing, hashed)


def request_case() -> Case:
    """Prompts of the longest task, a document and what to answer about it, and their keys."""
    building: Any = build_requests("answer", LlmSettings(teacher="offline"))

    def write(folder: Path, megabytes: float) -> float:
        def rows() -> Iterator[dict[str, Any]]:
            for number, text in enumerate(stream(megabytes, seed=11)):
                asked = {"setting": "single", "document_type": "report", "instruction": "Say what it says.", "path": []}
                variables = {**asked, "documents": [{"doc_id": "d", "text": text}]}
                yield {"input_id": str(number), "document": "d", "variables": json.dumps(variables)}

        return write_rows(folder, rows())

    return Case(
        1.0,
        write,
        lambda rows: rows.mapInArrow(building, REQUEST_DDL).agg(F.sum(digits(F.col("key"))).alias("n")),
        lambda batch: sum(head(key) for out in building(iter([batch])) for key in out["key"].to_pylist()),
    )


def digits(hexadecimal: Column) -> Column:
    """A number of a hash's first digits: sums of it are equal where the hashes are."""
    return F.conv(F.substring(hexadecimal, 1, 6), 16, 10).cast("double")


def head(hexadecimal: str) -> float:
    """`digits` of one value."""
    return float(int(hexadecimal[:6], 16))


def influence_case() -> Case:
    """Samples measured by the embedded pair."""
    settings = InfluenceSettings(device="cpu")
    measuring: Any = measured(settings)

    def write(folder: Path, megabytes: float) -> float:
        def rows() -> Iterator[dict[str, Any]]:
            for number, text in enumerate(stream(megabytes, seed=12, median_words=600)):
                yield {"sample": str(number), "context": text, "instruction": "Say it.", "response": text[:200]}

        return write_rows(folder, rows())

    return Case(
        0.001,
        write,
        lambda rows: rows.mapInPandas(measuring, MEASURED_DDL).agg(F.sum("long_log_ppl").alias("n")),
        lambda batch: sum(
            float(frame["long_log_ppl"].sum()) for frame in measure_frames(iter([batch.to_pandas()]), settings)
        ),
    )


def band_case() -> Case:
    """Members of bands, some of them alike, are searched for the first one that is."""
    searching: Any = first_alike(MINHASH)

    def write(folder: Path, megabytes: float) -> float:
        rng = np.random.default_rng(6)

        def rows() -> Iterator[dict[str, Any]]:
            count = int(megabytes * 1e6 / (4 * MINHASH.permutations))
            for band in range(max(count // 20, 100)):
                first = rng.integers(0, 1 << 31, MINHASH.permutations)
                for member in range(20):
                    other = rng.integers(0, 1 << 31, MINHASH.permutations)
                    signature = np.where(rng.random(MINHASH.permutations) < rng.random(), first, other)
                    yield {"band": band, "fresh": True, "id": f"{band}-{member:02}", "signature": signature.tolist()}

        return write_rows(folder, rows())  # a batch is 25 whole bands

    def frame(rows: DataFrame) -> DataFrame:
        found = rows.sortWithinPartitions("band", "id").mapInArrow(searching, FOUND)
        return found.agg(F.count("*").cast("double").alias("n"))

    return Case(0.5, write, frame, lambda batch: float(sum(out.num_rows for out in searching(iter([batch])))))


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
    "nearest cluster": cluster_case,
    "file hashes": hash_case,
    "requests": request_case,
    "members of bands": band_case,
    "influence": influence_case,
    "embedding": lambda: text_case(0.004, lambda: embed(EMBEDDER, True)("text")[0].cast("double"), first_components),
}


@pytest.mark.parametrize("name", list(CASES))
def test_stage_keeps_its_speed_in_spark(name: str, spark: SparkSession, tmp_path: Path) -> None:
    compare(name, CASES[name](), spark, tmp_path)
