"""Writes the training set as files other tools load unchanged: chat-format JSON lines and Parquet.

It shapes rows and names files; which rows are in was decided by `training_set`.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Sequence

import fsspec
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime.errors import SettingsFault
from jobs.runtime.tables import Tables

FORMATS = ("jsonl", "parquet")
SUFFIX = {"jsonl": ("json", ".json", ".jsonl"), "parquet": ("parquet", ".parquet", ".parquet")}


def training_rows(tables: Tables) -> DataFrame:
    """One row per selected sample: `messages` for a chat trainer, and what the row is."""
    chosen = tables.kept("training_set").select("sample", "position", "n_tokens", "rank", "score", "hmp", "cas")
    samples = tables.kept("samples").withColumnRenamed("id", "sample")
    facts = F.transform(
        "documents",
        lambda d: F.struct(
            d["doc_id"].alias("doc_id"), d["source"].alias("source"), d["n_tokens"].alias("n_tokens"),
            d["licence"].alias("licence"),
        ),
    )  # fmt: skip
    given = []
    if tables.exists("imports"):
        sources = tables.read("imports").select(F.col("id").alias("import"), "record_id", "split")
        samples = samples.withColumn("import", F.col("parent_ids")[0]).join(sources, "import")
        given = ["record_id", "split"]
    return chosen.join(samples, "sample").select(
        F.col("sample").alias("id"),
        "messages",
        "setting",
        "paradigm",
        "document_type",
        "n_tokens",
        "language",
        facts.alias("documents"),
        "evidence",
        "grounded_share",
        F.col("generator.teacher").alias("teacher"),
        F.col("generator.model").alias("model"),
        *given,
        "rank",
        "score",
        "hmp",
        "cas",
        "position",
    )


def write(tables: Tables, out: str, formats: Sequence[str]) -> dict[str, int]:
    """Write `out/<format>/train-00000-of-NNNNN.*`; rows per format.

    Raises SettingsFault when the training set is empty or `out` holds files already.
    """
    rows = training_rows(tables).orderBy("setting", "position").drop("position").persist()
    try:
        count = rows.count()
        if not count:
            raise SettingsFault([f"{tables.state}: the training set is empty; run jobs/synthesize.py first"])
        require_empty(out)
        for name in formats:
            write_format(rows, posixpath.join(out, name), name, "train")
        files, folder = fsspec.core.url_to_fs(out)
        with files.open(posixpath.join(folder, "export.json"), "w") as stream:
            json.dump({"rows": count, "formats": list(formats), "training_set": tables.version("training_set")}, stream)
    finally:
        rows.unpersist()
    return dict.fromkeys(formats, count)


def require_empty(out: str) -> None:
    """Raise SettingsFault when the folder holds files."""
    files, folder = fsspec.core.url_to_fs(out)
    if files.exists(folder) and files.ls(folder):
        raise SettingsFault([f"--out {out}: is not empty; name a new folder"])


def write_format(rows: DataFrame, folder: str, name: str, stem: str) -> None:
    """Write rows to `folder/<stem>-00000-of-NNNNN.*` in one of the FORMATS."""
    writer, found, wanted = SUFFIX[name]
    rows.write.format(writer).option("compression", "none" if name == "jsonl" else "zstd").save(folder)
    files, path = fsspec.core.url_to_fs(folder)
    parts = sorted(part for part in files.ls(path, detail=False) if part.endswith(found))
    for number, part in enumerate(parts):
        files.mv(part, posixpath.join(path, f"{stem}-{number:05d}-of-{len(parts):05d}{wanted}"))
    for other in files.ls(path, detail=False):  # Spark's markers and checksums are no data
        if posixpath.basename(other).startswith(("_", ".")):
            files.rm(other)
