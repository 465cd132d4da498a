"""What a run did, counted: per stage rows in, kept, rejected, deferred and out, with calls and time.

Plain data and its printing; it reads no table and knows no stage by name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import fsspec

from jobs.runtime.errors import LongloomError, said
from jobs.runtime.storage_faults import storage_fault

COUNTS = (
    "rows_in", "kept", "rejected", "deferred", "out", "calls", "tokens_in", "tokens_out", "tokens_cached", "served"
)  # fmt: skip
MONEY = ("money", "saved_ledger", "saved_cache")


@dataclass
class StageTally:
    """Counts of one stage over a run; `in` = kept + rejected + deferred always holds."""

    stage: str
    rows_in: int = 0
    kept: int = 0
    rejected: int = 0
    deferred: int = 0
    out: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    served: int = 0  # requests answered from the ledger
    money: float | None = None  # USD; unknown without a price, never 0 by default
    saved_ledger: float | None = None
    saved_cache: float | None = None
    seconds: float = 0.0
    state: str = "done"

    def add(self, other: StageTally) -> None:
        """Add another execution of the same stage (rounds, deferred passes)."""
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in MONEY:
            setattr(self, name, added(getattr(self, name), getattr(other, name)))
        self.seconds += other.seconds
        self.reasons.update(other.reasons)
        if other.state == "done":
            self.state = "done"

    def require_balance(self) -> None:
        """Raise AssertionError when a row was lost or counted twice: a bug of ours."""
        if self.rows_in != self.kept + self.rejected + self.deferred:
            raise AssertionError(
                f"stage {self.stage}: {self.rows_in} rows in, but {self.kept} kept + {self.rejected} rejected "
                f"+ {self.deferred} deferred"
            )

    def as_dict(self) -> dict[str, Any]:
        return {
            "stage": self.stage,
            "in": self.rows_in,
            "kept": self.kept,
            "rejected": self.rejected,
            "deferred": self.deferred,
            "out": self.out,
            "reasons": dict(sorted(self.reasons.items())),
            "calls": self.calls,
            "tokens_in": self.tokens_in,
            "tokens_out": self.tokens_out,
            "tokens_cached": self.tokens_cached,
            "served": self.served,
            **{name: None if (sum_ := getattr(self, name)) is None else round(sum_, 6) for name in MONEY},
            "seconds": round(self.seconds, 2),
            "state": self.state,
        }


@dataclass
class Summary:
    """The account of a run."""

    run_id: str = ""
    status: str = "done"
    seconds: float = 0.0
    targets: dict[str, dict[str, int]] = field(default_factory=dict)
    stages: dict[str, StageTally] = field(default_factory=dict)
    scorers: list[dict[str, Any]] = field(default_factory=list)  # answers of sql/analysis/influence_scorers
    warnings: list[str] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set, repr=False)
    plan: list[dict[str, Any]] = field(default_factory=list)  # per stage: planned and actual; empty without a plan

    def tally(self, done: StageTally) -> None:
        if done.stage in self.stages:
            self.stages[done.stage].add(done)
        else:
            self.stages[done.stage] = replace(done, reasons=Counter(done.reasons))  # it grows, and `done` must not

    def sort(self, names: Sequence[str]) -> None:
        """Put the stages in the order a record goes through them."""
        self.stages = {name: self.stages[name] for name in names if name in self.stages}

    def warn(self, sentence: str) -> None:
        """Say a thing once, however often it is found."""
        if sentence not in self._warned:
            self._warned.add(sentence)
            self.warnings.append(sentence)

    @property
    def deferred(self) -> int:
        return sum(tally.deferred for tally in self.stages.values())

    def as_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "targets": self.targets,
            "stages": [tally.as_dict() for tally in self.stages.values()],
            **({"scorers": self.scorers} if self.scorers else {}),
            "warnings": self.warnings,
            "plan": self.plan,
        }

    def paid(self) -> dict[str, Any]:
        """What the calls came to, by stage, and what was planned: the part of the account that SQL asks for."""
        names = ("stage", "calls", "served", "tokens_in", "tokens_out", "tokens_cached", *MONEY)
        told = [tally.as_dict() for tally in self.stages.values() if tally.calls or tally.served]
        return {"costs": [{name: one[name] for name in names} for one in told], "plan": self.plan}

    def write(self, path: str) -> None:
        """Write the summary as JSON to any storage. Raises StorageFault where it is full, else LongloomError."""
        text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
        try:
            files, file = fsspec.core.url_to_fs(path)
            files.makedirs(files._parent(file), exist_ok=True)
            with files.open(file, "wb") as stream:
                stream.write(text.encode("utf-8"))
        except Exception as error:  # the clients of remote stores have errors of their own
            told = f"--summary {path}: cannot be written ({said(error)}); stage_runs in the root holds the account too"
            raise storage_fault(error, path) or LongloomError(told) from error

    def _money_lines(self) -> Iterable[str]:
        """What the calls came to, where any were made or served."""
        tallies = [tally for tally in self.stages.values() if tally.calls or tally.served]
        calls, served = sum(tally.calls for tally in tallies), sum(tally.served for tally in tallies)
        names = ("tokens_in", "tokens_cached", "tokens_out")
        tokens = [sum(getattr(tally, name) for tally in tallies) for name in names]
        if calls or served:
            yield (
                f"calls: {calls:,} made, {served:,} served from the ledger; tokens: {tokens[0]:,} in "
                f"({tokens[1]:,} of them cached), {tokens[2]:,} out"
            )
        spent, ledger, cache = (
            sum(amount for tally in tallies if (amount := getattr(tally, name)) is not None) for name in MONEY
        )
        unknown = sum(tally.calls for tally in tallies if tally.money is None)
        if spent or ledger or cache:
            least = f"at least {spent:.2f} USD spent ({unknown:,} calls at unknown prices)"
            told = least if unknown else f"{spent:.2f} USD spent"
            yield f"money: {told}; saved {ledger:.2f} by the ledger, {cache:.2f} by prefix caches"

    def lines(self) -> Iterable[str]:
        """The closing table."""
        heads = ("stage", "in", "kept", "rejected", "deferred", "out", "calls", "seconds")
        yield f"{heads[0]:<20}" + "".join(f"{head:>10}" for head in heads[1:]) + "  reasons"
        for tally in self.stages.values():
            numbers = (tally.rows_in, tally.kept, tally.rejected, tally.deferred, tally.out, tally.calls)
            told = ", ".join(f"{reason} {n}" for reason, n in tally.reasons.most_common(4))
            state = "" if tally.state == "done" else f"({tally.state})"
            yield (
                f"{tally.stage:<20}"
                + "".join(f"{number:>10,}" for number in numbers)
                + f"{tally.seconds:>10.1f}  {told or state}"
            )
        yield from self._money_lines()
        for setting, counts in self.targets.items():
            yield f"target {setting}: asked {counts['asked']}, accepted {counts['accepted']}"
        yield from self._scorer_lines()
        for warning in self.warnings:
            yield f"warning: {warning}"

    def _scorer_lines(self) -> Iterable[str]:
        """How each scorer goes with the score and with the length of the context: a degenerate norm shows here."""
        pairs = {frozenset((row["one"], row["other"])): row for row in self.scorers}
        terms = sorted({term for pair in pairs for term in pair} - {"score"})
        if terms:
            samples = max(row["samples"] for row in self.scorers)
            yield f"scorers of {samples:,} samples: rank correlation with the score, with the length; shared of the top"
        for term in terms:
            own, length = pairs[frozenset((term, "score"))], pairs.get(frozenset((term, "length")))
            told = "".join(map(_correlation, (own, length)))
            yield f"  {term:<12}{told}{own['top_overlap']:>10.0%}"


def _correlation(pair: dict[str, Any] | None) -> str:
    """Two decimals; nothing of a scorer and itself, a dash where one of the two is the same for all samples."""
    if pair is None:
        return f"{'':>10}"
    rank_correlation = pair["rank_correlation"]
    return f"{'–':>10}" if rank_correlation is None else f"{rank_correlation:>10.2f}"


def added(one: float | None, other: float | None) -> float | None:
    """The sum of two amounts, each None where it is not known or there is none."""
    return other if one is None else one + (other or 0.0)


def reason_code(reason: str) -> str:
    """A reason without the id it names: `near_duplicate:3f…` counts as `near_duplicate`."""
    head, _, tail = reason.partition(":")
    is_id = len(tail) >= 32 and all(c in "0123456789abcdef" for c in tail)
    return head if is_id else reason
