"""The main job: from raw conversations and documents to training rows.

spark-submit --properties-file infra/spark-defaults.conf jobs/synthesize.py --config infra/conf/demo.yaml
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs.runtime.errors import SettingsFault
from jobs.runtime.previewing import preview
from jobs.runtime.requirements import unknown_stages
from jobs.runtime.session import running_session
from jobs.runtime.settings import Settings, load_settings
from jobs.runtime.sources import find_inputs
from jobs.runtime.storage_faults import ended_by, storage_fault
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES

TOGETHER = "any of walks, instructions, pairings and samples runs all four, in rounds"


def main(arguments: Sequence[str]) -> int:
    """Parse, check, run; returns the exit status."""
    given = _parser().parse_args(arguments)
    try:
        choices = _choices(given)
        settings = _settings(given, choices)
        with running_session("longloom synthesize") as spark:
            if given.preview is not None:
                return preview(spark, settings, STAGES, given.preview, _of_preview(choices))
            return Synthesis(spark, settings, STAGES, choices).run()
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthesize.py", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="YAML settings; complete examples in infra/conf/")
    parser.add_argument("--root", help="where tables, checkpoints and lineage are kept")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="override a setting")
    parser.add_argument("--only", default="", metavar="S,…", help=f"run these stages only ({TOGETHER})")
    parser.add_argument("--until", metavar="S", help=f"stop after this stage ({TOGETHER})")
    parser.add_argument("--recompute", default="", metavar="S,…", help="start these stages and all behind them again")
    parser.add_argument("--refit", default="", metavar="S,…", help="fit these stages again, and all behind them")
    parser.add_argument("--retry-rejected", metavar="S", help="make the failed calls of this stage again")
    parser.add_argument(
        "--continuous", nargs="?", const=30.0, type=float, metavar="SECONDS",
        help="pass after pass, so many seconds (30) between them, until a signal, an error or the budget of all passes "
        "together ends it",
    )  # fmt: skip
    parser.add_argument(
        "--preview", type=int, metavar="N",
        help="N records through all stages into a root of its own, ROOT/_preview, with every prompt and reply shown in "
        "full; the tables of ROOT are left alone, its ledger is shared",
    )  # fmt: skip
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="check settings, keys, endpoints and models, list all inputs, run nothing",
    )
    parser.add_argument("--summary", metavar="FILE.json", help="write the closing table as JSON")
    return parser


def _choices(given: argparse.Namespace) -> Choices:
    return Choices(
        _names(given.only),
        given.until,
        _names(given.recompute),
        _names(given.refit),
        given.retry_rejected,
        given.continuous,
        given.dry_run,
        given.summary,
    )


def _settings(given: argparse.Namespace, choices: Choices) -> Settings:
    """Raises SettingsFault; stages that do not exist are told with the faults of the settings."""
    try:
        return load_settings(given.config, given.set, given.root, find_inputs)
    except SettingsFault as fault:
        unknown = unknown_stages(choices.stages(), [stage.name for stage in STAGES])
        raise SettingsFault([*fault.faults, *unknown]) from None


def _of_preview(choices: Choices) -> Choices:
    """What a preview can be told. Raises SettingsFault for what only concerns stored rows."""
    kept = Choices(only=choices.only, until=choices.until, summary=choices.summary)
    if choices != kept:
        raise SettingsFault(["--preview goes with --only, --until and --summary; leave the other flags out"])
    return kept


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
