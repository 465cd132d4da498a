"""The whole main job at 1, 4 and 16 times the demo's input: time per record and peak memory, stage by stage.

LONGLOOM_BENCH_FACTORS names other sizes ("1,4"). What grows faster than linearly is named below the page.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from jobs.runtime.demo.wildchat import Conversation, write_conversations
from jobs.runtime.demo_corpus import compose_rows, write_documents
from tests.benchmarks.processes import Peaks, Watch
from tests.benchmarks.timing import say

CHECKOUT = Path(__file__).resolve().parents[2]
FACTORS = tuple(int(part) for part in os.environ.get("LONGLOOM_BENCH_FACTORS", "1,4,16").split(","))
SEED = 13
TARGETS = {"single": 24, "multi": 12}
NOTABLE = 5.0  # seconds; a faster stage's growth is the start of its Spark jobs
LINEAR = 1.1  # exponents up to here are taken for linear
DRIVER_GIB = 4.0  # whatever the input
STAGE_LINE = re.compile(r"^([a-z_]+) +[\d,]+ in ")
NAMES = {"driver": "driver", "worker": "largest worker", "workers": "all workers"}

pytestmark = [pytest.mark.bench, pytest.mark.timeout(6 * 3600)]


@dataclass(frozen=True)
class Measured:
    """A run: its stages as the summary tells them, the peaks while each ran, samples accepted of those asked for."""

    stages: dict[str, dict[str, Any]]
    peaks: dict[str, Peaks]
    accepted: dict[str, str]


@cache
def demo_rows() -> tuple[list[dict[str, object]], list[Conversation]]:
    documents, conversations, _ = compose_rows(SEED)
    return documents, conversations


def varied(text: str, copy: int) -> str:
    """Another text of the same kind and length: every seventh word is one of this copy's own; copy 0 is the text."""
    if not copy:
        return text
    parts = re.split(r"(\s+)", text)
    mark = "".join(chr(97 + int(digit)) for digit in str(copy))
    return "".join(f"{part}{mark}" if place % 14 == 0 and part.isalpha() else part for place, part in enumerate(parts))


def write_inputs(folder: Path, factor: int) -> list[str]:
    """`factor` times the demo's corpus in as many files; the settings that name them."""
    folder.mkdir()
    documents, conversations = demo_rows()
    for copy in range(factor):
        rows = [{**row, "text": varied(str(row["text"]), copy)} for row in documents]
        write_documents(folder / f"{copy}.jsonl.zst", rows)
        said = [replace(each, messages=tuple(varied(text, copy) for text in each.messages)) for each in conversations]
        write_conversations(folder / f"{copy}.parquet", said)
    return [
        f'inputs.conversations=["{folder}/*.parquet"]',
        f'inputs.documents=["{folder}/*.jsonl.zst"]',
        *(f"targets.{name}={count * factor}" for name, count in TARGETS.items()),
    ]


def run_job(root: Path, settings: list[str]) -> Measured:
    """The job as a user starts it."""
    script = [str(CHECKOUT / ".venv/bin/spark-submit"), "--properties-file", "infra/spark-defaults.conf"]
    given = ["jobs/synthesize.py", "--config", "infra/conf/demo.yaml", "--root", str(root)]
    chosen = [part for setting in settings for part in ("--set", setting)]
    summary = root.parent / f"{root.name}.json"
    command = [*script, *given, *chosen, "--summary", str(summary)]
    job = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    watch = Watch(job.pid)
    watch.start()
    peaks: dict[str, Peaks] = {}
    assert job.stdout is not None
    for line in job.stdout:
        if named := STAGE_LINE.match(line):
            seen, before = watch.take(), peaks.get(named[1], Peaks())
            peaks[named[1]] = Peaks(*(max(getattr(seen, n), getattr(before, n)) for n in vars(seen)))
    watch.stop()
    assert job.wait() == 0
    told = json.loads(summary.read_text(encoding="utf-8"))
    accepted = {name: f"{target['accepted']} of {target['asked']}" for name, target in told["targets"].items()}
    return Measured({stage["stage"]: stage for stage in told["stages"]}, peaks, accepted)


def exponent(small: float, large: float, factor: float) -> float:
    """k in time ∝ size^k."""
    return math.log(max(large, 1e-9) / max(small, 1e-9)) / math.log(factor)


def test_growth(tmp_path: Path) -> None:
    runs = {n: run_job(tmp_path / f"root{n}", write_inputs(tmp_path / f"in{n}", n)) for n in FACTORS}
    lines = [f"{'stage':<20}" + "".join(f"{f'{n}x':>6} {'rows':>7} {'ms/row':>8} {'driver':>7} {'worker':>7} {'all':>6}"
                                        for n in FACTORS)]  # fmt: skip
    steep = []
    for name in runs[FACTORS[-1]].stages:
        lines.append(f"{name:<20}" + "".join(cells(runs[n], name) for n in FACTORS))
        for small, large in pairwise(FACTORS):
            before, after = (runs[n].stages.get(name, {}).get("seconds", 0.0) for n in (small, large))
            power = exponent(before, after, large / small)
            if after > NOTABLE and power > LINEAR:
                steep.append(f"{name} {small}x→{large}x: size^{power:.2f}")
    lines += [f"{n}x accepted: {', '.join(f'{k} {v}' for k, v in runs[n].accepted.items())}" for n in FACTORS]
    lines += ["", f"{'peak memory, MiB':<20}" + "".join(f"{f'{n}x':>9}" for n in FACTORS) + "   size^"]
    for who in ("driver", "worker", "workers"):
        peaks = [max(getattr(peak, who) for peak in runs[n].peaks.values()) for n in FACTORS]
        power = exponent(peaks[0], peaks[-1], FACTORS[-1] / FACTORS[0]) if len(FACTORS) > 1 else 0.0
        lines.append(f"{NAMES[who]:<20}" + "".join(f"{peak / 2**20:>9,.0f}" for peak in peaks) + f"{power:>8.2f}")
        if power > LINEAR:
            steep.append(f"memory of {NAMES[who]}: size^{power:.2f}")
        if who == "driver":
            most = max(peaks) / 2**30
    page = "\n".join(lines)
    named = "; ".join(steep) or "none"
    say("growth", f"seconds, rows, ms per row, peak MiB of driver, largest worker, all workers\n{page}\n"
                  f"faster than linear (exponent above {LINEAR}): {named}")  # fmt: skip
    assert most <= DRIVER_GIB, f"the driver took {most:.1f} GiB"


def cells(run: Measured, name: str) -> str:
    """One stage of one run."""
    stage, peak = run.stages.get(name), run.peaks.get(name, Peaks())
    if stage is None:
        return f"{'–':>6}" + " " * 38
    rows, seconds = max(stage["in"], 1), stage["seconds"]
    time = f"{seconds:>6.1f} {stage['in']:>7,} {1e3 * seconds / rows:>8.1f}"
    return f"{time} {peak.driver / 2**20:>7,.0f} {peak.worker / 2**20:>7,.0f} {peak.workers / 2**20:>6,.0f}"
