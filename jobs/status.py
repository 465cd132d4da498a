"""How far is a root, and who is at work on it? May be asked while a run writes.

spark-submit --properties-file infra/spark-defaults.conf jobs/status.py --root PATH
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from jobs.runtime.errors import SettingsFault
from jobs.runtime.layout import require_layout
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.root_status import lines, status
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import NOTHING_WRITTEN, ended_by, storage_fault
from jobs.runtime.tables import Tables
from jobs.stages import SCORING, STAGES


def main(arguments: Sequence[str]) -> int:
    """Print the status; returns the exit status."""
    parser = argparse.ArgumentParser(prog="status.py", description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="where the tables are")
    parser.add_argument("--config", help="YAML settings, for tables in a catalog")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, [], given.root, calls=False)
        with running_session("longloom status") as spark:
            tables = Tables(spark, settings.storage)
            if not tables.exists("source_files"):
                raise SettingsFault([f"{tables.state}: no tables here; check --root, or run jobs/synthesize.py first"])
            require_layout(tables)
            suit_plans(spark, tables.storage)
            job = SCORING if tables.exists("imports") else STAGES
            found = status(tables, [stage.name for stage in job])
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root", NOTHING_WRITTEN))
    print(json.dumps(found.as_dict(), indent=2) if given.json else "\n".join(lines(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
