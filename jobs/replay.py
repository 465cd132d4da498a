"""Make the runs of a root again in a new one, from its files and its ledger, without a call, and compare every table.

spark-submit --properties-file infra/spark-defaults.conf jobs/replay.py --run ID --from ROOT --root NEW
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.runtime.comparing import Comparison
from jobs.runtime.errors import GateStop
from jobs.runtime.exporting import export_fault
from jobs.runtime.replaying import Replay
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by
from jobs.runtime.tables import Tables
from jobs.stages import STAGES


def main(arguments: Sequence[str]) -> int:
    """Replay; returns the exit status: 0 equal, 2 cannot be replayed, 6 not equal."""
    parser = argparse.ArgumentParser(prog="replay.py", description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, metavar="ID", help="the last run to replay (its beginning is enough)")
    parser.add_argument("--from", dest="old", required=True, metavar="ROOT", help="the root that holds the run")
    parser.add_argument("--root", required=True, metavar="NEW", help="a new folder")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(None, [], given.old)
        root = given.root if "://" in given.root else str(Path(given.root).absolute())
        with running_session("longloom replay") as spark:
            told = Replay(spark, STAGES, Tables(spark, settings.storage), root, print).run(given.run)
        report(told)
    except Exception as error:
        return ended_by(error, export_fault(error, given.root))
    return 0


def report(told: Sequence[Comparison]) -> None:
    """Say how each table compares. Raises GateStop when one differs."""
    for one in told:
        print(f"{one.table:<20} {one.rows:>10,} rows  " + ("equal" if not one.faults else "; ".join(one.faults)))
    unlike = [one.table for one in told if one.faults]
    if unlike:
        raise GateStop(f"the replay differs in {', '.join(unlike)}")
    print(f"0 calls; all {len(told)} tables are equal")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
