"""How rounds come to their end, without Spark: what is counted then, what is told, and what makes them start again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from jobs.runtime import rounds
from jobs.runtime.history import ROUNDS, Execution
from jobs.runtime.rounds import READS, ROUND, Supply, rounds_settled, run_rounds
from jobs.runtime.runner import Runner
from jobs.runtime.settings import Settings
from jobs.runtime.summary import StageTally, Summary

STAGES: dict[str, Any] = {name: name for name in ROUND}
State = dict[tuple[str, str], Supply]


class Tables:
    """Inputs that never change, and no table of rows that wait."""

    def version(self, name: str) -> int:
        assert name in (*READS, "walks", "pairings")
        return 0

    def exists(self, name: str) -> bool:
        return False


class History:
    """The end of the rounds, and of `samples` what it read."""

    def __init__(self) -> None:
        self.ended: Execution | None = None
        self.paired = 0

    def last(self, stage: str) -> Execution | None:
        samples = Execution("samples", 0, "", {}, {"pairings": self.paired}, 0, "done")
        return {ROUNDS: self.ended, "samples": samples}.get(stage)

    def epoch(self, stage: str) -> int:
        return 0

    def record(self, done: Execution, tally: StageTally) -> None:
        self.ended = done


@dataclass
class Root:
    """A root on which every round accepts `per_round` samples at most, one for each walk."""

    state: State
    per_round: int = 4
    settings: Settings = field(default_factory=Settings)
    summary: Summary = field(default_factory=Summary)
    tables: Tables = field(default_factory=Tables)
    history: History = field(default_factory=History)
    rounds: int = 0

    def recipe(self, stage: str) -> dict[str, Any]:
        return {}

    def run(self, stage: str) -> StageTally:
        return StageTally(stage)

    def say(self, sentence: str) -> None:
        """Nobody listens."""

    def round(self, wanted: Mapping[tuple[str, str], int]) -> bool:
        """What one round does to the state."""
        self.rounds += 1
        for key, count in wanted.items():
            held, made = self.state[key], min(count, self.per_round)
            self.state[key] = replace(
                held, accepted=held.accepted + made, answered=held.answered + made, next_walk=held.next_walk + made
            )
        return True

    def again(self, **changes: Any) -> dict[str, dict[str, int]]:
        """Another run with these targets and walks; the targets of its summary."""
        self.settings, self.summary = Settings.model_validate(changes), Summary()
        run_rounds(cast(Runner, self), STAGES)
        return self.summary.targets

    @property
    def settled(self) -> bool:
        return rounds_settled(cast(Runner, self), STAGES)


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Root:
    made = Root({("single", "news"): Supply(1.0, 0, 0, 0, 0, documents=99)})
    monkeypatch.setattr(rounds, "read_state", lambda runner: dict(runner.state))
    monkeypatch.setattr(rounds, "_round", lambda runner, stages, state, wanted: runner.round(wanted))
    return made


def targets(single: int, max_rounds: int) -> dict[str, int]:
    return {"single": single, "multi": 0, "max_rounds": max_rounds}


def test_samples_of_the_last_round_are_counted(root: Root) -> None:
    assert root.again(targets=targets(10, 2))["single"] == {"asked": 10, "accepted": 8}
    assert root.rounds == 2 and root.history.ended is not None
    assert root.history.ended.detail["accepted"] == {"single": 8, "multi": 0}
    (warning,) = root.summary.warnings
    assert "targets.single: asked 10, accepted 8" in warning
    assert "targets.max_rounds = 2" in warning and "another run goes on" in warning and "used up" not in warning


def test_rounds_that_ended_at_their_limit_go_on_in_another_run(root: Root) -> None:
    root.again(targets=targets(10, 1))
    assert not root.settled
    assert root.again(targets=targets(10, 1))["single"]["accepted"] == 8 and not root.settled, "just run again"
    assert root.again(targets=targets(10, 5))["single"]["accepted"] == 10 and root.settled, "the limit was raised"
    assert root.rounds == 3 and root.summary.warnings == []


def test_an_end_at_the_limit_takes_the_place_of_an_earlier_end(root: Root) -> None:
    """On the same inputs and for the same targets: samples that were met went, as after a retry of rejected calls."""
    root.again(targets=targets(8, 5))
    assert root.settled
    root.state["single", "news"], root.history.paired = Supply(1.0, 0, 0, 0, 8, documents=99), -1
    root.again(targets=targets(8, 1))
    root.history.paired = 0
    assert not root.settled


def test_targets_that_the_last_round_meets_are_settled(root: Root) -> None:
    assert root.again(targets=targets(8, 2))["single"]["accepted"] == 8
    assert root.rounds == 2 and root.settled and root.summary.warnings == []


def test_a_supply_used_up_at_the_bound_of_candidates_goes_on_when_it_is_raised(root: Root) -> None:
    root.state["single", "news"] = Supply(1.0, 2, 9, 0, 20, documents=99)  # two of twenty walks were worth it
    kept = {"targets": targets(10, 5)}
    root.again(**kept, walks={"max_candidates_per_target": 2})
    assert root.rounds == 0 and root.settled and "supply is used up" in root.summary.warnings[0]
    root.again(**kept, walks={"max_candidates_per_target": 2})
    assert root.rounds == 0, "nothing has changed"
    assert root.again(**kept, walks={"max_candidates_per_target": 20})["single"]["accepted"] == 10
    assert root.rounds == 2 and root.settled
