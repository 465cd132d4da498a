"""Is everything here? Prints what was looked at, and the command that mends each thing that is not.

    .venv/bin/python jobs/doctor.py [--quick] [--root PATH] [--config FILE]

Plain Python, no Spark; exit status 0 when a run can start, 1 when something must be mended first.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from jobs.runtime.health import Finding, full, quick
except ModuleNotFoundError as error:
    sys.exit(
        f"doctor: {sys.executable} does not have {error.name}. Run `make setup`, then .venv/bin/python jobs/doctor.py"
    )

ASKED_LAST = ("config", "settings", "teacher")  # endpoints are asked when nothing is wrong with these
SIGNS = {"good": "ok", "note": "note", "bad": "MEND"}


def table(findings: Sequence[Finding]) -> str:
    """One line per finding; below a fault, the command that mends it."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{SIGNS[finding.state]:<4}  {finding.name:<{width}}  {finding.detail}")
        if finding.state != "good" and finding.mend:
            lines.append(f"{'':<4}  {'':<{width}}  -> {finding.mend}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print, tell."""
    parser = argparse.ArgumentParser(description="Is everything here that a run needs?")
    parser.add_argument("--quick", action="store_true", help="only what the spark-submit wrapper checks")
    parser.add_argument("--root", default="build", help="where a run would write (disk space)")
    parser.add_argument("--config", type=Path, help="settings of a run: ask its endpoints too")
    options = parser.parse_args(arguments)
    findings = quick(os.environ) if options.quick else full(os.environ, options.root, options.config)
    if options.config and not options.quick and all(f.state != "bad" for f in findings if f.name in ASKED_LAST):
        from jobs.runtime.endpoints import check_endpoints  # it brings the clients, which the quick checks do without

        findings += check_endpoints(options.config)
    print(table(findings))
    return 1 if any(finding.state == "bad" for finding in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
