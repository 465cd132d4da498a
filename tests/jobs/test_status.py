"""The status of a root, from its tables, while somebody may be at work on it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.lock import RootLock, holder_of
from jobs.runtime.root_status import Status, TableStatus, lines, status
from jobs.stages import STAGES
from tests.sql.small_root import ROWS, SmallTables

NAMES = [stage.name for stage in STAGES]


def test_the_holder_is_told_without_touching_its_lock(tmp_path: Path) -> None:
    state = str(tmp_path)
    assert holder_of(state) is None
    with RootLock(state):
        before = (tmp_path / "_lock").read_bytes()
        holder = holder_of(state)
        assert holder is not None and (holder.pid, holder.host) == (os.getpid(), socket.gethostname())
        assert (tmp_path / "_lock").read_bytes() == before
    assert holder_of(state) is None


@pytest.mark.spark
def test_rows_are_counted_by_fate(spark: SparkSession) -> None:
    rows: dict[str, list[dict[str, Any]]] = ROWS | {
        "stage_runs": [{**run, "state": "done", "inputs": {}, "detail": "{}"} for run in ROWS["stage_runs"]]
    }
    found = status(SmallTables(spark, rows), NAMES)
    by_name = {one.stage: one for one in found.stages}
    assert by_name["samples"] == TableStatus("samples", 2, 4, 1, 0, "done")
    assert by_name["meta_records"] == TableStatus("meta_records", 2, 2, 0, 1, "done")
    assert by_name["classifier"] == TableStatus("classifier", -1, 0, 0, 0, "")
    assert found.calls == {
        "calls": 3, "failed": 1, "tokens_in": 35, "tokens_out": 3, "tokens_cached": 4, "usd": None,
    }  # fmt: skip
    told = list(lines(found))
    assert told[0] == "small: nobody is at work"
    assert "samples                     2           4         1       0  done" in told
    assert told[-2] == "calls: 3 answered (1 failed), 35 tokens in, 3 out, at a price that is not known"
    assert told[-1] == "next: 1 rows wait; run the same job again"


@pytest.mark.spark
def test_money_is_told_at_the_prices_of_the_newest_run(spark: SparkSession) -> None:
    """Calls by batch files count half."""
    llm = {"teacher": "openai", "model": "fake", "price_input": 1e6, "price_output": 2e6, "price_cached": 5e5}
    begun = {"stage": "run", "state": "begun", "run_id": "r", "sequence": 1, "epoch": 0, "inputs": {}, "seconds": 0.0,
             "recipe": "", "made_from": "{}", "output_version": -1,
             "detail": json.dumps({"job": "synthesize", "settings": {"llm": llm}, "choices": {}})}  # fmt: skip
    calls = [{**one, "teacher": "openai_batch" if one["stage"] == "samples" else "openai"} for one in ROWS["llm_calls"]]
    found = status(SmallTables(spark, ROWS | {"stage_runs": [begun], "llm_calls": calls}), NAMES)
    assert found.calls["usd"] == pytest.approx((30 - 4 + 4 / 2 + 3 * 2) / 2 + 5)
    assert list(lines(found))[-2] == "calls: 3 answered (1 failed), 35 tokens in, 3 out, 22.00 USD"


def test_what_comes_next() -> None:
    done = (TableStatus("samples", 3, 5, 1, 0, "done"),)
    calls = {"calls": 0, "failed": 0, "tokens_in": 0, "tokens_out": 0, "usd": 0.0}
    assert list(lines(Status("r", None, done, calls, 0, 0)))[-1].startswith("next: jobs/report.py")
    unfinished = (*done, TableStatus("training_set", -1, 0, 0, 0, ""))
    assert list(lines(Status("r", None, unfinished, calls, 0, 0)))[-1].startswith("next: there is no training_set yet")
    held = list(lines(Status("r", "process 7 on h", done, calls, 2, 3)))
    assert held[0] == "r: held by process 7 on h" and held[-1] == "next: the run goes on; ask again"
    assert held[-2].endswith("2 newer ones in the spool; 3 batches outstanding")
