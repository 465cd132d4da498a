"""Opens a root that exists, for the jobs that work on its tables: lock, layout, and what belongs to both ends.

What is done between the two ends is the caller's business.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import fsspec
from pyspark.sql import SparkSession

from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.health import OTHER_ROOT, unwritable
from jobs.runtime.history import History
from jobs.runtime.json_modes import left_open, with_json_modes
from jobs.runtime.layout import require_layout
from jobs.runtime.ledger import Ledger
from jobs.runtime.lock import RootLock
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.runner import Runner
from jobs.runtime.settings import Settings
from jobs.runtime.stage import Stage
from jobs.runtime.stopping import Stop
from jobs.runtime.storage_faults import storage_fault
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from udfs.settings import LlmSettings

PREVIEW = "_preview"  # folder of the root that holds its preview, a root of its own


@contextmanager
def opened(
    spark: SparkSession,
    settings: Settings,
    say: Callable[[str], None],
    may_be_new: bool = False,
    stages: Sequence[Stage] = (),
    otherwise: Callable[[LlmSettings], str] = left_open,
) -> Iterator[Runner]:
    """A runner on the root, which is held while the context lasts. No call is made.

    A job that renders requests names the `stages` that ask for them: the runner's settings then have `json_mode: auto`
    decided as the root knows it, and where it knows nothing as `otherwise` says of an endpoint.
    Raises SettingsFault where there is no root (unless it `may_be_new`) or where it cannot be written, RootHeld while
    another run holds it, StorageFault when the storage is full or refuses.
    """
    tables = Tables(spark, settings.storage, run_id=uuid.uuid4().hex)
    require_root(spark, tables.state)
    if not may_be_new and not tables.exists("source_files"):
        raise SettingsFault([f"{tables.state}: no tables here; check --root (nothing was written)"])
    suit_plans(spark, settings.storage)
    with Stop(spark.sparkContext) as stop, RootLock(tables.state, stop.request) as lock:
        tables.fence = lock.require
        require_layout(tables, migrate=True)
        history = History(tables)
        settings = with_json_modes(settings, stages, history, tables, otherwise)
        ledger = Ledger(tables, settings.llm, settings.tokenizer, say=say, pause=stop.wait)
        runner = Runner(spark, settings, tables, ledger, history, Summary(run_id=tables.run_id), say)
        spark.sparkContext.setCheckpointDir(f"{tables.state}/_scratch")
        try:
            with stop.interruptible():
                yield runner
            runner.history.flush()
            drop_scratch(tables.state)
        except Exception as error:
            known = None if isinstance(error, LongloomError) else storage_fault(error, tables.state)
            if known is None:
                raise
            raise known from error
        finally:
            ledger.close()


def require_root(spark: SparkSession, root: str) -> None:
    """Raises SettingsFault when nothing can be written to the root."""
    obstacle = misplaced(spark, root) or unwritable(root)
    if obstacle:
        raise SettingsFault([f"--root {root}: {obstacle}; {OTHER_ROOT}"])


def misplaced(spark: SparkSession, root: str) -> str | None:
    """Why a root that names no file system would lie in two places, None where it does not.

    Spark puts tables into its default file system; lock, spool and batches go to the disk of each machine.
    """
    there = default_store(spark, root)
    return there and (
        f"it names no file system: tables would lie in Spark's own, {there}, replies and the lock on the disk of each "
        f"machine; give {there}{root}, or another address that all machines reach"
    )


def default_store(spark: SparkSession, path: str) -> str | None:
    """The store into which Spark puts a path that names no file system, None where that is the disk of each machine."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    default = jvm.org.apache.hadoop.fs.FileSystem.getDefaultUri(spark.sparkContext._jsc.hadoopConfiguration())
    if "://" in path or path.startswith("/Volumes/") or default.getScheme() == "file":
        return None
    return str(default.toString()).rstrip("/")


def drop_scratch(state: str) -> None:
    """Checkpointed frames of this run are of no use to the next one."""
    drop_folder(state, "_scratch")


def drop_folder(state: str, name: str) -> None:
    """Remove a folder of the root that holds no table of it, if it is there."""
    files, folder = fsspec.core.url_to_fs(f"{state}/{name}")
    if files.exists(folder):
        files.rm(folder, recursive=True)


def job_of(tables: Tables, jobs: Sequence[tuple[Stage, ...]]) -> tuple[Stage, ...]:
    """The stages of the job that made this root, told by its source tables; those of the first where there is none."""
    return next((stages for stages in jobs if any(tables.exists(name) for name in sources_of(stages))), jobs[0])


def sources_of(stages: Sequence[Stage]) -> set[str]:
    """The tables that hold what a job read."""
    return {stage.name for stage in stages if stage.driving == "source_files"}
