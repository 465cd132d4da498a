"""The least that a chain of streamed tables costs: each appends the new rows of the one before to itself.

No function, no account, no reasons, no lineage, no call: what is left is Spark and Delta. Run by spark-submit with a
folder, a number of tables and a number of rows to begin with; prints the seconds of the chain.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.session import build_session
from jobs.runtime.settings import StorageSettings


def main(folder: str, tables: int, rows: int) -> None:
    """Append `rows` to the first table and let each of the others follow, one after the other."""
    spark = build_session("bare-chain")
    suit_plans(spark, StorageSettings(root=folder), [])
    spark.range(rows).withColumn("text", F.sha2(F.col("id").cast("string"), 256)).write.format("delta").mode(
        "append"
    ).save(f"{folder}/0")
    started = time.monotonic()
    for number in range(1, tables + 1):
        source = spark.readStream.format("delta").load(f"{folder}/{number - 1}")
        writer = source.writeStream.foreachBatch(appending(f"{folder}/{number}", str(number)))
        writer = writer.trigger(availableNow=True).option("checkpointLocation", f"{folder}/_{number}")
        writer.start().awaitTermination()
    print(f"chain {time.monotonic() - started:.3f}")
    spark.stop()


def appending(path: str, app: str) -> Callable[[DataFrame, int], None]:
    """Appends a batch once."""

    def append(batch: DataFrame, number: int) -> None:
        once = batch.write.format("delta").mode("append").option("txnAppId", app).option("txnVersion", number)
        once.save(path)

    return append


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
