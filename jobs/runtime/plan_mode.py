"""Decides whether Spark compiles the plans of a session: over little data compiling takes longer than the work.

A run makes hundreds of queries, and Spark generates code for each, compiles it and plans again while it runs.
Interpreted they give the same rows. This weighs folders and files; what is in them is not its business.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

import fsspec
from fsspec.implementations.local import LocalFileSystem
from pyspark.sql import SparkSession

from jobs.runtime.launch import is_local
from jobs.runtime.settings import StorageSettings

SMALL = 64 << 20  # bytes of tables and inputs as they lie there, compressed; the demo's are 14 MB
INTERPRETED = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
}
OURS = "longloom.interpreted"  # which of them were set here and not by the user


def suit_plans(session: SparkSession, storage: StorageSettings, inputs: Iterable[int] = ()) -> bool:
    """Have the session interpret its plans while tables and `inputs` (bytes) are small; whether it does.

    Only where driver and executors are one JVM and the tables lie on this machine. A conf that the user has set stays
    as it is. May be called again as the root grows.
    """
    conf = session.conf
    weight = _weight(storage) if is_local(str(session.sparkContext.master)) else None
    small = weight is not None and weight + sum(inputs) <= SMALL
    ours = (conf.get(OURS, "") or "").split()
    if small and not ours:
        ours = [key for key in INTERPRETED if conf.get(key, None) is None]
        for key in ours:
            conf.set(key, INTERPRETED[key])
        conf.set(OURS, " ".join(ours))
    elif not small and conf.get(OURS, None) is not None:
        for key in [*ours, OURS]:
            conf.unset(key)
    return small


def is_small(session: SparkSession) -> bool:
    """Whether `suit_plans` found little data, the last time that it weighed it for this session."""
    return session.conf.get(OURS, None) is not None


def _weight(storage: StorageSettings) -> int | None:
    """Bytes of the tables of a local root; None where they lie elsewhere."""
    if storage.schema_name or storage.root is None:
        return None
    files, folder = fsspec.core.url_to_fs(storage.root)
    if not isinstance(files, LocalFileSystem):
        return None
    found = files.find(folder, detail=True) if files.exists(folder) else {}
    ours = (path for path in found if not posixpath.relpath(path, folder).startswith("_"))
    return sum(int(found[path]["size"]) for path in ours if path.endswith(".parquet"))
