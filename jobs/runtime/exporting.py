"""Writes the training set as files other tools load unchanged: chat-format JSON lines and Parquet.

It shapes rows and names files; which rows are in was decided by `training_set`.
"""

from __future__ import annotations

import errno
import json
import posixpath
from collections.abc import Sequence
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, DataType, StringType, StructType

from jobs.runtime.analysis import open_root
from jobs.runtime.card import card
from jobs.runtime.errors import LongloomError, SettingsFault, StorageFault
from jobs.runtime.opening import default_store
from jobs.runtime.splits import TEST, TRAIN, split_by_document
from jobs.runtime.storage_faults import storage_fault
from jobs.runtime.tables import Tables

FORMATS = ("jsonl", "parquet")
CARD_TEST_SHARE = 0.05
READ_BYTES = 1 << 20
NOT_WRITTEN = ("position", "together")
SUFFIX = {"jsonl": ("json", ".json", ".jsonl"), "parquet": ("parquet", ".parquet", ".parquet")}


def training_rows(tables: Tables) -> DataFrame:
    """One row per selected sample: `messages` for a chat trainer, what the row is, and what is NOT_WRITTEN.

    Rows of one value in `together` belong into one split: ids of documents. An imported row is a document of its own,
    so the hash of its text stands for it there: several questions about one paper are several rows.
    """
    chosen = tables.kept("training_set").select("sample", "position", "n_tokens", "rank", "score", "hmp", "cas")
    samples = tables.kept("samples").withColumnRenamed("id", "sample")
    facts = F.transform(
        "documents",
        lambda d: F.struct(
            d["doc_id"].alias("doc_id"), d["source"].alias("source"), d["n_tokens"].alias("n_tokens"),
            d["licence"].alias("licence"),
        ),
    )  # fmt: skip
    given, together = [], F.col("documents.doc_id")
    if tables.exists("imports"):
        sources = tables.read("imports").select(F.col("id").alias("import"), "record_id", "split")
        samples = samples.withColumn("import", F.col("parent_ids")[0]).join(sources, "import")
        given, together = ["record_id", "split"], F.array(F.sha2("context", 256))
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
        together.alias("together"),
    )


def write(tables: Tables, out: str, formats: Sequence[str], test_share: float = 0.0) -> dict[str, int]:
    """Write `out/<format>/<split>-00000-of-NNNNN.*`; rows per format. Splits are made by source document or text.

    Raises SettingsFault when the training set is empty or `out` holds files already.
    """
    ordered = training_rows(tables).orderBy("setting", "position").persist()
    rows = ordered.drop(*NOT_WRITTEN)
    try:
        held = [(row[0], row[1]) for row in ordered.select("id", "together").toLocalIterator()]
        if not held:
            raise SettingsFault([f"{tables.state}: the training set is empty; run jobs/synthesize.py first"])
        require_empty(out)
        require_one_place(tables.spark, out)
        files, folder = fsspec.core.url_to_fs(out)
        splits = split_by_document(held, test_share)
        counts = {split: n for split in (TRAIN, TEST) if (n := sum(one == split for one in splits.values()))}
        marks = tables.spark.createDataFrame([(row,) for row, split in splits.items() if split == TEST], "id string")
        parts = {TRAIN: rows.join(marks, "id", "left_anti"), TEST: rows.join(marks, "id", "left_semi")}
        for name in formats:
            for split in counts:
                part = parts[split] if TEST in counts else rows
                shaped = filled(part) if name == "jsonl" else part
                write_format(shaped, posixpath.join(out, name), name, split, counts[split])
        with files.open(posixpath.join(folder, "export.json"), "w") as stream:
            told = {"rows": len(held), "splits": counts, "formats": list(formats)}
            json.dump(told | {"training_set": tables.version("training_set")}, stream)
    finally:
        ordered.unpersist()
    return dict.fromkeys(formats, len(held))


def filled(rows: DataFrame) -> DataFrame:
    """The rows with "" for a text and [] for a list that is null.

    Loaders take a column's type from the first lines: a field that turns up later, or is null there, breaks them.
    """
    return rows.select(*[_filled(F.col(field.name), field.dataType).alias(field.name) for field in rows.schema.fields])


def _filled(column: Column, kind: DataType) -> Column:
    if isinstance(kind, StringType):
        return F.coalesce(column, F.lit(""))
    if isinstance(kind, ArrayType):
        return F.coalesce(F.transform(column, lambda one: _filled(one, kind.elementType)), F.array().cast(kind))
    if isinstance(kind, StructType):
        return F.struct(*[_filled(column[field.name], field.dataType).alias(field.name) for field in kind.fields])
    return column


def require_empty(out: str) -> None:
    """Raise SettingsFault when the folder holds files, or cannot be looked into."""
    try:
        files, folder = fsspec.core.url_to_fs(out)
        held = files.exists(folder) and files.ls(folder)
    except OSError as error:
        raise refused(error, out) from error
    if held:
        raise SettingsFault([f"--out {out}: is not empty; name a new folder"])


def require_one_place(spark: SparkSession, out: str) -> None:
    """Raise SettingsFault where Spark would write to its own store what is looked for on this machine's disk."""
    if there := default_store(spark, out):
        better = posixpath.join(there, out.lstrip("/"))
        raise SettingsFault(
            [f"--out {out}: it names no file system, and Spark would write into its own, {there}; give {better}"]
        )


def refused(error: OSError, out: str) -> LongloomError:
    """The sentence for an output that was not taken: StorageFault for want of room, else SettingsFault.

    A place that must not be written to is a wrong one, and stays so however often it is tried.
    """
    full = storage_fault(error, out)
    if full is not None and not isinstance(error, PermissionError) and error.errno != errno.EROFS:
        return full
    return SettingsFault([f"--out {out}: cannot be written ({error.strerror or error})"])


def export_fault(error: BaseException, out: str) -> StorageFault | None:
    """As `storage_fault`, of an export, which does not go on where it stopped as a run does."""
    then = f"What lies in {out} is not whole: make room or mend it, remove it, and run again."
    return storage_fault(error, out, then)


def write_card(tables: Tables, out: str, name: str) -> None:
    """Write `out/README.md`, the card of what `write` put there."""
    files, folder = fsspec.core.url_to_fs(out)
    with files.open(posixpath.join(folder, "export.json"), "r") as stream:
        told = json.load(stream)
    schema = training_rows(tables).drop(*NOT_WRITTEN).schema
    text = card(open_root(tables), schema, told["splits"], told["formats"], name, told["training_set"])
    with files.open(posixpath.join(folder, "README.md"), "w", encoding="utf-8") as stream:
        stream.write(text)


def write_format(rows: DataFrame, folder: str, name: str, stem: str, expected: int) -> None:
    """Write the `expected` rows to `folder/<stem>-00000-of-NNNNN.*` in one of the FORMATS.

    Spark writes a folder of its own; its parts are moved out of it under the names that readers expect. Raises
    SettingsFault where executors wrote to disks of their own, so that not all rows came here.
    """
    writer, found, wanted = SUFFIX[name]
    written = posixpath.join(folder, f"_{stem}")
    rows.write.format(writer).option("compression", "none" if name == "jsonl" else "zstd").save(written)
    files, path = fsspec.core.url_to_fs(folder)
    inner = posixpath.join(path, f"_{stem}")
    written_here = files.ls(inner, detail=False) if files.exists(inner) else []
    parts = sorted(part for part in written_here if part.endswith(found))
    if isinstance(files, LocalFileSystem) and (came := sum(map(rows_of, parts))) != expected:
        raise SettingsFault(
            [
                f"--out {folder}: {came} of {expected} rows came here, for executors wrote to disks of their own; name "
                "an address that all machines reach, and remove this folder"
            ]
        )
    for number, part in enumerate(parts):
        files.mv(part, posixpath.join(path, f"{stem}-{number:05d}-of-{len(parts):05d}{wanted}"))
    files.rm(inner, recursive=True)  # Spark's markers and checksums are no data


def rows_of(part: str) -> int:
    """Rows of a local file that Spark wrote."""
    if part.endswith(".parquet"):
        return int(pq.read_metadata(part).num_rows)
    with Path(part).open("rb") as lines:
        return sum(piece.count(b"\n") for piece in iter(lambda: lines.read(READ_BYTES), b""))
