"""Rounds of walks, instructions, pairings and samples until the targets of accepted samples are met.

It plans how much is wanted of each (setting, type); the stages decide which rows those are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pyspark.sql import DataFrame

import sql
from jobs.runtime.history import ROUNDS, Execution
from jobs.runtime.quotas import allocate, mix_distance, shortages
from jobs.runtime.runner import Runner
from jobs.runtime.settings import TargetSettings
from jobs.runtime.stage import Stage
from jobs.runtime.summary import StageTally

READS = ("conversation_types", "nodes", "edges", "seed_paths", "typed_documents", "long_documents")
MOST_PER_SAMPLE = 4  # however bad a type's samples were so far, no more than this is asked for one
ROUND = ("walks", "instructions", "pairings", "samples")


@dataclass(frozen=True)
class Supply:
    """Where one (setting, document type) stands."""

    share: float  # of the conversations
    accepted: int
    answered: int  # samples made, rejected ones included
    instructions: int  # kept and not yet paired
    next_walk: int
    documents: int  # that may still be drawn

    def asking(self, need: int, setting: str) -> int:
        """How many to ask for so that `need` are accepted, at the rate seen so far.

        A type whose samples were rejected would otherwise take a round for each one that is missing; what
        comes out too many is `over_target`. No more than there are documents for.
        """
        if not self.answered:
            return need
        rate = max(self.accepted / self.answered, 1 / MOST_PER_SAMPLE)
        return min(math.ceil(need / rate), max(need, self.documents // documents_of(setting)))

    def room(self, setting: str, cap: int) -> int:
        """Samples this type could still come to: documents and candidates both bound it."""
        candidates = self.instructions + max(0, cap - self.next_walk)
        return self.accepted + min(self.documents // documents_of(setting), candidates)


def documents_of(setting: str) -> int:
    """Documents that a sample has."""
    return 2 if setting == "multi" else 1


@dataclass(frozen=True)
class End:
    """How the rounds of a pass ended: what was there then, and why no further round was run."""

    accepted: Mapping[str, int]  # per setting
    short: Mapping[str, Mapping[str, int]]  # of the mix, per setting and type
    mix: Mapping[str, float]  # distance from the conversations' types, per setting
    at_limit: bool = False  # a further round had something to ask for


def run_rounds(runner: Runner, stages: Mapping[str, Stage]) -> None:
    """Run rounds until targets are met, supply is used up, `targets.max_rounds` is reached, or a row must wait.

    A supply that is used up is stored with its input versions and not tried again until they change; an end at the
    limit is stored too, and the next run goes on from there.
    """
    asked = wanted_samples(runner.settings.targets)
    versions, plan = _versions(runner), _plan(runner, stages)
    last = runner.history.last(ROUNDS)
    if last is not None and rounds_settled(runner, stages):
        _report(runner, asked, last.detail["accepted"], last.detail["short"], "supply is used up")
        for name in ROUND:
            runner.summary.tally(StageTally(name, state="unchanged"))
        return
    end = _rounds(runner, stages, asked)
    why = "supply is used up"
    if end.at_limit:
        why = f"the limit of rounds was reached (targets.max_rounds = {runner.settings.targets.max_rounds}), "
        why += "another run goes on"
    if _open_deferrals(runner):
        why = "rows wait for their calls; run again"
        state = read_state(runner)
        end = replace(end, accepted={setting: _accepted(state, setting) for setting in asked})
    else:
        detail = {"plan": plan, **asdict(end)}
        made = Execution(ROUNDS, runner.history.epoch(ROUNDS), "", {}, versions, -1, "done", detail)
        runner.history.record(made, StageTally(ROUNDS))
    _report(runner, asked, end.accepted, end.short, why)
    for setting, distance in sorted(end.mix.items()):
        runner.say(f"mix of {setting}: Jensen–Shannon distance {distance:.3f} from the conversations' types")


def _rounds(runner: Runner, stages: Mapping[str, Stage], asked: Mapping[str, int]) -> End:
    """The rounds of one pass, as many as `targets.max_rounds` at most."""
    cap, targets = runner.settings.walks.max_candidates_per_target, runner.settings.targets
    end = End({}, {}, {})
    for left in range(targets.max_rounds, -1, -1):
        if runner.run(stages["instructions"]).deferred or runner.run(stages["samples"]).deferred:
            break
        state = read_state(runner)  # after the last round too: its samples count
        quotas, accepted, short = plan_round(state, asked, cap, targets.expected_acceptance)
        end = End(accepted, short, {setting: _mix(state, setting) for setting in asked}, bool(quotas) and not left)
        if not quotas or not left or not _round(runner, stages, state, quotas):
            break
    return end


def rounds_settled(runner: Runner, stages: Mapping[str, Stage]) -> bool:
    """Whether rounds came to their end on what is there now, and no row of theirs waits or was not read.

    Candidates of a round that was cut off are there to be read, also when the targets are those of the last end again.
    """
    last = runner.history.last(ROUNDS)
    if last is None or dict(last.inputs) != _versions(runner) or last.detail.get("plan") != _plan(runner, stages):
        return False
    if last.detail.get("at_limit"):  # an end of this pass, not of the supply
        return False
    read = {"instructions": "walks", "samples": "pairings"}
    for name, driving in read.items():
        mine = runner.history.last(name)
        if mine is not None and mine.inputs.get(driving) != runner.tables.version(driving):
            return False
    return not _open_deferrals(runner)


def wanted_samples(targets: TargetSettings) -> dict[str, int]:
    """Accepted samples asked for per setting."""
    return {"single": targets.single, "multi": targets.multi}


def _versions(runner: Runner) -> dict[str, int]:
    return {name: runner.tables.version(name) for name in READS}


def _plan(runner: Runner, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """What rounds are run for and with: where any of it changes, a supply that was used up may be none any more."""
    return {
        "targets": wanted_samples(runner.settings.targets),
        "candidates": runner.settings.walks.max_candidates_per_target,
        "recipes": {name: runner.recipe(stages[name]) for name in ROUND},
    }


def _accepted(state: Mapping[tuple[str, str], Supply], setting: str) -> int:
    return sum(supply.accepted for (name, _), supply in state.items() if name == setting)


def _mix(state: Mapping[tuple[str, str], Supply], setting: str) -> float:
    here = {kind: supply for (name, kind), supply in state.items() if name == setting}
    shares = {kind: supply.share for kind, supply in here.items()}
    return mix_distance(shares, {kind: supply.accepted for kind, supply in here.items()})


def plan_round(
    state: Mapping[tuple[str, str], Supply], asked: Mapping[str, int], cap_per_target: int, expected: float = 1.0
) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, dict[str, int]]]:
    """(wanted pairings per (setting, type), accepted per setting, shortage per setting and type).

    `expected` is the share of samples that is accepted where none was answered yet.
    """
    wanted: dict[tuple[str, str], int] = {}
    accepted: dict[str, int] = {}
    short: dict[str, dict[str, int]] = {}
    for setting, target in asked.items():
        here = {kind: supply for (name, kind), supply in state.items() if name == setting}
        shares = {kind: supply.share for kind, supply in here.items()}
        cap = cap_per_target * max(1, target)
        room = {kind: supply.room(setting, cap) for kind, supply in here.items()}
        accepted[setting] = _accepted(state, setting)
        quota = allocate(target, shares, room)
        short[setting] = shortages(target, shares, quota) if shares else {}
        if not any(supply.answered for supply in here.values()):
            target = math.ceil(target / expected)
            quota = allocate(target, shares, room)
        # A type above its quota leaves the others lacking more than is missing: it goes by what each of them lacks.
        lacking = {kind: max(0, quota[kind] - here[kind].accepted) for kind in here}
        for kind, need in allocate(max(0, target - accepted[setting]), lacking, lacking).items():
            if need:
                wanted[setting, kind] = here[kind].asking(need, setting)
    return wanted, accepted, short


def read_state(runner: Runner) -> dict[tuple[str, str], Supply]:
    """One query over the tables of a round: where each (setting, type) stands."""
    tables = runner.tables
    frames = {name: tables.read(name) for name in ("seed_paths", "typed_documents", "long_documents", *ROUND)}
    drawn = ("pairings", "samples", "typed_documents", "long_documents")
    draws = {"max_draws": runner.settings.documents.max_draws}
    supply: dict[str, Any] = {name: frames[name] for name in drawn}
    available = sql.run("available_documents", draws, **supply)
    counted = ("seed_paths", "walks", "instructions", "pairings", "samples")
    held: dict[str, Any] = {name: frames[name] for name in counted}
    rows = sql.run("round_state", available=available, **held).collect()
    return {
        (r["setting"], r["document_type"]): Supply(
            r["share"], r["accepted"], r["answered"], r["instructions"], r["next_walk"], r["documents"]
        )
        for r in rows
    }


def _round(
    runner: Runner,
    stages: Mapping[str, Stage],
    state: Mapping[tuple[str, str], Supply],
    wanted: Mapping[tuple[str, str], int],
) -> bool:
    """One round; False when rows must wait or nothing came of it."""
    walks = {key: count - state[key].instructions for key, count in wanted.items()}
    walks = {key: count for key, count in walks.items() if count > 0}
    if walks:
        asked = [(*key, state[key].next_walk, count) for key, count in sorted(walks.items())]
        runner.run(stages["walks"], _frame(runner, asked, "first_index bigint, count bigint"))
        if runner.run(stages["instructions"]).deferred:
            return False
    rows = [(*key, count) for key, count in sorted(wanted.items())]
    paired = runner.run(stages["pairings"], _frame(runner, rows, "count bigint"))
    if not paired.kept:
        return bool(walks)  # all candidates were rejected: the next round draws further ones
    return not runner.run(stages["samples"]).deferred


def _frame(runner: Runner, rows: Sequence[tuple[object, ...]], columns: str) -> DataFrame:
    return runner.spark.createDataFrame(rows, f"setting string, document_type string, {columns}")


def _open_deferrals(runner: Runner) -> bool:
    if not runner.tables.exists("deferrals"):
        return False
    return any(not runner.history.open_deferrals(name).isEmpty() for name in ("instructions", "samples"))


def _report(
    runner: Runner,
    asked: Mapping[str, int],
    accepted: Mapping[str, int],
    short: Mapping[str, Mapping[str, int]],
    why: str,
) -> None:
    """Targets into the summary; one that is not met says `why`."""
    for setting, target in asked.items():
        done = accepted.get(setting, 0)
        runner.summary.targets[setting] = {"asked": target, "accepted": min(done, target)}
        lacking = ", ".join(f"{kind} {count}" for kind, count in sorted(short.get(setting, {}).items()))
        if done < target:
            runner.summary.warn(
                f"targets.{setting}: asked {target}, accepted {done}; {why}"
                + (f" (short of the mix: {lacking}). Add documents of these types." if lacking else ".")
            )
        elif lacking:
            runner.summary.warn(
                f"targets.{setting} met, but not in the conversations' mix: {lacking} short for want of documents, "
                "redistributed to the other types by their shares"
            )
