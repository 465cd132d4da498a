"""What `json_mode: auto` stands for on a root: the mode its calls were made in, wherever the root tells of it.

The form of a request is part of its identity, so every job that renders requests of a root decides this here, and in
the same way; only a run makes calls for it, and only where the root knows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from pyspark.sql import functions as F

from jobs.runtime.endpoints import STRICTEST, settle_json_modes
from jobs.runtime.history import History
from jobs.runtime.runs import runs
from jobs.runtime.settings import Settings
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables
from udfs.llm.teachers import who_answers
from udfs.settings import LlmSettings

OPEN = "auto"
BY_STRICTNESS = ("schema", "object_schema", "object", "prompt")
Look = Callable[[str], str | None]  # the mode that a stage's calls were made in, where it is known


def with_json_modes(
    settings: Settings,
    stages: Sequence[Stage],
    history: History,
    calls: Tables,
    otherwise: Callable[[LlmSettings], str],
) -> Settings:
    """The settings with `json_mode: auto` decided as the root knows it, else as `otherwise` says of an endpoint.

    `calls` are the tables whose ledger the root is served from. Raises what `otherwise` does.
    """
    asking = [stage.name for stage in stages if stage.asks]
    looks = (
        in_rows(settings.llm, history),
        in_runs(settings.llm, history.tables),
        in_ledger(settings.llm, calls),
    )
    llm = settle_json_modes(settings.llm, asking, *looks, otherwise=otherwise)
    return settings.model_copy(update={"llm": llm})


def strictest(llm: LlmSettings) -> str:
    """The mode that a run would try first: for jobs that make no call."""
    return STRICTEST


def left_open(llm: LlmSettings) -> str:
    """Nothing is decided: for jobs that render no request themselves."""
    return OPEN


def decided(told: LlmSettings, now: LlmSettings, stages: Sequence[Stage]) -> dict[str, dict[str, str]]:
    """What `json_mode: auto` stood for, by stage, as a run notes it at its beginning."""
    names = [stage.name for stage in stages if stage.asks and told.of(stage.name).json_mode == OPEN]
    return {
        name: {"teacher": who_answers(one.teacher), "model": one.model, "json_mode": one.json_mode}
        for name in names
        if (one := now.of(name)).json_mode != OPEN and one.teacher != "offline"
    }


# -- where a root tells of it, the surest first ----------------------------------------------------------


def in_rows(llm: LlmSettings, history: History) -> Look:
    """As the stored rows of the stage were made."""

    def look(stage: str) -> str | None:
        last = history.last(stage)
        return None if last is None else _mode(last.made_from.get("llm", {}), llm.of(stage))

    return look


def in_runs(llm: LlmSettings, tables: Tables) -> Look:
    """As the newest run that left it open decided: one that was killed left nothing else."""
    newest_first = cache(lambda: runs(tables)[::-1])

    def look(stage: str) -> str | None:
        modes = (_mode(run.json_modes.get(stage, {}), llm.of(stage)) for run in newest_first())
        return next(filter(None, modes), None)

    return look


def in_ledger(llm: LlmSettings, tables: Tables) -> Look:
    """As most of the stage's answers in the ledger were asked for: a preview's are there, and imported ones."""
    counts = cache(lambda: _answers(tables))

    def look(stage: str) -> str | None:
        one = llm.of(stage)
        known = {mode: n for (of, model, mode), n in counts().items() if (of, model) == (stage, one.model)}
        return max(known, key=lambda mode: (known[mode], -BY_STRICTNESS.index(mode)), default=None)

    return look


def _answers(tables: Tables) -> dict[tuple[str, str, str], int]:
    """Answers of teachers behind HTTP, by stage, model and mode."""
    parameter = {name: F.get_json_object("parameters", f"$.{name}") for name in ("model", "json_mode")}
    calls = tables.read("llm_calls").where((F.col("status") == "ok") & (F.col("teacher") != "offline"))
    asked = calls.select("stage", parameter["model"].alias("model"), parameter["json_mode"].alias("json_mode"))
    rows = asked.where(F.col("json_mode").isin(*BY_STRICTNESS)).groupBy(*asked.columns).count().collect()
    return {(row["stage"], row["model"], row["json_mode"]): row["count"] for row in rows}


def _mode(made: Mapping[str, Any], llm: LlmSettings) -> str | None:
    """The mode of calls made like this, if the same model would answer them; another one may do with another form."""
    same = (made.get("teacher"), made.get("model")) == (who_answers(llm.teacher), llm.model)
    mode = made.get("json_mode")
    return str(mode) if same and mode in BY_STRICTNESS else None
