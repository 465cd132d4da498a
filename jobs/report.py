"""What this dataset is, in one HTML file: figures, pictures, and rows with their evidence.

spark-submit --properties-file infra/spark-defaults.conf jobs/report.py --root PATH [--out FILE.html]
"""

from __future__ import annotations

import argparse
import posixpath
import sys
from collections.abc import Sequence

from jobs.runtime.analysis import open_root
from jobs.runtime.lineage import log_artifact
from jobs.runtime.report.figures import gather
from jobs.runtime.report.page import FILE, KIND, page, write
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by, storage_fault
from jobs.runtime.tables import Tables


def main(arguments: Sequence[str]) -> int:
    """Write the report; returns the exit status."""
    parser = argparse.ArgumentParser(prog="report.py", description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="where the tables are")
    parser.add_argument("--config", help="YAML settings, for tables in a catalog or another MLflow")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--out", help="the file to write; without it report.html in the root")
    parser.add_argument("--no-mlflow", action="store_true", help="do not log the file to MLflow")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, given.set, given.root, calls=False)
        with running_session("longloom report") as spark:
            tables = Tables(spark, settings.storage)
            text = page(gather(tables, open_root(tables)))
            out = given.out or posixpath.join(tables.state, FILE)
            write(text, out)
            if not given.no_mlflow:
                log_artifact(settings, tables.state, text.encode(), KIND, posixpath.basename(out))
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root"))
    print(f"{out} ({len(text.encode()) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
