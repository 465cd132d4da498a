"""A full or refusing storage is told in one sentence, whoever met it."""

from __future__ import annotations

import errno
import importlib
import os
from unittest.mock import MagicMock

import pytest
from pyspark.errors import PySparkException

from jobs.runtime.analysis import Analyst
from jobs.runtime.errors import StorageFault
from jobs.runtime.storage_faults import storage_fault

GIVEN = {  # what each job is called with; the rest of them have tests of their own
    "ask": ["funnel"],
    "explain": ["9f"],
    "plan": [],
    "status": [],
    "forget": ["--id", "9f"],
    "maintain": [],
    "ledger": ["export"],
    "replay": ["--run", "9f", "--from", "/old"],
}


@pytest.mark.parametrize(
    ("number", "told"),
    [(errno.ENOSPC, "is full"), (errno.EROFS, "is read-only"), (errno.EACCES, "refuses access")],
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


@pytest.mark.parametrize("name", GIVEN)
def test_every_job_tells_it_with_the_same_status(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = importlib.import_module(f"jobs.{name}")
    full = PySparkException("Job aborted due to stage failure\njava.io.IOException: No space left on device\n\tat java")
    monkeypatch.setattr(job, "load_settings", MagicMock(side_effect=full))
    assert job.main([*GIVEN[name], "--root", "/disk"]) == 6
    told = capsys.readouterr().err
    assert told.startswith("longloom: the storage of /disk, or the machine's own scratch space, is full")
    assert told.count("\n") == 1 and "run again" in told
    monkeypatch.setattr(job, "load_settings", MagicMock(side_effect=KeyError("rows")))
    with pytest.raises(KeyError):
        job.main([*GIVEN[name], "--root", "/disk"])


def test_a_question_that_finds_no_room_is_not_a_wrong_question() -> None:
    tables, answer = MagicMock(state="/disk"), MagicMock()
    answer.toPandas.side_effect = PySparkException("java.io.IOException: No space left on device")
    with pytest.raises(StorageFault, match=r"/disk.* is full .*Nothing of it was changed") as told:
        Analyst(tables).collected(answer, "funnel")
    assert told.value.exit_status == 6
