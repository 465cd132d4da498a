"""All questions and the report over 200,000 made-up samples, as a person waits for them."""

from __future__ import annotations

import time

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime.analysis import open_root
from jobs.runtime.report.figures import gather
from jobs.runtime.report.page import page
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import Tables

SAMPLES, CONVERSATIONS, TYPES, VALUES = 200_000, 30_000, 10, 400
AIM_S, LIMIT_MB = 180, 10  # the seconds are told, never asserted: a busy machine takes longer
TEXT = "concat_ws(' ', transform(sequence(1, 300), i -> concat('word', pmod(xxhash64(n, i), 9000))))"
KIND = f"concat('type ', pmod(n, {TYPES}))"
SETTING = "if(pmod(n, 3) = 0, 'multi', 'single')"
NODES = (
    f"transform(sequence(0, 5), i -> named_struct('field', concat('field ', i), 'value', "
    f"concat('value ', pmod(xxhash64(n, i), {VALUES})), 'node', concat(i, '-', pmod(xxhash64(n, i), {VALUES}))))"
)
SPAN = "named_struct('doc_id', concat('d', n), 'start', 10 + 90 * i, 'end', 60 + 90 * i, 'exact', true)"
DOCUMENT = (
    "array(named_struct('doc_id', concat('d', n), 'source', 'Made', 'n_tokens', 900L, 'licence', 'CC0', "
    "'start', 0L, 'end', bigint(length(context))))"
)
REJECTED = "CASE WHEN pmod(n, 11) = 0 THEN 'ungrounded' WHEN pmod(n, 13) = 0 THEN 'unanswerable' END"
# table → rows, columns by expression over `n`
MADE: dict[str, tuple[int, dict[str, str]]] = {
    "source_files": (1, {"id": "'f'"}),
    "conversations": (CONVERSATIONS, {"id": "concat('c', n)", "user_text": TEXT, "assistant_text": "'reply'"}),
    "long_conversations": (CONVERSATIONS, {"id": "concat('l', n)", "conversation": "concat('c', n)", "language": "'en'",
        "source": "'WildChat'", "n_tokens": "2000", "reject_reason": "if(pmod(n, 5) = 0, 'too_short', NULL)"}),
    "meta_records": (CONVERSATIONS, {"id": "concat('m', n)", "tasks": "array(concat('task ', pmod(n, 900)))"}),
    "conversation_types": (CONVERSATIONS, {"id": "concat('k', n)", "document_type": KIND}),
    "seed_paths": (CONVERSATIONS, {"id": "concat('p', n)", "conversation": "concat('c', n)", "setting": SETTING,
        "document_type": KIND, "nodes": NODES, "instruction": "'do this'"}),
    "nodes": (6 * VALUES, {"node": f"concat(int(n / {VALUES}), '-', pmod(n, {VALUES}))", "setting": "'single'",
        "document_type": "'type 1'", "field": f"concat('field ', int(n / {VALUES}))",
        "value": f"concat('value ', pmod(n, {VALUES}))", "count": "1 + pmod(n, 9)"}),
    "edges": (SAMPLES, {"setting": "'single'", "document_type": "'type 1'",
        "source": f"concat('0-', pmod(xxhash64(n), {VALUES}))",
        "target": f"concat('1-', pmod(xxhash64(n, 1), {VALUES}))",
        "count": "1"}),
    "documents": (SAMPLES, {"id": "concat('d', n)", "text": "'text'"}),
    "long_documents": (SAMPLES, {"id": "concat('ld', n)", "document": "concat('d', n)", "language": "'en'",
        "source": "'Made'", "n_tokens": "900"}),
    "typed_documents": (SAMPLES, {"id": "concat('td', n)", "document_type": KIND}),
    "walks": (SAMPLES, {"id": "concat('w', n)", "setting": SETTING, "document_type": KIND, "nodes": NODES,
        "overlap": "3", "novel": "pmod(n, 4) > 0", "redraws": "0",
        "nearest_seed_path": f"concat('p', pmod(n, {CONVERSATIONS}))"}),
    "instructions": (SAMPLES, {"id": "concat('i', n)", "walk": "concat('w', n)", "setting": SETTING,
        "instruction": "'draft'"}),
    "pairings": (SAMPLES, {"id": "concat('q', n)"}),
    "samples": (SAMPLES, {"id": "sha2(string(n), 256)", "reject_reason": REJECTED, "setting": SETTING,
        "document_type": KIND, "context": TEXT,
        "instruction": "concat('Summarize the part about word', pmod(n, 9000), ' in a few sentences.')",
        "response": "'An answer.'", "language": "'en'", "grounded_share": "pmod(n, 6) / 5", "walk_id": "concat('w', n)",
        "evidence": f"transform(sequence(0, 6), i -> {SPAN})", "documents": DOCUMENT,
        "lengths": "named_struct('context', 900 + pmod(n, 90000), 'instruction', 12L, 'response', 4L)"}),
    "training_set": (SAMPLES, {"id": "concat('t', n)", "sample": "sha2(string(n), 256)", "setting": SETTING,
        "document_type": KIND, "position": "n", "n_tokens": "900 + pmod(n, 90000)", "teacher": "'made up'",
        "documents": "array(concat('d', n))"}),
    "llm_calls": (2 * SAMPLES, {"id": "concat('a', n)", "stage": "if(pmod(n, 2) = 0, 'samples', 'instructions')",
        "status": "'ok'", "tokens_in": "1000", "tokens_out": "100", "seconds": "0.5"}),
}  # fmt: skip


def made(spark: SparkSession, name: str) -> DataFrame:
    """The rows of a table, columns that nobody asks for empty."""
    rows, given = MADE[name]
    frame = spark.range(rows).withColumnRenamed("id", "n")
    if name == "training_set":
        frame = frame.where(f"({REJECTED}) IS NULL")
    frame = frame.select("n", *[F.expr(text).alias(column) for column, text in given.items()])
    return frame.select(*[
        (F.col(field.name) if field.name in given else F.lit(None)).cast(field.dataType).alias(field.name)
        for field in sql.columns(name)
    ])  # fmt: skip


@pytest.mark.spark
@pytest.mark.bench
@pytest.mark.timeout(1_800)
def test_questions_and_report_over_many_samples(spark: SparkSession, root: str) -> None:
    own = spark.newSession()
    tables = Tables(own, StorageSettings(root=root))
    for name in MADE:
        tables.append(made(own, name), name, {})
    started = time.monotonic()
    data = gather(tables, open_root(tables))
    text = page(data)
    seconds, size = time.monotonic() - started, len(text.encode()) / 1e6
    rows = data["figures"]["overview"]["rows"][0][0]
    print(f"\n{SAMPLES:,} samples, {rows:,} selected: {seconds:.0f} s, {size:.1f} MB, {len(data['rows'])} rows shown")
    assert rows > 0.8 * SAMPLES and not {"samples", "training_set"} & set(data["unwritten"])
    print(f"aimed at: {AIM_S} s; {'reached' if seconds <= AIM_S else 'NOT reached'}")
    assert size <= LIMIT_MB
