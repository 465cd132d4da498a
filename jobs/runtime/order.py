"""Which stages depend on which, read from the tables they name."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.runtime.errors import LongloomError
from jobs.runtime.stage import Stage


def behind(stages: tuple[Stage, ...], *starts: str) -> list[str]:
    """`starts` and every stage whose rows come, through any number of steps, from one of them.

    Raises LongloomError when there is no such stage.
    """
    names = [stage.name for stage in stages]
    for start in starts:
        if start not in names:
            raise LongloomError(f"there is no stage {start!r}; stages: {', '.join(names)}")
    found = set(starts)
    grew = True
    while grew:
        reached = {s.name for s in stages if found & (set(s.tables) | set(_also_read(stages, s)))}
        grew = not reached <= found
        found |= reached
    return [name for name in names if name in found]


def ahead(stages: tuple[Stage, ...], name: str) -> frozenset[str]:
    """Every stage whose rows go, through any number of steps, into those of `name`."""
    return frozenset(stage.name for stage in stages if name in behind(stages, stage.name)) - {name}


def fewest_starts(stages: tuple[Stage, ...], names: Iterable[str]) -> list[str]:
    """The fewest of `names` behind which all the others lie, in the order of the stages."""
    wanted = set(names)
    covered: set[str] = set()
    starts = []
    for stage in stages:
        if stage.name in wanted - covered:
            starts.append(stage.name)
            covered.update(behind(stages, stage.name))
    return starts


def _also_read(stages: tuple[Stage, ...], reader: Stage) -> list[str]:
    """Stages whose side tables `reader` reads."""
    return [writer.name for writer in stages if set(writer.also) & set(reader.tables)]
