"""Which stages depend on which, read from the tables they name."""

from __future__ import annotations

from jobs.runtime.errors import LongloomError
from jobs.runtime.stage import Stage


def behind(stages: tuple[Stage, ...], start: str) -> list[str]:
    """`start` and every stage whose rows come, through any number of steps, from it.

    Raises LongloomError when there is no such stage.
    """
    names = [stage.name for stage in stages]
    if start not in names:
        raise LongloomError(f"there is no stage {start!r}; stages: {', '.join(names)}")
    found = {start}
    grew = True
    while grew:
        reached = {s.name for s in stages if found & (set(s.tables) | set(_also_read(stages, s)))}
        grew = not reached <= found
        found |= reached
    return [name for name in names if name in found]


def _also_read(stages: tuple[Stage, ...], reader: Stage) -> list[str]:
    """Stages whose side tables `reader` reads."""
    return [writer.name for writer in stages if set(writer.also) & set(reader.tables)]
