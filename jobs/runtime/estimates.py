"""Low, expected and high: the arithmetic of a plan, and the assumptions it rests on until calls were measured.

Pure numbers; no table is read here and no stage is known by more than the name of its task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from udfs.llm.prices import BATCH_SHARE, MILLION, Price


@dataclass(frozen=True)
class Range:
    """A number that is not known exactly."""

    low: float
    expected: float
    high: float

    @classmethod
    def exactly(cls, value: float) -> Range:
        return cls(value, value, value)

    @classmethod
    def about(cls, value: float, relative: float) -> Range:
        """`value`, give or take this share of it."""
        return cls(value * max(0.0, 1 - relative), value, value * (1 + relative))

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.expected + other.expected, self.high + other.high)

    def __mul__(self, other: Range | float) -> Range:
        by = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low * by.low, self.expected * by.expected, self.high * by.high)

    def less(self, value: float) -> Range:
        """Without `value`, never below 0."""
        return Range(*(max(0.0, mine - value) for mine in (self.low, self.expected, self.high)))

    def at_most(self, limit: float) -> Range:
        return Range(min(self.low, limit), min(self.expected, limit), min(self.high, limit))

    def at_least(self, limit: float) -> Range:
        return Range(max(self.low, limit), max(self.expected, limit), max(self.high, limit))

    def as_dict(self, digits: int = 0) -> dict[str, float]:
        held = {"low": self.low, "expected": self.expected, "high": self.high}
        return {name: round(value, digits) if digits else round(value) for name, value in held.items()}


NOTHING = Range.exactly(0)

# Assumptions, each replaced by what the ledger metered as soon as it holds LEAST_MEASURED calls of the task.
LEAST_MEASURED = 5
REPLY_TOKENS: Mapping[str, Range] = {
    "meta": Range(110, 230, 500),
    "type_label": Range(6, 12, 40),
    "document_label": Range(6, 12, 40),
    "task_rewrite": Range(12, 30, 90),
    "instruction": Range(30, 70, 200),
    "answer": Range(250, 800, 2000),
    "answerability": Range(25, 60, 150),
}
CORRECTED = Range(0.0, 0.02, 0.10)  # share of replies that need the correction turn
REWRITES_PER_CONVERSATION = Range(0.8, 2.5, 5.0)  # distinct task values and its simplified instruction
SAMPLES_PER_ACCEPTED = Range(1.0, 1.25, 2.5)
FOLLOWED = Range(0.6, 0.95, 1.0)  # share of answers that say there is one, so that a follow-up has something to ask
REDRAWS = Range(0.0, 0.1, 0.4)  # share of answers that fail the gates of evidence, so that they are drawn once more
NAMINGS_PER_TYPE = Range(1.0, 1.1, 3.0)  # a label that is taken is asked for again, twice at most
WALKS_PER_PAIRING = Range(1.0, 1.05, 1.4)  # instructions that repeat an earlier one are not paired
STAND_IN = 0.35  # how far prompts of paths and values that do not exist yet may be off
SMALLEST_DOUBT = 0.05


@dataclass(frozen=True)
class Measured:
    """What the ledger metered of one task: answered calls, means per call, and how replies spread."""

    calls: int
    tokens_in: float
    tokens_out: float
    spread_out: float  # standard deviation of reply tokens
    corrected: float  # share with a correction turn

    @property
    def counts(self) -> bool:
        return self.calls >= LEAST_MEASURED and self.tokens_in > 0


def mean_doubt(mean: float, spread: float, count: int) -> float:
    """Relative half width of the 95 % interval of a mean, never below SMALLEST_DOUBT."""
    if mean <= 0 or count < 1:
        return SMALLEST_DOUBT
    return max(SMALLEST_DOUBT, 2 * spread / (mean * math.sqrt(count)))


def share_seen(seen: int, among: int, assumed: Range) -> Range:
    """A share with its 95 % interval, by what was seen; `assumed` until there are LEAST_MEASURED to go by."""
    if among < LEAST_MEASURED:
        return assumed
    share = seen / among
    doubt = 2 * math.sqrt(share * (1 - share) / among) if 0 < seen < among else 3 / among  # or the rule of three
    return Range(max(0.0, share - doubt), share, min(1.0, share + doubt))


def tries_per_success(share: Range) -> Range:
    """How many are tried for one that succeeds, by the share of them that do; where few do, twice as many at most."""
    return Range(1 / share.high, 1 / share.expected, 1 / max(share.low, min(0.1, share.expected / 2)))


def reply_tokens(task: str, measured: Measured | None, most: int) -> Range:
    """Tokens of one reply."""
    if measured is not None and measured.counts:
        doubt = mean_doubt(measured.tokens_out, measured.spread_out, measured.calls)
        return Range.about(measured.tokens_out, doubt).at_most(most)
    return REPLY_TOKENS[task].at_most(most)


def turns_per_call(measured: Measured | None) -> Range:
    """1 and the share of calls that get a correction turn."""
    corrected = CORRECTED
    if measured is not None and measured.counts:
        corrected = Range(measured.corrected / 2, measured.corrected, measured.corrected * 2 + 0.02)
    return Range.exactly(1) + corrected


@dataclass(frozen=True)
class StagePlan:
    """What one stage will ask for: totals over the calls that the ledger lacks, and what they cost (US dollars)."""

    stage: str
    calls: Range = NOTHING
    tokens_in: Range = NOTHING
    tokens_out: Range = NOTHING
    money: Range | None = NOTHING  # None when the price is unknown and there is something to pay
    basis: str = "nothing to ask"

    def as_dict(self) -> dict[str, Any]:
        """Plain data; money is null when it is unknown."""
        batch = None if self.money is None else (self.money * BATCH_SHARE).as_dict(6)
        return {
            "stage": self.stage,
            "calls": self.calls.as_dict(),
            "tokens_in": self.tokens_in.as_dict(),
            "tokens_out": self.tokens_out.as_dict(),
            "money": None if self.money is None else self.money.as_dict(6),
            "money_batch": batch,
            "basis": self.basis,
        }


def planned(
    stage: str,
    task: str,
    calls: Range,
    tokens_in: Range,
    measured: Measured | None,
    most: int,
    price: Price | None,
    basis: str,
) -> StagePlan:
    """The plan of a stage from its calls, the prompt tokens of one call, and what is known of replies."""
    if calls.high <= 0:
        return StagePlan(stage)
    turns = calls * turns_per_call(measured)
    read, written = turns * tokens_in, turns * reply_tokens(task, measured, most)
    money = None if price is None else (read * price.input + written * price.output) * (1 / MILLION)
    return StagePlan(stage, calls, read, written, money, basis)


def merged(one: StagePlan, two: StagePlan) -> StagePlan:
    """Two parts of one stage as one plan."""
    parts = [part for part in (one, two) if part.calls.high > 0]
    return replace(total(parts), stage=one.stage, basis="; ".join(part.basis for part in parts) or one.basis)


def total(stages: Sequence[StagePlan]) -> StagePlan:
    """All stages together; what one of them costs being unknown, so is the sum."""
    sums = {name: sum((getattr(one, name) for one in stages), NOTHING) for name in ("calls", "tokens_in", "tokens_out")}
    known = [one.money for one in stages if one.money is not None]
    return StagePlan("total", **sums, money=sum(known, NOTHING) if len(known) == len(stages) else None, basis="")


def assumptions() -> list[str]:
    """The assumptions in words."""

    def told(value: Range) -> str:
        return f"{value.expected:g} ({value.low:g}–{value.high:g})"

    replies = ", ".join(f"{task} {told(value)}" for task, value in REPLY_TOKENS.items())
    return [
        f"reply tokens per call: {replies}",
        f"correction turns per call: {told(CORRECTED)}",
        f"rewrites per conversation: {told(REWRITES_PER_CONVERSATION)}",
        f"samples asked for per accepted one: {told(SAMPLES_PER_ACCEPTED)}",
        f"second draws per answer, where they are switched on: {told(REDRAWS)}",
        f"answerability calls per answer, where they are switched on: {told(FOLLOWED)}",
        "what a prefix cache saves is not counted",
    ]
