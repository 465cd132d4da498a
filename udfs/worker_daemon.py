"""The process that Spark forks Python workers from, with the slow imports done once, before the first fork.

A worker that imports torch and scikit-learn for itself is ready after ten seconds of a core, and Spark ends idle
workers after a minute: a run of many short stages would pay that again and again. Forked from here it starts with
everything in shared memory. Named by `spark.python.daemon.module` in the one-machine profile; it knows nothing of
what the workers will run.
"""

from __future__ import annotations

import gc
import importlib
import importlib.machinery
import os
import re
import sys
from collections.abc import Callable
from typing import Any

# What Spark puts on the path of every worker: its own pyspark and py4j, and the jar that once brought them.
ZIPPED = re.compile(r"(/pyspark\.zip|-src\.zip|/spark-core_[^/]*\.jar)(/|$)")
PRELOADED = (
    *("pandas", "pyarrow.compute", "pyspark.worker", "torch", "sklearn.ensemble", "skops.io", "numba"),
    *("transformers.models.auto.modeling_auto", "transformers.models.llama.modeling_llama"),
)


def preload() -> None:
    """Import what there is of PRELOADED. Nothing may start a thread or touch a GPU: neither survives a fork."""
    for name in PRELOADED:
        try:
            importlib.import_module(name)
        except ImportError:  # an install without models: the worker that needs one says so itself
            continue
    gc.collect()
    gc.freeze()  # workers collect garbage after every task; what was imported is none


def prefer_installed() -> None:
    """Take pyspark from where it is installed: a worker reads the directory of each archive on its path anew in every
    task, a tenth of a second for Spark's largest, and compiles what it imports from one. Nothing changes where pyspark
    lies in an archive alone."""
    here = [path for path in sys.path if not ZIPPED.search(path)]
    if importlib.machinery.PathFinder.find_spec("pyspark", here) is not None:
        sys.path[:] = here
        for path in [path for path in sys.path_importer_cache if ZIPPED.search(path)]:
            del sys.path_importer_cache[path]


def quiet_at_the_end(worker: Callable[..., int]) -> Callable[..., int]:
    """pyspark's `worker`, without a traceback where Spark closed the connection while it waited for the next word.

    Spark does that to a task that is cancelled, or tried again after another worker of it died. Errors of a task's own
    code never come here as EOFError: they are sent to Spark, which tells them.
    """

    def served(*given: Any) -> int:
        try:
            return worker(*given)
        except EOFError:
            return 1  # as after a fault: this process takes no other task

    return served


def main() -> None:
    """Preload, then serve as pyspark's own daemon; Spark reads its port from stdout, so nobody else may write there."""
    told = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    prefer_installed()
    preload()
    os.dup2(told, sys.stdout.fileno())
    os.close(told)
    daemon: Any = importlib.import_module("pyspark.daemon")
    daemon.worker = quiet_at_the_end(daemon.worker)
    daemon.manager()


if __name__ == "__main__":
    main()
