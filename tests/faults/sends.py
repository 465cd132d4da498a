"""A Spark job that sends calls from two executors under one coordinator: sends.py GIVEN.json, run by test_limits.py.

What comes back is told on the last line of its output: how many calls had which end, and from how many executors.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from udfs.llm.budget import Budget
from udfs.llm.coordinator import Coordinator
from udfs.llm.outcome import OUTCOME_DDL
from udfs.llm.requests import build_requests
from udfs.llm.sender import send
from udfs.settings import LlmSettings


def main(given: Path) -> None:
    asked = json.loads(given.read_text(encoding="utf-8"))
    settings = LlmSettings.model_validate(asked["settings"])
    spool, seen = str(given.parent / "spool"), given.parent / "executors"
    seen.mkdir()
    coordinator = Coordinator("127.0.0.1", 0, Budget(0, 0), settings.of, print)
    act = send(settings, spool, "stage", "limits", coordinator=coordinator.address)

    def watched(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        (seen / str(os.getppid())).touch()  # workers are children of their executor's daemon
        yield from act(batches)

    spark = SparkSession.builder.appName("limits").getOrCreate()
    inputs = pa.RecordBatch.from_pydict(
        {
            "input_id": [f"input-{number}" for number in range(asked["calls"])],
            "document": pa.nulls(asked["calls"], pa.string()),
            "variables": [json.dumps({"examples": [str(number)], "taken": []}) for number in range(asked["calls"])],
        }
    )
    rows = pa.Table.from_batches(build_requests("type_label", settings)(iter([inputs])))
    sent = spark.createDataFrame(rows).repartition(2).mapInArrow(watched, OUTCOME_DDL)
    ends = Counter(row["status"] for row in sent.collect())
    coordinator.close()
    print(json.dumps({"ends": ends, "executors": len(list(seen.iterdir()))}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
