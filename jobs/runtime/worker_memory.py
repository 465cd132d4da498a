"""Tells when executors leave their Python workers less memory than those take.

YARN and Kubernetes end a container that holds more than it asked for. Python workers live in it beside the heap, in
what `spark.executor.memoryOverhead` grants; Spark's default is a tenth of the heap.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from jobs.runtime.launch import DAEMON, WORKER_DAEMON

# GiB of the workers of one task slot at their peak (infra/README.md), forked from `udfs.worker_daemon` or not: a task
# chains several workers, others wait idle for a minute. YARN counts a page once for each process that shares it.
TAKEN = {("k8s", True): 2.1, ("k8s", False): 3.6, ("yarn", True): 5.5, ("yarn", False): 5.8}
UNITS = {"": 1, "b": 1 / 2**20, "k": 1 / 2**10, "m": 1, "g": 2**10, "t": 2**20}  # MiB
LEAST_OVERHEAD = "384m"


def shortage(confs: Mapping[str, str]) -> str | None:
    """A sentence where executors have too little beside their heap; None where they have enough or nobody counts.

    `confs` are those of a running session, so Spark has accepted them.
    """
    master = next((name for name in ("yarn", "k8s") if confs.get("spark.master", "").startswith(name)), None)
    if master is None:
        return None
    slots = max(1, int(confs.get("spark.executor.cores", "1")) // int(confs.get("spark.task.cpus", "1")))
    taken = slots * TAKEN[master, confs.get(DAEMON) == WORKER_DAEMON[DAEMON]]
    granted = beside_heap(confs, master) / 1024
    if granted >= taken:
        return None
    return (
        f"executors of {slots} task slot{'s' if slots > 1 else ''} have {granted:.1f} GiB beside their heap, and their "
        f"Python workers may take {taken:.1f}: {'YARN' if master == 'yarn' else 'Kubernetes'} may end them for it. Set "
        f"spark.executor.memoryOverhead={math.ceil(taken)}g, or fewer spark.executor.cores (infra/README.md, Memory)"
    )


def beside_heap(confs: Mapping[str, str], master: str) -> float:
    """MiB that a container of an executor may hold besides its heap."""
    heap = mebibytes(confs.get("spark.executor.memory", "1g"))
    workers = mebibytes(confs.get("spark.executor.pyspark.memory", "0"))
    if given := confs.get("spark.executor.memoryOverhead"):
        return mebibytes(given) + workers
    usual = {"yarn": "0.1", "k8s": confs.get("spark.kubernetes.memoryOverheadFactor", "0.4")}[master]
    share = float(confs.get("spark.executor.memoryOverheadFactor", usual))
    least = mebibytes(confs.get("spark.executor.minMemoryOverhead", LEAST_OVERHEAD))
    return max(least, share * heap) + workers


def mebibytes(size: str) -> float:
    """`4g`, `512m` or `1024` (MiB) as Spark reads them. Raises ValueError."""
    found = re.fullmatch(r"(\d+)\s*([bkmgt]?)b?", size.strip().lower())
    if found is None:
        raise ValueError(f"not a size: {size!r}")
    return int(found[1]) * UNITS[found[2]]
