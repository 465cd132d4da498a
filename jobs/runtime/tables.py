"""Delta tables of a root: read, append once, replace, delete, amend, and tell their versions.

It knows where tables are stored (folders under a root path, or names in a Unity Catalog schema) and
nothing of what they mean. Every commit carries the run that made it.
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, DataFrameWriter, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

import sql
from jobs.runtime.errors import SchemaMismatch
from jobs.runtime.settings import StorageSettings

ALL_FILES = 2**31 - 1
MISSING = -1  # version of a table that was not written yet
AT_ONCE = 4  # tables that are looked into
T = TypeVar("T")
# Layout of a root; stands in every commit, so that a later program can tell what it opens. It is raised, with a step in
# `layout.STEPS`, when a program of the old layout and one of the new would misread each other's rows: a column that
# is renamed, dropped or of another type or meaning, another way of making ids, another place of tables or checkpoints.
# A new table and a new column that may be null do not raise it: `append` adds the column, older programs leave it
# null, and who reads it by name makes do without it in a table that no run has written to since.
LAYOUT = 1


@dataclass(frozen=True)
class Once:
    """Names a write so that Delta skips its repetition: a replayed batch writes nothing twice."""

    app: str
    version: int


@dataclass
class Tables:
    """The tables under one root."""

    spark: SparkSession
    storage: StorageSettings
    run_id: str = ""
    fence: Callable[[], None] = lambda: None  # asked before every commit: raises when the root is no longer ours
    _versions: dict[str, int] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)  # versions that there were when the tables were last looked at
    # Stages run two at a time, and some write one table: two that make it at once would refuse each other.
    _saving: defaultdict[str, Lock] = field(default_factory=lambda: defaultdict(Lock))

    @property
    def state(self) -> str:
        """Where checkpoints, spool and lock live (beside the tables, or `storage.state_path`)."""
        path = self.storage.state_path or self.storage.root
        assert path is not None  # checked with the settings
        return path

    def location(self, name: str) -> str:
        """Path of the table, or its catalog name."""
        if self.storage.schema_name:
            return f"{self.storage.schema_name}.{name}"
        return posixpath.join(str(self.storage.root), name)

    def version(self, name: str) -> int:
        """Newest Delta version, `MISSING` when there is no such table."""
        if name not in self._versions:
            self._versions[name] = self._newest(name)
        return self._versions[name]

    def exists(self, name: str) -> bool:
        return self.version(name) != MISSING

    def read(self, name: str, session: SparkSession | None = None, version: int | None = None) -> DataFrame:
        """All rows; an empty frame of the right columns when the table was not written yet."""
        session = session or self.spark
        if not self.exists(name):
            return session.createDataFrame([], sql.columns(name))
        reader = session.read.format("delta")
        if version is not None:
            reader = reader.option("versionAsOf", version)
        return reader.table(self.location(name)) if self.storage.schema_name else reader.load(self.location(name))

    def kept(self, name: str, session: SparkSession | None = None) -> DataFrame:
        """Rows without a reject reason: what stages read."""
        return self.read(name, session).where(F.col("reject_reason").isNull())

    def stream(self, name: str, first: int | None = None) -> DataFrame:
        """New rows of an append-only table, all in one batch; commits that delete are skipped.

        A new stream begins with the commit `first`, or without one with the whole table. By default a thousand files
        are a batch, and which duplicate wins would depend on how rows lie in files.
        """
        reader = self.spark.readStream.format("delta").option("skipChangeCommits", "true")
        reader = reader.option("maxFilesPerTrigger", str(ALL_FILES))
        reader = reader if first is None else reader.option("startingVersion", str(first))
        return reader.table(self.location(name)) if self.storage.schema_name else reader.load(self.location(name))

    def conform(self, frame: DataFrame, name: str, added: dict[str, Any]) -> DataFrame:
        """Add the runner's columns, then check and order against `sql/<name>/columns.sql`.

        Raises SchemaMismatch listing every missing, unknown and ill-typed column.
        """
        wanted = sql.columns(name)
        ours = {name: F.lit(value).cast(wanted[name].dataType) for name, value in added.items() if name in wanted.names}
        frame = frame.withColumns(ours) if ours else frame
        _require_columns(frame.schema, wanted, name)
        untyped = [c.name for c in frame.schema if c.dataType.simpleString() == "void"]
        frame = frame.withColumns({c: F.col(c).cast(wanted[c].dataType) for c in untyped}) if untyped else frame
        return frame.to(wanted)  # in one call: a select of twenty columns is a hundred calls into the JVM

    def append(self, frame: DataFrame, name: str, note: dict[str, Any], once: Once | None = None) -> int:
        """Append conformed rows and return the new version; a repeated `once` changes nothing.

        Columns that this program knows and an older root does not are added, null in the rows that are there.
        """
        writer = self._writer(frame, note).mode("append").option("mergeSchema", "true")
        if once is not None:
            writer = writer.option("txnAppId", once.app).option("txnVersion", once.version)
        return self._save(writer, name)

    def replace(self, frame: DataFrame, name: str, note: dict[str, Any]) -> int:
        """Overwrite the table and its columns with `frame` in one commit and return the new version."""
        return self._save(self._writer(frame, note).mode("overwrite").option("overwriteSchema", "true"), name)

    def delete(self, name: str, condition: str, note: dict[str, Any]) -> int:
        """Delete rows in a commit of their own, so that streams behind can skip it."""
        self.fence()
        if not self.exists(name):
            return MISSING
        with self.noted(note):
            self.spark.sql(f"DELETE FROM {self.sql_name(name)} WHERE {condition}")
        return self.refresh(name)

    def remove(self, name: str, ids: DataFrame, note: dict[str, Any]) -> int:
        """Delete the rows with these ids [id], each given once and computed before, in a commit of their own."""
        return self._merge(name, ids.select("id"), "DELETE", note)

    def amend(self, name: str, rows: DataFrame, note: dict[str, Any]) -> int:
        """Set columns of stored rows in a commit of their own.

        `rows`, computed before, holds each id once, and the columns to set.
        """
        columns = ", ".join(f"t.`{column}` = s.`{column}`" for column in rows.columns if column != "id")
        return self._merge(name, rows, f"UPDATE SET {columns}", note)

    @contextmanager
    def noted(self, note: dict[str, Any]) -> Iterator[None]:
        """Commits made by SQL statements inside carry the note that other commits carry as an option."""
        with self.configured("spark.databricks.delta.commitInfo.userMetadata", self._note(note)):
            yield

    @contextmanager
    def configured(self, key: str, value: str) -> Iterator[None]:
        """A session conf for the statements inside."""
        self.spark.conf.set(key, value)
        try:
            yield
        finally:
            self.spark.conf.unset(key)

    def sql_name(self, name: str) -> str:
        """The table as SQL statements name it."""
        return self.location(name) if self.storage.schema_name else f"delta.`{self.location(name)}`"

    def last_append(self, name: str) -> int:
        """The newest version that brought rows to streams."""
        history = self.spark.sql(f"DESCRIBE HISTORY {self.sql_name(name)}").where("operationParameters.mode = 'Append'")
        newest: int | None = history.agg(F.max("version")).collect()[0][0]
        return MISSING if newest is None else newest

    def layout(self, name: str) -> int:
        """The layout that the newest commit of ours states; 0 where none does."""
        for text in self._user_metadata(name):
            try:
                return int(json.loads(text)["layout"])
            except (ValueError, TypeError, KeyError):
                continue  # a commit of another program
        return 0

    def refresh(self, name: str) -> int:
        """Forget the cached version and look again."""
        self._versions.pop(name, None)
        return self.version(name)

    def _writer(self, frame: DataFrame, note: dict[str, Any]) -> DataFrameWriter:
        return frame.write.format("delta").option("userMetadata", self._note(note))

    def _note(self, note: dict[str, Any]) -> str:
        return json.dumps({"run_id": self.run_id, "layout": LAYOUT, **note}, sort_keys=True)

    def _merge(self, name: str, rows: DataFrame, action: str, note: dict[str, Any]) -> int:
        self.fence()
        # Rows come computed: Delta would compute them once more for fear that they differ.
        with self.noted(note), self.configured("spark.databricks.delta.merge.materializeSource", "none"):
            self.spark.sql(
                f"MERGE INTO {self.sql_name(name)} AS t USING {{rows}} AS s ON t.id = s.id WHEN MATCHED THEN {action}",
                rows=rows,
            )
        return self.refresh(name)

    def _user_metadata(self, name: str) -> Iterator[str]:
        """What commits carry, newest first."""
        if not self.exists(name):
            return
        if self.storage.schema_name:
            history = self.spark.sql(f"DESCRIBE HISTORY {self.location(name)}").select("userMetadata")
            yield from (row[0] for row in history.collect() if row[0])
            return
        log = posixpath.join(self.location(name), "_delta_log")
        for file in sorted(_commits(self.spark, log), reverse=True):
            for line in read_text(self.spark, posixpath.join(log, file)).splitlines():
                text = json.loads(line).get("commitInfo", {}).get("userMetadata")
                if text:
                    yield text

    def _save(self, writer: DataFrameWriter, name: str) -> int:
        self.fence()
        with self._saving[name]:
            if self.storage.schema_name:
                writer.saveAsTable(self.location(name))
            else:
                writer.save(self.location(name))
            return self.refresh(name)

    def _newest(self, name: str) -> int:
        if self.storage.schema_name:
            if not self.spark.catalog.tableExists(self.location(name)):
                return MISSING
            history = self.spark.sql(f"DESCRIBE HISTORY {self.location(name)} LIMIT 1")
            return int(history.collect()[0]["version"])
        # Looking into the log folder is part of the Delta protocol and costs milliseconds; DESCRIBE HISTORY a job.
        log = posixpath.join(self.location(name), "_delta_log")
        self._seen[name] = newest_commit(self.spark, log, self._seen.get(name, MISSING))
        return self._seen[name]


def of_each(names: Iterable[str], ask: Callable[[str], T]) -> dict[str, T]:
    """What `ask` says of each table, several asked at once.

    Most of a small question's time goes into finding the table's files. One plan over all tables would find them one
    after the other.
    """
    names = list(names)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(names, pool.map(ask, names), strict=True))


def newest_commit(spark: SparkSession, log: str, seen: int = MISSING) -> int:
    """The newest commit of a Delta log, `MISSING` without one; `seen` is one that there was before.

    Commits are numbered without a gap, so the newest is found from any other. The log of a table that grows every few
    minutes holds tens of thousands of names: listing them would take seconds, at every commit.
    """
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    path, conf = jvm.org.apache.hadoop.fs.Path, spark.sparkContext._jsc.hadoopConfiguration()
    files = path(log).getFileSystem(conf)

    def there(version: int) -> bool:
        return bool(files.exists(path(posixpath.join(log, f"{version:020}.json"))))

    pointer = posixpath.join(log, "_last_checkpoint")
    if seen == MISSING and files.exists(path(pointer)):
        with suppress(ValueError, TypeError, KeyError):  # half written: it is only a hint
            seen = int(json.loads(read_text(spark, pointer))["version"])
    if seen == MISSING or not there(seen):  # no checkpoint yet, or another table in its place
        return max((int(file[:20]) for file in _commits(spark, log)), default=MISSING)
    while there(seen + 1):
        seen += 1
    return seen


def list_names(spark: SparkSession, folder: str) -> list[str]:
    """Names in a folder of any file system that Spark can reach; none when it does not exist."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    path = jvm.org.apache.hadoop.fs.Path(folder)
    files = path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    if not files.exists(path):
        return []
    return [status.getPath().getName() for status in files.listStatus(path)]


def is_readable(spark: SparkSession, read: Callable[[], DataFrame]) -> bool:
    """Whether the files that a frame reads are there: of an old version, a vacuum may have dropped some."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    try:
        paths = [jvm.org.apache.hadoop.fs.Path(jvm.java.net.URI(file)) for file in read().inputFiles()]
    except PySparkException:  # the log of that version is gone as well
        return False
    settings = spark.sparkContext._jsc.hadoopConfiguration()
    return all(path.getFileSystem(settings).exists(path) for path in paths)


def read_text(spark: SparkSession, path: str) -> str:
    """A small file of any file system that Spark can reach."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    file = jvm.org.apache.hadoop.fs.Path(path)
    stream = file.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).open(file)
    try:
        return str(jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
    finally:
        stream.close()


def _commits(spark: SparkSession, log: str) -> list[str]:
    """Names of the commit files of a Delta log."""
    return [file for file in list_names(spark, log) if file.endswith(".json") and file[:20].isdigit()]


def _require_columns(found: StructType, wanted: StructType, name: str) -> None:
    problems = [f"missing column {c}" for c in wanted.names if c not in found.names]
    problems += [f"unknown column {c}" for c in found.names if c not in wanted.names]
    for column in wanted.fields:
        if column.name in found.names:
            theirs = found[column.name].dataType.simpleString()
            if theirs != column.dataType.simpleString() and theirs != "void":
                problems.append(f"{column.name} is {theirs}, expected {column.dataType.simpleString()}")
    if problems:
        raise SchemaMismatch(f"stage {name} returned other columns than sql/{name}/columns.sql: " + "; ".join(problems))
