"""What a run would ask and cost, told before anything is sent.

spark-submit --properties-file infra/spark-defaults.conf jobs/plan.py --config infra/conf/local.yaml --root PATH
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from jobs.runtime.plans import BUDGET_MB, make_plan
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import NOTHING_WRITTEN, ended_by, storage_fault
from jobs.stages import STAGES


def main(arguments: Sequence[str]) -> int:
    """Plan; returns the exit status."""
    parser = argparse.ArgumentParser(prog="plan.py", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="YAML settings; complete examples in infra/conf/")
    parser.add_argument("--root", help="where tables, checkpoints and lineage are kept")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument(
        "--sample-mb", type=float, default=BUDGET_MB, metavar="MB",
        help=f"read whole new files up to this size per kind, and scale (default {BUDGET_MB:g})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, given.set, given.root, calls=False)
        with running_session("longloom plan") as spark:
            told = make_plan(spark, settings, STAGES, int(given.sample_mb * 1e6))
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root", NOTHING_WRITTEN))
    print(json.dumps(told.as_dict(), indent=2, ensure_ascii=False) if given.json else "\n".join(told.lines()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
