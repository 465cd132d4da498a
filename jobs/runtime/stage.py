"""The stage contract: what a stage reads, writes and is made of, read from its own signature.

It does not run anything; `runner` does, and knows storage and lineage, which a stage never sees.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, get_args, get_type_hints

from pyspark.sql import DataFrame, Row

from udfs.llm.follow_ups import Following

# How driving rows are accounted for. rows: one row comes of each; inputs: many, traced by their first parent;
# batch: rows are aggregated, every driving row contributes.
Counts = Literal["rows", "inputs", "batch"]
Mode = Literal["streams", "fits", "tops_up", "replaces"]
Fitted = list[Row]  # a fitted table, small by nature, handed to a stage as rows
AllRows = Annotated[DataFrame, "rejected rows too"]  # other frames hold kept rows only
SPECIAL = frozenset({"wanted", "versions", "teach", "seed", "epoch"})  # keyword-only, not a section


@dataclass(frozen=True)
class Shared:
    """What a stage returns when its tables grow from one costly frame: the runner computes `base` once."""

    base: DataFrame
    finish: Callable[[DataFrame], DataFrame | dict[str, DataFrame]]


class Teach(Protocol):
    """How a `fits` stage asks the teacher: inputs (input_id, document, variables) → replies."""

    def __call__(self, task: str, inputs: DataFrame) -> DataFrame: ...


@dataclass(frozen=True)
class FollowUp:
    """A task that is asked behind each answer of a stage while the setting `section.switch` is on.

    The stage's own task is a second draw, where an answer fails the gates that the section sets.
    """

    task: str
    section: str
    switch: str


@dataclass(frozen=True)
class Stage:
    """A stage as the runner sees it. `ask` is None unless a teacher is called."""

    name: str
    mode: Mode
    driving: str | None
    function: Callable[..., Any]  # frames in, frame out; for LLM stages it reads the replies
    revision: int
    ask: Callable[..., DataFrame] | None = None
    task: str | None = None
    where: str | None = None  # narrows the driving rows
    also: tuple[str, ...] = ()  # further tables written from the same frames; `record_table` tells whose a row is
    dedupe: bool = False  # drop rows whose id is stored already (sightings of one record)
    counts: Counts = "rows"
    follow_ups: tuple[FollowUp, ...] = ()  # in the order in which they are asked

    def following(self, settings: object) -> tuple[Following, ...]:
        """What these settings ask behind each answer."""
        wanted = []
        for one in self.follow_ups:
            section = getattr(settings, one.section)
            if getattr(section, one.switch):
                redraws = one.task == self.task
                wanted.append(Following(one.task, section if redraws else None, redraws))
        return tuple(wanted)

    @property
    def tables(self) -> tuple[str, ...]:
        """Stored tables the stage reads (its own, as `previous`, included as such)."""
        names = dict.fromkeys(n for f in self._functions() for n in positional(f))
        return tuple(name for name in names if name not in ("replies", "previous"))

    @property
    def sections(self) -> tuple[str, ...]:
        """Settings sections the stage takes."""
        names = dict.fromkeys(n for f in self._functions() for n in keywords(f))
        return tuple(name for name in names if name not in SPECIAL)

    @property
    def asks(self) -> bool:
        """Whether a teacher is called."""
        return self.task is not None or "teach" in keywords(self.function)

    @property
    def takes_seed(self) -> bool:
        return any("seed" in keywords(f) for f in self._functions())

    def _functions(self) -> list[Callable[..., Any]]:
        return [f for f in (self.ask, self.function) if f is not None]


def stage(
    *,
    streams: str | None = None,
    fits: str | None = None,
    tops_up: str | None = None,
    replaces: bool = False,
    revision: int = 1,
    where: str | None = None,
    also: tuple[str, ...] = (),
    dedupe: bool = False,
    counts: Counts = "rows",
    table: str | None = None,
) -> Callable[[Callable[..., Any]], Stage]:
    """Declare a function as the stage that writes the table of its name, or `table` where another job's does too.

    `streams=`, `fits=` and `tops_up=` name the driving table; exactly one mode is given.
    """
    mode, driving = _mode(streams, fits, tops_up, replaces)

    def declare(function: Callable[..., Any]) -> Stage:
        name = table or function.__name__
        return Stage(name, mode, driving, function, revision, None, None, where, also, dedupe, counts)

    return declare


def llm_stage(
    name: str,
    *,
    task: str,
    ask: Callable[..., DataFrame],
    read: Callable[..., DataFrame | Shared],
    streams: str | None = None,
    tops_up: str | None = None,
    revision: int = 1,
    where: str | None = None,
    follow_ups: tuple[FollowUp, ...] = (),
) -> Stage:
    """A stage made of two pure functions with the teacher between them.

    `ask` returns (input_id, document, variables); `read` gets the same tables and `replies`. While one of the
    `follow_ups` is switched on, `replies` hold its text and call beside the answer's, as further_text and further_call;
    with a second draw they hold the answer that stands, which `draw` it is, and the call of the other as other_call.
    """
    mode, driving = _mode(streams, None, tops_up, False)
    return Stage(name, mode, driving, read, revision, ask, task, where, follow_ups=follow_ups)


def positional(function: Callable[..., Any]) -> list[str]:
    """Names of a function's positional parameters: the tables it reads."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds]


def keywords(function: Callable[..., Any]) -> list[str]:
    """Names of a function's keyword-only parameters: settings sections and specials."""
    parameters = inspect.signature(function).parameters.values()
    return [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]


def fitted_parameters(function: Callable[..., Any]) -> frozenset[str]:
    """Positional parameters annotated `Fitted`: the runner collects those tables."""
    hints: Mapping[str, Any] = get_type_hints(function)
    return frozenset(name for name in positional(function) if hints.get(name) == Fitted)


def all_rows_parameters(function: Callable[..., Any]) -> frozenset[str]:
    """Positional parameters annotated `AllRows`: rejected rows are handed over as well."""
    hints: Mapping[str, Any] = get_type_hints(function, include_extras=True)
    return frozenset(name for name in positional(function) if get_args(hints.get(name)) == get_args(AllRows))


def _mode(streams: str | None, fits: str | None, tops_up: str | None, replaces: bool) -> tuple[Mode, str | None]:
    named: list[tuple[Mode, str | None]] = [("streams", streams), ("fits", fits), ("tops_up", tops_up)]
    given: list[tuple[Mode, str | None]] = [(mode, table) for mode, table in named if table]
    if replaces:
        given.append(("replaces", None))
    if len(given) != 1:
        raise TypeError("a stage has exactly one mode: streams=, fits=, tops_up= or replaces=True")
    return given[0]
