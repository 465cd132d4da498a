"""Scores samples that were made elsewhere: how much does each teach about using its long context?

spark-submit --properties-file infra/spark-defaults.conf jobs/score.py --input FILE… --root PATH
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import ended_by, storage_fault
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import SCORING


def main(arguments: Sequence[str]) -> int:
    """Parse, check, run; returns the exit status."""
    given = _parser().parse_args(arguments)
    own = [f"inputs={json.dumps({'imports': given.input})}", "selection.by=influence"]
    try:
        settings = load_settings(given.config, [*given.set, *own], given.root, calls=False)
        with running_session("longloom score") as spark:
            recompute = tuple(name.strip() for name in given.recompute.split(",") if name.strip())
            choices = Choices(recompute=recompute, dry_run=given.dry_run, summary=given.summary)
            return Synthesis(spark, settings, SCORING, choices, "score").run()
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="score.py", description=__doc__.splitlines()[0])
    parser.add_argument("--input", nargs="+", required=True, metavar="FILE", help="files, folders or globs of samples")
    parser.add_argument("--root", required=True, help="a root of its own, for tables, checkpoints and lineage")
    parser.add_argument("--config", help="YAML settings: influence, selection, tokenizer")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--recompute", default="", metavar="S,…", help="start these stages and all behind them again")
    parser.add_argument("--dry-run", action="store_true", help="check settings and inputs, write nothing")
    parser.add_argument("--summary", metavar="FILE.json", help="write the closing table as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
