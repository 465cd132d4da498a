"""A small machine test: what every run does, once, on ten rows (`make setup`).

It proves Spark, Delta, streaming and Python workers before the first real run, and the JVM that ran it
leaves the archive of its loaded classes behind, which later sessions start from.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from jobs.runtime import checkout
from jobs.runtime.launch import prepare

SCRIPT = "from jobs.runtime.warmup import exercise; exercise()\n"
DUMP = "-XX:ArchiveClassesAtExit="


def main() -> int:
    """Run the exercise through spark-submit; the archive replaces the old one only when all went well."""
    target = checkout.class_archive()
    target.unlink(missing_ok=True)  # the new one must not be made on top of it
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    with tempfile.TemporaryDirectory(prefix="longloom-warmup-") as folder:
        script = Path(folder) / "warmup.py"
        script.write_text(SCRIPT, encoding="utf-8")
        environment = {**os.environ, "SPARK_SUBMIT_OPTS": f"{DUMP}{partial} -Xlog:cds=off -Xlog:cds+dynamic=off"}
        launch = prepare([str(script)], environment)
        run = subprocess.run(
            launch.command, env=launch.environment, cwd=folder, capture_output=True, text=True, check=False
        )
    if run.returncode != 0:
        partial.unlink(missing_ok=True)
        print(f"{run.stdout}{run.stderr}\nwarm-up: Spark does not run here (see above).", file=sys.stderr)
        return 1
    if partial.is_file():  # a JVM that cannot archive classes just runs without
        partial.replace(target)
    print("warm-up: Spark, Delta, streaming and Python workers work")
    return 0


def exercise() -> None:
    """Write, stream and merge ten rows, by compiled plans and by interpreted ones.

    Raises RuntimeError where other rows come out than went in, else whatever does not work.
    """
    from delta.tables import DeltaTable
    from pyspark.sql import DataFrame
    from pyspark.sql import functions as F

    from jobs.runtime.plan_mode import suit_plans
    from jobs.runtime.session import build_session
    from jobs.runtime.settings import StorageSettings

    spark = build_session("longloom-warmup")
    groups = spark.range(10).groupBy((F.col("id") % 2).alias("odd")).count().count()
    if groups != 2:
        raise RuntimeError(f"compiled plans compute wrongly: even and odd numbers are {groups} groups, not 2")
    with tempfile.TemporaryDirectory(prefix="longloom-warmup-") as folder:
        suit_plans(spark, StorageSettings(root=folder))
        source, sink = f"{folder}/source", f"{folder}/sink"
        rows = spark.range(10).select(F.sha2(F.col("id").cast("string"), 256).alias("id"), F.lit(1).alias("n"))
        rows.write.format("delta").save(source)

        def write(batch: DataFrame, _: int) -> None:
            kept = batch.mapInArrow(unchanged, batch.schema).join(rows.select("id"), "id", "left_semi")
            kept.groupBy("id").agg(F.sum("n").alias("n")).write.format("delta").mode("append").save(sink)

        stream = spark.readStream.format("delta").load(source).writeStream.foreachBatch(write)
        query = stream.trigger(availableNow=True).option("checkpointLocation", f"{folder}/checkpoint").start()
        query.awaitTermination()
        table = DeltaTable.forPath(spark, sink)
        table.alias("t").merge(rows.alias("s"), "t.id = s.id").whenMatchedUpdate(set={"n": F.lit(2)}).execute()
        written = spark.read.format("delta").load(sink).agg(F.sum("n")).first()
        if written != (20,):
            raise RuntimeError(f"rows were lost on their way through a stream and a merge: {written} is not their sum")
    spark.stop()


def unchanged(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """A Python worker that gives back what it gets."""
    yield from batches


if __name__ == "__main__":
    sys.exit(main())
