"""Take the answers of a ledger out to files or in from elsewhere, and list or cancel its batches.

spark-submit --properties-file infra/spark-defaults.conf jobs/ledger.py export --root PATH --out FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.batch_list import batch_lines
from jobs.runtime.errors import SettingsFault
from jobs.runtime.exporting import FORMATS
from jobs.runtime.ledger_files import calls_in, calls_of, export_calls, import_calls
from jobs.runtime.opening import opened
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by, storage_fault


def main(arguments: Sequence[str]) -> int:
    """Export, import, list or cancel; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        settings = load_settings(given.config, given.set, given.root, calls=given.act == "batches")
        taking_in = given.act == "import"
        if taking_in and bool(given.files) == bool(given.other):
            raise SettingsFault(["give one of --in FOLDER (made by export) and --from ROOT"])
        if given.cancel and given.act != "batches":
            raise SettingsFault([f"--cancel goes with batches, not with {given.act}"])
        with (
            running_session("longloom ledger") as spark,
            opened(spark, settings, print, may_be_new=taking_in) as runner,
        ):
            if given.act == "batches":
                for line in batch_lines(runner.ledger.batches.work, given.cancel):
                    print(line)
            elif taking_in:
                calls = calls_in(spark, given.files) if given.files else calls_of(spark, given.other)
                print(f"{import_calls(runner, calls):,} calls taken in; {runner.tables.location('llm_calls')}")
            else:
                print(f"{export_calls(runner, given.out, [given.format]):,} calls in {given.out}/{given.format}")
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root"))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ledger.py", description=__doc__.splitlines()[0])
    parser.add_argument("act", choices=["export", "import", "batches"])
    parser.add_argument("--config", help="YAML settings; complete examples in infra/conf/")
    parser.add_argument("--root", help="where tables, checkpoints and lineage are kept")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--out", default="ledger", help="export: a new folder (default: ledger)")
    parser.add_argument("--format", choices=FORMATS, default="parquet", help="export: of the files")
    parser.add_argument("--in", dest="files", metavar="FOLDER", help="import: a folder that export made")
    parser.add_argument("--from", dest="other", metavar="ROOT", help="import: another root")
    parser.add_argument(
        "--cancel",
        action="store_true",
        help="batches: end all that are outstanding, give up those whose results are gone",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
