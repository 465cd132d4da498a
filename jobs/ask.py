"""Ask a root a question: one of sql/analysis by its name, or any SQL over its tables.

spark-submit --properties-file infra/spark-defaults.conf jobs/ask.py [NAME | --sql "SELECT …"] --root PATH
Without a name it lists what can be asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from jobs.runtime.analysis import Analyst, as_csv, as_json, find, listed, open_root, parameters, printed
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import NOTHING_WRITTEN, ended_by, storage_fault
from jobs.runtime.tables import Tables
from jobs.runtime.views import create_views

FORMATS = {"table": printed, "csv": as_csv, "json": as_json}


def main(arguments: Sequence[str]) -> int:
    """Ask and print; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        if not (given.name or given.sql or given.views):
            print("\n".join(listed()))
            return 0
        if given.name:
            find(given.name)  # before Spark starts
        values = parameters([text for text in given.set if not _is_setting(text)])
        overrides = [text for text in given.set if _is_setting(text)]
        settings = load_settings(given.config, overrides, given.root, calls=False)
        with running_session("longloom ask") as spark:
            analyst = open_root(Tables(spark, settings.storage))
            if given.views:
                print("\n".join(_viewed(*create_views(Tables(spark, settings.storage), given.views))))
            else:
                print(_answer(analyst, given, values))
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root", NOTHING_WRITTEN))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ask.py", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="a question; none lists them")
    parser.add_argument("--sql", metavar="SELECT", help="a query of your own over the tables by their names")
    parser.add_argument("--views", metavar="SCHEMA", help="make a view of every question in this schema of the catalog")
    parser.add_argument("--root", help="where the tables are")
    parser.add_argument("--config", help="YAML settings, for tables in a catalog")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="a question's parameter, or section.key"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="table")
    return parser


def _answer(analyst: Analyst, given: argparse.Namespace, values: dict[str, Any]) -> str:
    frame = analyst.sql(given.sql) if given.sql else analyst.ask(given.name, values)
    answer = analyst.collected(frame, given.name or "--sql")
    if analyst.unwritten:
        print(f"longloom: the root has no {', '.join(analyst.unwritten)} yet; counted as empty", file=sys.stderr)
    return FORMATS[given.format](answer)


def _viewed(made: Sequence[str], left_out: dict[str, str]) -> Iterator[str]:
    yield f"{len(made)} views: {', '.join(made)}"
    for name, reason in left_out.items():
        yield f"no {name}: {reason}"


def _is_setting(text: str) -> bool:
    return "." in text.partition("=")[0]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
