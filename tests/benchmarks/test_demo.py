"""`make demo` as a newcomer types it: in a fresh clone with its install, on a new root when all is there, and again.

Packages come from the registries or from the cache of uv, whichever the machine has; the line does not tell
them apart.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmarks.timing import say

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

CHECKOUT = Path(__file__).resolve().parents[2]
SHARE = yaml.safe_load((CHECKOUT / "infra/conf/demo.yaml").read_text(encoding="utf-8"))["selection"]["top_share"]
WITH_INSTALL_S, WARM_S, AGAIN_S = 300, 90, 30


def demo(clone: Path, root: str) -> tuple[float, dict[str, Any]]:
    """Seconds of `make demo` on a root of a clone, and the summary of its run."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(["make", "demo", f"ROOT={root}"], cwd=clone, check=True, capture_output=True, env=environment)
    seconds = time.perf_counter() - started
    told: dict[str, Any] = json.loads((clone / root / "summary.json").read_text(encoding="utf-8"))
    return seconds, told


def not_measured(training_set: dict[str, Any]) -> int:
    """Candidates that no score could be had of."""
    return sum(count for reason, count in training_set["reasons"].items() if reason.startswith("not_measured"))


def test_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(CHECKOUT), str(clone)], check=True)
    before = {path.name for path in clone.iterdir()}
    fresh, first = demo(clone, "build/demo")
    again, second = demo(clone, "build/demo")
    warm, third = demo(clone, "build/another")
    for told in (first, third):
        assert all(one["accepted"] >= one["asked"] > 0 for one in told["targets"].values()), told["targets"]
        stages = {stage["stage"]: stage for stage in told["stages"]}
        measured = sum(one["asked"] for one in told["targets"].values()) - not_measured(stages["training_set"])
        assert stages["influence"]["kept"] >= measured > 0
        assert stages["training_set"]["kept"] == math.ceil(SHARE * measured), "the selected share of the candidates"
    assert first["targets"] == third["targets"]
    assert {stage["state"] for stage in second["stages"]} <= {"unchanged", "frozen"}
    left = {path.name for path in clone.iterdir()} - before
    assert left <= {".venv", ".jars", "build", "longloom.egg-info"}, f"the demo left {sorted(left)}"
    say(
        "make demo",
        f"fresh clone with install {fresh:.0f} s (target {WITH_INSTALL_S}), on a new root {warm:.0f} s ({WARM_S}), "
        f"again with nothing new {again:.0f} s ({AGAIN_S}); {sum(one['calls'] for one in first['stages'])} calls",
    )
