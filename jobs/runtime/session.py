"""The one Spark session, on the confs of `infra/spark-defaults.conf`.

Under spark-submit the confs are already set, so nothing static is added (builder settings beat spark-submit's,
even `--master`); under plain Python (tests, notebooks) the same file is read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping

from pyspark.logger import PySparkLogger
from pyspark.sql import SparkSession

from jobs.runtime import checkout
from jobs.runtime.errors import SettingsFault
from jobs.runtime.jars import jar_paths
from jobs.runtime.java import find_java
from jobs.runtime.launch import (
    DAEMON,
    ONE_ENVIRONMENT,
    WAREHOUSE,
    WORKER_DAEMON,
    defaults,
    is_local,
    jvm_options,
    read_confs,
    require_machine,
)
from jobs.runtime.worker_memory import shortage

# Classes whose absence Spark mentions late or never, and who brings them.
NEEDED = {"io.delta.sql.DeltaSparkSessionExtension": "Delta", "org.graphframes.GraphFramePythonAPI": "GraphFrames"}

LONGEST_WARMING_S = 60.0  # that a run waits for at its end


def build_session(name: str, extra: Mapping[str, str] | None = None) -> SparkSession:
    """A session that can read Delta and run GraphFrames.

    `extra` overrides the file's confs under plain Python, and is ignored where a platform made the JVM.
    Raises SettingsFault when there is no Java that Spark can run on, when the jars have not been fetched, and when one
    of the two is not on the class path, because Spark itself only warns about it.
    """
    builder = SparkSession.builder.appName(name)
    if not launched_by_platform():
        require_machine(os.environ)
        confs = static_confs() | dict(extra or {})
        local = is_local(confs["spark.master"])
        confs = class_path(local) | (WORKER_DAEMON | WAREHOUSE if local else ONE_ENVIRONMENT) | confs
        prepare_environment(confs["spark.master"])
        for key, value in confs.items():
            builder = builder.config(key, value)
    session = builder.getOrCreate()
    require_classes(session)
    quiet_failed_queries()
    if told := shortage(dict(session.sparkContext.getConf().getAll())):
        print(f"warning: {told}", file=sys.stderr)
    return session


@contextlib.contextmanager
def running_session(name: str) -> Iterator[SparkSession]:
    """A session as `build_session` makes it, which is stopped whatever happens to the job."""
    spark = build_session(name)
    try:
        yield spark
    finally:
        spark.stop()


def quiet_failed_queries() -> None:
    """PySpark logs a refused query with both stacks as a line of JSON of 10 KB, beside the error that says it all."""
    for kind in ("SQL", "DataFrame"):
        PySparkLogger.getLogger(f"{kind}QueryContextLogger").setLevel(logging.CRITICAL)


def launched_by_platform() -> bool:
    """True when spark-submit or Databricks made the JVM, so its confs must not be overridden."""
    started = "PYSPARK_GATEWAY_PORT" in os.environ or "DATABRICKS_RUNTIME_VERSION" in os.environ
    return started or SparkSession.getActiveSession() is not None


def static_confs() -> dict[str, str]:
    """The keys of `infra/spark-defaults.conf`."""
    return read_confs(checkout.SPARK_DEFAULTS)


def class_path(local: bool) -> dict[str, str]:
    """The locked jars as a conf: on the driver's class path where it is the only JVM, shipped otherwise."""
    paths = [str(path) for path in jar_paths()]
    return {"spark.driver.extraClassPath": ":".join(paths)} if local else {"spark.jars": ",".join(paths)}


def prepare_environment(master: str) -> None:
    """What the JVM and the workers take from this process: their Python, their Java, quiet logging."""
    java = find_java(os.environ)
    values = defaults(os.environ, master) | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    if java is not None:
        os.environ["JAVA_HOME"] = str(java.home)  # what the caller named may be one that Spark cannot run on
    for name, value in values.items():
        os.environ.setdefault(name, value)
    os.environ["SPARK_SUBMIT_OPTS"] = jvm_options(os.environ, archive=is_local(master))


@contextlib.contextmanager
def warm_workers(session: SparkSession) -> Iterator[None]:
    """Have the process that workers are forked from make its imports while other things start.

    It is waited for at the end: a session that stops meanwhile would complain.
    """

    def fork_one() -> None:
        with contextlib.suppress(Exception):  # a run that ends before it has nothing to fork for
            session.sparkContext.parallelize([0], 1).map(abs).count()

    warming = threading.Thread(target=fork_one, daemon=True)
    if session.conf.get(DAEMON, None) == WORKER_DAEMON[DAEMON]:
        warming.start()
    try:
        yield
    finally:
        if warming.is_alive():
            warming.join(LONGEST_WARMING_S)


def require_classes(session: SparkSession) -> None:
    """Raise SettingsFault at once when the extensions are not on the class path."""
    jvm = session.sparkContext._jvm
    assert jvm is not None
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    for name, library in NEEDED.items():
        try:
            jvm.java.lang.Class.forName(name, False, loader)
        except Exception as error:
            raise SettingsFault(
                [
                    f"the {library} jar is not on Spark's class path. On this machine run `make setup` and start the "
                    "job through .venv/bin/spark-submit; on a cluster install the library that infra/jars.lock names"
                ]
            ) from error
