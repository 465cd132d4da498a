"""Spark sides of the ledger: spool segments become call rows, recorded calls become a settled reply.

The rule itself is `outcome.settle`; this file only carries it to executors.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pyarrow as pa

from udfs.llm.calls import CALL_SCHEMA, CallRow
from udfs.llm.outcome import settle
from udfs.llm.spool import Segment, read_segment

SEGMENT_DDL = "name string, url string, partition int"
TOKENS = ("tokens_in", "tokens_out", "tokens_cached")
SERVED = ("id", "key", "parent_key", "status", "error_kind", "error", "text", "teacher", "model", *TOKENS)
SETTLED_DDL = "status string, reason string, text string, further string, known_text string"


def segment_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """For mapInArrow: SEGMENT_DDL rows in, the calls of each segment out (CALL_DDL)."""
    for batch in batches:
        for row in batch.to_pylist():
            calls: Any = read_segment(Segment(row["name"], row["url"], row["partition"]))
            yield pa.RecordBatch.from_pylist(calls, schema=CALL_SCHEMA)


def settled(task: str, raises_limit: bool) -> Any:
    """UDF over (key, first call, further call), each a struct of SERVED or null, to SETTLED_DDL.

    A null status means that there is still something to send; `further` then asks for that call alone.
    """
    from pyspark.sql.functions import udf

    def judge(key: str, root: Any, turn: Any) -> tuple[str | None, ...]:
        found = settle(key, task, _call(root), _call(turn), raises_limit)
        if found.outcome is None:
            return None, None, None, found.further, found.known_text
        outcome = found.outcome
        reason = None if outcome.status == "ok" else f"llm:{outcome.error_kind}"
        return outcome.status, reason, outcome.text, None, None

    # A lambda: Spark takes type hints of a plain function for an attempt at an Arrow UDF, and warns.
    return udf(lambda key, root, turn: judge(key, root, turn), SETTLED_DDL)


def _call(row: Any) -> CallRow | None:
    return None if row is None or row["id"] is None else cast(CallRow, row.asDict())
