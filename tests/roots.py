"""Small roots and inputs for tests: a runner over a temporary root, files in the shapes users have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from jobs.runtime.history import History
from jobs.runtime.ledger import Ledger
from jobs.runtime.order import ahead
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.runner import Runner
from jobs.runtime.settings import Settings, load_settings
from jobs.runtime.sources import find_inputs, register
from jobs.runtime.stage import Stage
from jobs.runtime.summary import Summary
from jobs.runtime.tables import Tables
from jobs.stages import STAGES

BY_NAME: dict[str, Stage] = {stage.name: stage for stage in STAGES}


def make_runner(spark: SparkSession, root: str, overrides: Sequence[str] = (), run_id: str = "run-1") -> Runner:
    """A runner as `jobs/synthesize.py` builds it, without lock and lineage."""
    settings: Settings = load_settings(None, list(overrides), root)
    tables = Tables(spark, settings.storage, run_id)
    suit_plans(spark, settings.storage)
    ledger = Ledger(tables, settings.llm, settings.tokenizer)
    runner = Runner(spark, settings, tables, ledger, History(tables), Summary(), lambda line: None)
    runner.ahead = partial(ahead, STAGES)
    return runner


def run_stages(runner: Runner, *names: str) -> Summary:
    """Register the inputs, run the named stages, keep their history."""
    register(runner.tables, find_inputs(runner.settings.inputs), runner.summary)
    for name in names:
        runner.run(BY_NAME[name])
    runner.history.flush()
    return runner.summary


def rows(runner: Runner, table: str) -> list[dict[str, Any]]:
    """All rows of a table, by id."""
    found = runner.tables.read(table).collect()
    return sorted((row.asDict(recursive=True) for row in found), key=lambda row: row["id"])


def write_documents(path: Path, texts: Sequence[str]) -> Path:
    """SlimPajama-shaped JSON lines."""
    lines = [json.dumps({"text": text, "meta": {"redpajama_set_name": "Test"}}) for text in texts]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_conversations(path: Path, turns: Sequence[Sequence[str]]) -> Path:
    """ShareGPT-shaped JSON lines: user and assistant by turns."""
    lines = []
    for number, texts in enumerate(turns):
        said = [{"from": "human" if i % 2 == 0 else "gpt", "value": text} for i, text in enumerate(texts)]
        lines.append(json.dumps({"id": f"c{number}", "conversations": said}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def prose(topic: str, sentences: int) -> str:
    """Plain text that differs from topic to topic and from sentence to sentence."""
    return " ".join(
        f"The {topic} report of station {number} says that sample {number * 7 % 101} grew by {number % 13} units "
        f"while the {topic} team measured valley {number * 3 % 47}."
        for number in range(sentences)
    )
