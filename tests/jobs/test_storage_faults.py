"""A full or refusing storage is told in one sentence, whoever met it."""

from __future__ import annotations

import errno
import os

import pytest

from jobs.runtime.storage_faults import storage_fault


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "is full"), (errno.EROFS, "is read-only"), (errno.EACCES, "refuses to be written")],
)
def test_what_the_system_says_is_told_with_where_and_what_to_do(number: int, told: str) -> None:
    fault = storage_fault(OSError(number, os.strerror(number), "/disk/samples/part-0"), "/disk")
    assert fault is not None and fault.exit_status == 6
    sentence = str(fault)
    assert told in sentence and "the storage of /disk" in sentence and "/disk/samples/part-0" in sentence
    assert "What was committed stays" in sentence and "run again" in sentence


def test_a_cause_counts_and_other_errors_are_none() -> None:
    outer = RuntimeError("stage failed")
    outer.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    fault = storage_fault(outer, "/disk")
    assert fault is not None and "is full" in str(fault)
    assert storage_fault(RuntimeError("stage failed"), "/disk") is None


def test_a_long_line_of_spark_is_cut_between_words() -> None:
    tries = "a long account of tries, " * 20
    line = f"Job aborted due to stage failure: {tries}java.io.IOException: No space left on device"
    fault = storage_fault(RuntimeError(f"{line}\n\tat org.apache.spark.scheduler.DAGScheduler"), "/disk")
    assert fault is not None
    quoted = str(fault).partition("(")[2].partition(")")[0]
    assert quoted.startswith("… ") and quoted.endswith("java.io.IOException: No space left on device")
    assert len(quoted) <= 202 and quoted[2:] in line and f" {quoted[2:]}" in line
