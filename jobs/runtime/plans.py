"""A plan as it is made, kept in the root, printed, and held against what a run really asked.

The figures are the planner's; prices come from the dated table.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Row, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.costs import price_share
from jobs.runtime.errors import RecipeChanged, SettingsFault
from jobs.runtime.estimates import Range, StagePlan, assumptions, total
from jobs.runtime.history import Execution, History
from jobs.runtime.json_modes import strictest
from jobs.runtime.opening import PREVIEW, opened
from jobs.runtime.planning import plan_run
from jobs.runtime.rendered import teacher_of
from jobs.runtime.restart import require_recipes
from jobs.runtime.runner import Runner
from jobs.runtime.runs import runs_since
from jobs.runtime.settings import Settings, StorageSettings
from jobs.runtime.sources import Seen, find_inputs, inputs_of, unread
from jobs.runtime.stage import Stage
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import Tables
from udfs.llm.prices import BATCH_SHARE, Price, price_of, share_of_price, table_date
from udfs.llm.settled import TOKENS
from udfs.settings import LlmSettings
from udfs.tokens import TokenizerUnavailable, tokenizer_identity

BUDGET_MB = 64.0
EXECUTION = "plan"  # name under which a plan stands in `stage_runs`
FIGURES = ("calls", "tokens_in", "tokens_out")


@dataclass(frozen=True)
class Plan:
    """What a run would ask, stage by stage, and what that would cost."""

    stages: list[StagePlan]
    models: Mapping[str, Price | None]  # of the stages that have something to ask
    read: Mapping[str, Any]  # how much of the input was read
    warnings: list[str]

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "prices": {name: None if price is None else price._asdict() for name, price in self.models.items()},
            "price_table": table_date(),
            "sample": dict(self.read),
            "stages": [stage.as_dict() for stage in self.stages],
            "total": total(self.stages).as_dict(),
            "assumptions": assumptions(),
            "warnings": self.warnings,
        }

    def lines(self) -> Iterable[str]:
        """The plan as a table."""
        for kind, told in self.read.items():
            yield (
                f"{kind}: {told['files_read']} of {told['files']} new files read"
                + (f", the rest taken as alike (×{told['scale']:.2f})" if told["scale"] > 1 else "")
            )
        yield _row("stage", 28, "calls", "tokens in", "tokens out", "USD online", "USD batch")
        for stage in [*self.stages, total(self.stages)]:
            counts = (_count(stage.calls), _count(stage.tokens_in), _count(stage.tokens_out))
            batch = None if stage.money is None else stage.money * BATCH_SHARE
            yield _row(stage.stage, 28, *counts, _usd(stage.money), _usd(batch))
        yield from (f"  {stage.stage}: {stage.basis}" for stage in self.stages)
        for name, price in self.models.items():
            dear = "unknown" if price is None else f"{price.input:g} in, {price.output:g} out per million tokens"
            yield f"price of {name} (USD, {table_date()}): {dear}"
        yield from (f"assumed until measured: {sentence}" for sentence in assumptions())
        yield from (f"warning: {sentence}" for sentence in self.warnings)


def make_plan(spark: SparkSession, settings: Settings, stages: Sequence[Stage], budget: int) -> Plan:
    """Plan the next run on the root and keep the plan there. No call is made.

    Raises SettingsFault when inputs or models are not there, RootHeld while a run holds the root.
    """
    try:
        tokenizer_identity(settings.tokenizer)
    except TokenizerUnavailable as error:
        raise SettingsFault([f"tokenizer: {error}"]) from error
    began = time.monotonic()
    unknown: list[LlmSettings] = []

    def assumed(llm: LlmSettings) -> str:
        unknown.append(llm)
        return strictest(llm)

    with opened(spark, settings, lambda line: None, True, stages, assumed) as runner:
        settings = runner.settings
        runner.ledger.fold()  # what a killed run left in the spool need not be asked again
        files = unread(runner.tables, find_inputs(inputs_of(settings, runner.tables.state), Seen(runner.tables)))
        planner = plan_run(runner, stages, files, budget, preview_tables(spark, runner.tables.state))
        made = planner.plan()
        planner.warnings.extend(_not_settled(llm) for llm in unknown)
        try:
            require_recipes(tuple(stages), settings, runner.tables, runner.history, ())
        except RecipeChanged as error:
            planner.warnings.append(f"counted as if what changed were started again, for {error}")
        read = {
            name: {"files": one.files, "files_read": one.files_read, "scale": round(one.scale, 4)}
            for name, one in (("conversations", planner.conversations), ("documents", planner.documents))
        }
        asking = [teacher_of(runner, one.stage) for one in made if one.calls.high > 0]
        plan = Plan(made, {llm.model: price_of(llm) for llm in asking}, read, planner.warnings)
        done = Execution(EXECUTION, 0, "", {}, {}, -1, "done", plan.as_dict())
        runner.history.record(done, StageTally(EXECUTION, seconds=time.monotonic() - began))
    return plan


def _not_settled(llm: LlmSettings) -> str:
    """What a plan says where only a call could tell the form of replies."""
    return (
        f"llm.json_mode is auto and the root knows of no call to {llm.model} at {llm.base_url} yet: counted as with "
        f"{strictest(llm)}. A run asks the endpoint first; with object or prompt each prompt is longer by its schema"
    )


def preview_tables(spark: SparkSession, state: str) -> Tables:
    """The tables of a root's preview."""
    return Tables(spark, StorageSettings(root=f"{state}/{PREVIEW}"))


def against_plan(runner: Runner, history: History) -> list[dict[str, Any]]:
    """Planned and actual figures per stage of the runs since the newest plan; empty where none is open.

    A plan is for the run after it, and for those that end what that one began. Planned money is told as calls
    are paid that are made as the settings now say: a plan itself tells it online, and by batch beside it.
    """
    plan = history.last(EXECUTION)
    runs = runs_since(runner.tables, EXECUTION) if plan is not None else []
    if plan is None or not runs or "done" in [run.status for run in runs[:-1]]:
        return []
    first, answered = F.col("parent_key").isNull(), F.col("status").isin("ok", "lasting")
    calls = runner.tables.read("llm_calls").where(F.col("run_id").isin([run.run_id for run in runs]))
    rows = calls.groupBy("stage").agg(
        F.count_distinct(F.when(first & answered, F.col("key"))).alias("calls"),
        F.sum("tokens_in").alias("tokens_in"),
        F.sum("tokens_out").alias("tokens_out"),
        F.sum("tokens_cached").alias("tokens_cached"),
        *[F.sum(F.col(name) * price_share("teacher")).alias(f"{name}_billed") for name in TOKENS],
    )
    actual = {row["stage"]: row for row in rows.collect()}
    return [
        compared(planned, actual.get(planned["stage"]), teacher_of(runner, planned["stage"]))
        for planned in plan.detail["stages"]
    ]


def compared(planned: Mapping[str, Any], row: Row | Mapping[str, Any] | None, llm: LlmSettings) -> dict[str, Any]:
    """A stage's plan and what its calls came to, both at the price of the way in which `llm` has them made.

    `row` has the counts, and tokens at the share of the price that they were billed at; None where nothing was asked.
    """
    counts = {name: (row[name] or 0) if row else 0 for name in (*FIGURES, "tokens_cached")}
    billed = [(row[f"{name}_billed"] or 0) if row else 0 for name in TOKENS]
    price, share, online = price_of(llm), share_of_price(llm.teacher), planned["money"]
    expected = None if online is None else {name: usd * share for name, usd in online.items()}
    spent = price.cost(*billed) if price else None
    money = spent if counts["calls"] else 0.0
    return {
        "stage": planned["stage"],
        "planned": {**planned, "money": expected},
        "actual": {**counts, "money": money},
    }


def comparison_lines(told: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Planned against actual, as a table."""
    if not told:
        return
    yield _row("planned / actual", 36, "calls", "tokens in", "tokens out", "USD")
    for one in told:
        planned, actual = one["planned"], one["actual"]
        texts = [f"{_count(Range(**planned[name]))} / {actual[name]:,}" for name in FIGURES]
        money, spent = planned["money"], actual["money"]
        texts.append("unknown" if money is None or spent is None else f"{_usd(Range(**money))} / {spent:.4g}")
        yield _row(one["stage"], 36, *texts)


def _row(name: str, width: int, *texts: str) -> str:
    return f"{name:<16}" + "".join(f"  {text:>{width}}" for text in texts)


def _count(value: Range) -> str:
    if round(value.low) == round(value.high):
        return f"{value.expected:,.0f}"
    return f"{value.expected:,.0f} ({value.low:,.0f}–{value.high:,.0f})"


def _usd(value: Range | None) -> str:
    if value is None:
        return "unknown"
    if value.high == 0:
        return "0"
    return f"{value.expected:.4g} ({value.low:.4g}–{value.high:.4g})"
