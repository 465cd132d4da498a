"""Executors that leave their Python workers too little are named where somebody counts."""

from __future__ import annotations

import pytest

from jobs.runtime.launch import WORKER_DAEMON
from jobs.runtime.worker_memory import beside_heap, mebibytes, shortage

YARN = {"spark.master": "yarn", "spark.executor.memory": "4743M", "spark.executor.cores": "4"}


def test_spark_alone_leaves_a_tenth_and_the_sentence_says_what_to_set() -> None:
    told = shortage(YARN)
    assert told is not None and told.startswith("executors of 4 task slots have 0.5 GiB beside their heap")
    assert "23.2" in told and "YARN may end them for it" in told and "spark.executor.memoryOverhead=24g" in told
    assert shortage({**YARN, "spark.executor.memoryOverhead": "24g"}) is None
    assert shortage({**YARN, "spark.executor.memoryOverhead": "23g"}) is not None


def test_workers_forked_from_one_process_take_less() -> None:
    told = shortage(YARN | WORKER_DAEMON)
    assert told is not None and "spark.executor.memoryOverhead=22g" in told
    k8s = YARN | WORKER_DAEMON | {"spark.master": "k8s://https://10.0.0.1:6443"}
    told = shortage(k8s)
    assert told is not None and "Kubernetes" in told and "spark.executor.memoryOverhead=9g" in told
    one = {**k8s, "spark.executor.cores": "1"}
    assert shortage({**one, "spark.executor.memory": "6g"}) is None, "Spark gives Python two fifths there"


def test_a_task_may_hold_several_cores() -> None:
    one = {**YARN, "spark.task.cpus": "4", "spark.executor.memoryOverhead": "6g"}
    assert shortage(one) is None and shortage({**one, "spark.task.cpus": "2"}) is not None


@pytest.mark.parametrize("master", ["local[2,4]", "local-cluster[2,1,1024]", "spark://10.0.0.1:7077", ""])
def test_nobody_counts_elsewhere(master: str) -> None:
    assert shortage({**YARN, "spark.master": master}) is None


@pytest.mark.parametrize(
    ("confs", "master", "granted"),
    [
        ({}, "yarn", 384),
        ({"spark.executor.memory": "10g"}, "yarn", 1024),
        ({"spark.executor.memory": "10g"}, "k8s", 4096),
        ({"spark.executor.memory": "10g", "spark.kubernetes.memoryOverheadFactor": "0.1"}, "k8s", 1024),
        ({"spark.executor.memory": "10g", "spark.executor.memoryOverheadFactor": "0.5"}, "k8s", 5120),
        ({"spark.executor.minMemoryOverhead": "1g"}, "yarn", 1024),
        ({"spark.executor.memoryOverhead": "2048", "spark.executor.memoryOverheadFactor": "0.5"}, "yarn", 2048),
        ({"spark.executor.memoryOverhead": "1g", "spark.executor.pyspark.memory": "3g"}, "yarn", 4096),
    ],
)
def test_what_is_granted_beside_the_heap(confs: dict[str, str], master: str, granted: float) -> None:
    assert beside_heap(confs, master) == granted


@pytest.mark.parametrize(
    ("size", "told"),
    [("1024", 1024), ("512m", 512), ("4g", 4096), ("4GB", 4096), ("2048k", 2), ("1t", 2**20), ("0", 0)],
)
def test_sizes_are_read_as_spark_reads_them(size: str, told: float) -> None:
    assert mebibytes(size) == told


def test_a_size_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match=r"not a size: '1\.5g'"):
        mebibytes("1.5g")
