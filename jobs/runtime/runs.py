"""What each run was told, kept in `stage_runs`: settings, choices, the files it saw, and how it ended.

It is what a plan is held against and what a replay repeats; secrets are not in it, for settings only name them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyspark.sql import functions as F

from jobs.runtime.history import Execution, History
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import Tables

EXECUTION = "run"  # name under which a run stands in `stage_runs`
BEGUN = "begun"
MAIN_JOB = "synthesize"


@dataclass(frozen=True)
class Run:
    """One run of the main job, or of another one that runs stages (`job`)."""

    run_id: str
    sequence: int  # of its beginning, in the order of the root
    job: str
    settings: Mapping[str, Any]
    choices: Mapping[str, Any]
    status: str  # begun (it died, or goes on), done, deferred, or why it stopped
    json_modes: Mapping[str, Any]  # by stage, what `json_mode: auto` stood for: {teacher, model, json_mode}


def begin(
    history: History,
    job: str,
    settings: Mapping[str, Any],
    choices: Mapping[str, Any],
    json_modes: Mapping[str, Any] | None = None,
) -> None:
    """Note, durably, that a run begins, what it was told, and what `json_mode: auto` stands for."""
    detail = {"job": job, "settings": dict(settings), "choices": dict(choices), "json_modes": dict(json_modes or {})}
    history.record(Execution(EXECUTION, 0, "", {}, {}, -1, BEGUN, detail), StageTally(EXECUTION))
    history.flush()


def end(history: History, status: str, paid: Mapping[str, Any] | None = None) -> None:
    """Note how it ended and what it `paid`; durable with the rest of its account."""
    done = Execution(EXECUTION, 0, "", {}, {}, -1, status.partition(":")[0], paid or {})
    history.record(done, StageTally(EXECUTION))


def runs(tables: Tables) -> list[Run]:
    """All runs of a root, in order."""
    rows = tables.read("stage_runs").where(F.col("stage") == EXECUTION).orderBy("sequence").collect()
    ended = {row["run_id"]: row["state"] for row in rows if row["state"] != BEGUN}
    begun: list[Run] = []
    for row in rows:
        if row["state"] == BEGUN:
            told = json.loads(row["detail"])
            status = ended.get(row["run_id"], BEGUN)
            modes = told.get("json_modes", {})  # older programs noted none
            run = Run(row["run_id"], row["sequence"], told["job"], told["settings"], told["choices"], status, modes)
            begun.append(run)
    return begun


def runs_since(tables: Tables, name: str) -> list[Run]:
    """The runs that began after the newest execution of `name`."""
    row = tables.read("stage_runs").where(F.col("stage") == name).agg(F.max("sequence").alias("newest")).collect()[0]
    return [run for run in runs(tables) if run.sequence > (row["newest"] or 0)]
