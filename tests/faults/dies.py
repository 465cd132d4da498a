"""The main job, dying at a named point: an entry script for spark-submit.

DIE_AT="before write meta_records" kills the process group when `Runner._write` is about to write that table;
"after" kills when it has. The points are calls that the job makes anyway: nothing in it knows of this.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import jobs.runtime.ledger
from jobs.runtime.history import History
from jobs.runtime.runner import Runner
from jobs.runtime.stage import Stage
from jobs.runtime.synthesis import Synthesis
from jobs.runtime.tables import Tables
from jobs.synthesize import main

CALLS: dict[str, tuple[Any, str]] = {
    "write": (Runner, "_write"),
    "append": (Tables, "append"),
    "replace": (Tables, "replace"),
    "defer": (History, "defer"),
    "close": (Synthesis, "_close"),
    "remove_segments": (jobs.runtime.ledger, "remove_segments"),
}


def die() -> None:
    os.killpg(0, signal.SIGKILL)  # the JVM started us in its own group


def arm(moment: str, call: str, name: str) -> None:
    """Make the call die before or after it is made with this name among its arguments ("" for any)."""
    owner, attribute = CALLS[call]
    made = getattr(owner, attribute)

    def deadly(*arguments: Any, **options: Any) -> Any:
        names = {argument for argument in arguments if isinstance(argument, str)}
        names |= {argument.name for argument in arguments if isinstance(argument, Stage)}
        meant = not name or name in names
        if meant and moment == "before":
            die()
        outcome = made(*arguments, **options)
        if meant and moment == "after":
            die()
        return outcome

    setattr(owner, attribute, deadly)


if __name__ == "__main__":
    moment, call, *name = os.environ["DIE_AT"].split()
    arm(moment, call, " ".join(name))
    sys.exit(main(sys.argv[1:]))
