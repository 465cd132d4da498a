"""Write the training set for trainers: chat-format JSON lines and Parquet.

spark-submit --properties-file infra/spark-defaults.conf jobs/export.py --root PATH --out FOLDER
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.exporting import FORMATS, write
from jobs.runtime.layout import require_layout
from jobs.runtime.session import build_session
from jobs.runtime.settings import load_settings
from jobs.runtime.tables import Tables


def main(arguments: Sequence[str]) -> int:
    """Export; returns the exit status."""
    parser = argparse.ArgumentParser(prog="export.py", description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True)
    parser.add_argument("--out", required=True, help="a new folder")
    parser.add_argument("--format", default=",".join(FORMATS), help=f"any of {', '.join(FORMATS)}")
    given = parser.parse_args(arguments)
    formats = [name.strip() for name in given.format.split(",") if name.strip()]
    try:
        unknown = [name for name in formats if name not in FORMATS]
        if unknown or not formats:
            raise SettingsFault([f"--format {given.format}: known formats are {', '.join(FORMATS)}"])
        settings = load_settings(None, [], given.root)
        spark = build_session("longloom export")
        try:
            tables = Tables(spark, settings.storage)
            require_layout(tables)
            written = write(tables, given.out, formats)
        finally:
            spark.stop()
    except LongloomError as error:
        print(f"longloom: {error}", file=sys.stderr)
        return error.exit_status
    for name, rows in written.items():
        print(f"{rows} rows in {given.out}/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
