"""Write the training set for trainers: chat-format JSON lines and Parquet, with a dataset card if asked for.

spark-submit --properties-file infra/spark-defaults.conf jobs/export.py --root PATH --out FOLDER [--card]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.errors import SettingsFault
from jobs.runtime.exporting import CARD_TEST_SHARE, FORMATS, export_fault, write, write_card
from jobs.runtime.health import unwritable
from jobs.runtime.layout import require_layout
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.publishing import push, unpushable
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by
from jobs.runtime.tables import Tables


def main(arguments: Sequence[str]) -> int:
    """Export; returns the exit status."""
    given = _parser().parse_args(arguments)
    formats = [name.strip() for name in given.format.split(",") if name.strip()]
    try:
        faults = _faults(given, formats)
        if faults:
            raise SettingsFault(faults)
        share = given.test_share if given.test_share is not None else (CARD_TEST_SHARE if given.card else 0.0)
        settings = load_settings(given.config, [], given.root, calls=False)
        with running_session("longloom export") as spark:
            tables = Tables(spark, settings.storage)
            require_layout(tables)
            suit_plans(spark, tables.storage)
            written = write(tables, given.out, formats, share)
            if given.card:
                write_card(tables, given.out, given.card)
        for name, rows in written.items():
            print(f"{rows} rows in {given.out}/{name}")
        if given.push:
            print(push(given.out, given.push, given.token_env))
    except Exception as error:
        return ended_by(error, export_fault(error, given.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="export.py", description=__doc__.splitlines()[0])
    parser.add_argument("--root", help="where the tables are")
    parser.add_argument("--config", help="YAML settings, for tables in a catalog")
    parser.add_argument("--out", required=True, help="a new folder")
    parser.add_argument("--format", default=",".join(FORMATS), help=f"any of {', '.join(FORMATS)}")
    parser.add_argument(
        "--card", nargs="?", const="longloom rows", metavar="NAME", help="write README.md, the dataset card"
    )
    parser.add_argument(
        "--test-share", type=float, metavar="SHARE",
        help=f"rows in a test split made by document (with --card {CARD_TEST_SHARE}, else 0)",
    )  # fmt: skip
    parser.add_argument("--push", metavar="OWNER/NAME", help="upload the folder to the Hugging Face Hub, private")
    parser.add_argument(
        "--token-env", default="HF_TOKEN", metavar="VARIABLE", help="variable that holds the Hub's token"
    )
    return parser


def _faults(given: argparse.Namespace, formats: Sequence[str]) -> list[str]:
    faults = []
    if not formats or any(name not in FORMATS for name in formats):
        faults.append(f"--format {given.format}: known formats are {', '.join(FORMATS)}")
    if given.test_share is not None and not 0 <= given.test_share < 1:
        faults.append(f"--test-share {given.test_share}: from 0 to less than 1")
    if found := unwritable(given.out):
        faults.append(f"--out {given.out}: {found}")
    if given.push and not given.card:
        faults.append("--push: needs --card, so that nobody meets rows without knowing what they are")
    if given.push:  # a folder that was written is refused by the next try
        faults += unpushable(given.out, given.push, given.token_env)
    return faults


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
