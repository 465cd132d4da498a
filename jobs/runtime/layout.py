"""Which layout a root has, and the written steps from an older one to this program's.

The layout stands in the note of every commit; a step is what has to be done to the tables of a root, once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jobs.runtime.errors import LayoutRefused
from jobs.runtime.history import Execution, History
from jobs.runtime.summary import StageTally
from jobs.runtime.tables import LAYOUT, Tables

Step = Callable[[Tables], None]  # brings a root from one layout to the next; may be run again after a crash

# from-version → step. Layout 1 is the first one.
STEPS: Mapping[int, Step] = {}
TOLD_BY = ("stage_runs", "source_files")  # every run ends with a commit to the one and begins with one to the other


def layout_of(tables: Tables) -> int | None:
    """The layout that the newest run wrote; None for a root without tables. Reads one or two small files."""
    told = [tables.layout(name) for name in TOLD_BY if tables.exists(name)]
    return told[0] if told else None


def require_layout(
    tables: Tables, migrate: bool = False, steps: Mapping[int, Step] = STEPS, target: int = LAYOUT
) -> None:
    """Make sure that the root has this program's layout.

    With `migrate` an older root is brought up step by step, under the lock that the caller holds. Raises
    LayoutRefused for a newer root, for an older one from which no steps lead here, and without `migrate` for any other.
    """
    found = layout_of(tables)
    if found is None or found == target:
        return
    where = tables.storage.schema_name or tables.state
    if found > target:
        raise LayoutRefused(
            f"{where} has layout {found}, and this longloom knows layouts up to {target}: "
            "a newer one wrote it. Update this installation; nothing was written."
        )
    missing = [version for version in range(found, target) if version not in steps]
    if missing:
        raise LayoutRefused(
            f"{where} has layout {found}, and no step leads from layout {missing[0]} to {missing[0] + 1}. "
            "Start a new root from the same inputs, or use the longloom that wrote this one; nothing was written."
        )
    if not migrate:
        raise LayoutRefused(
            f"{where} has layout {found}, this longloom works on {target}. Run jobs/synthesize.py or "
            "jobs/maintain.py on it once; either brings it up to date."
        )
    for version in range(found, target):
        steps[version](tables)
    _record(tables, found, target)


def _record(tables: Tables, found: int, target: int) -> None:
    """A commit to `stage_runs` ends the migration: its note carries the new layout."""
    history = History(tables)
    history.record(Execution("layout", 0, "", {}, {}, -1, "done", {"from": found, "to": target}), StageTally("layout"))
    history.flush()
