"""Forget a source file, a record or a generated row, and everything that was made from it.

spark-submit --properties-file infra/spark-defaults.conf jobs/forget.py --root PATH --source FILE
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import Outcome, forget
from jobs.runtime.opening import job_of, opened
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by, storage_fault
from jobs.runtime.tombstones import stale_tables
from jobs.stages import JOBS


def main(arguments: Sequence[str]) -> int:
    """Forget; returns the exit status."""
    parser = argparse.ArgumentParser(prog="forget.py", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="YAML settings; complete examples in infra/conf/")
    parser.add_argument("--root", help="where tables, checkpoints and lineage are kept")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--source", action="append", default=[], metavar="FILE", help="an input file, with its records")
    parser.add_argument("--id", action="append", default=[], help="a record, a file or a generated row, by its id")
    parser.add_argument(
        "--now", action="store_true", help="also while rows of answers are still to be made; those are paid for again"
    )
    given = parser.parse_args(arguments)
    try:
        if not given.source and not given.id:
            raise SettingsFault(["nothing to forget: give --source FILE or --id ID, each as often as needed"])
        settings = load_settings(given.config, given.set, given.root, calls=False)
        with running_session("longloom forget") as spark, opened(spark, settings, print) as runner:
            outcome = forget(runner, job_of(runner.tables, JOBS), given.source, given.id, given.now)
            stale = list(stale_tables(runner.tables, runner.history))
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root"))
    report(outcome, stale)
    return 0


def report(outcome: Outcome, stale: Sequence[str]) -> None:
    """Say what was removed, what the next run does, and what still rests on it."""
    for table, rows in outcome.removed.items():
        print(f"{table:<20} {rows:>10,} rows removed")
    for table, rows in outcome.again.items():
        print(f"{table:<20} {rows:>10,} rejected as duplicates of it are judged again on the next run")
    print(f"{outcome.removed.total():,} rows removed in all")
    for sentence in stale:
        print(f"warning: {sentence}")
    if outcome.removed.total():
        print("older versions of the tables hold the rows until jobs/maintain.py drops them: docs/forgetting.md")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
