"""The driver's own work at the limits of the settings: beside a full heap it must stay below what a driver may take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.timing import say, scaled
from udfs.settings import ClassifierSettings, TypeSettings

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = 100_000
MOST_MIB = 1024  # of the driver's Python, where the heap has its 3 GiB and the driver 4

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(
    ("what", "full"),
    [("types", TypeSettings().max_fit_rows), ("classifier", ClassifierSettings().labels), ("inputs", FILES)],
)
def test_memory_at_the_limit(tmp_path: Path, what: str, full: int) -> None:
    count = scaled(full, 1_000)
    command = [sys.executable, "-m", "tests.benchmarks.driver_fits", what, str(count), str(tmp_path)]
    done = subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    say(
        "driver",
        f"{what} of {count:,}: peak {told['peak']:,.0f} MiB, {told['before']:,.0f} of them before it began (imports "
        f"and input), {told['seconds']:.1f} s",
    )
    assert told["peak"] < MOST_MIB
