"""Keep a root small: fold the counts of the graph, pack small files, drop versions older than the retention.

spark-submit --properties-file infra/spark-defaults.conf jobs/maintain.py --root PATH
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.forgetting import finish
from jobs.runtime.maintenance import SHORTEST_H, maintain, require_retention
from jobs.runtime.opening import job_of, opened
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by, storage_fault
from jobs.stages import JOBS


def main(arguments: Sequence[str]) -> int:
    """Maintain; returns the exit status."""
    parser = argparse.ArgumentParser(prog="maintain.py", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="YAML settings; complete examples in infra/conf/")
    parser.add_argument("--root", help="where tables, checkpoints and lineage are kept")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument(
        "--retain", type=int, default=SHORTEST_H, metavar="HOURS", help="younger versions stay readable"
    )
    parser.add_argument(
        "--keep", action="append", default=[], metavar="RUN",
        help="the tables as they stood when this run ended stay readable, however long ago; give it each time",
    )  # fmt: skip
    parser.add_argument("--drop-history", action="store_true", help=f"allow --retain below {SHORTEST_H} hours")
    given = parser.parse_args(arguments)
    try:
        require_retention(given.retain, given.drop_history)
        settings = load_settings(given.config, given.set, given.root, calls=False)
        with running_session("longloom maintain") as spark, opened(spark, settings, print) as runner:
            stages = job_of(runner.tables, JOBS)
            finish(runner, stages)  # the versions of a forgetting that was cut short would stay behind
            made = maintain(runner, stages, given.retain, given.keep)
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root"))
    print(f"{len(made)} tables, {sum(made.values())} commits; versions of the last {given.retain} hours stay readable")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
