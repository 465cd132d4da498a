"""Measures two ways of doing one thing in one run: interleaved, wall and CPU seconds, threads pinned.

A benchmark prints what it found and fails only on wrong results, so a loaded machine can never fail it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PINNED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS")
PROCESSOR_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


@dataclass
class Timed:
    """One contender's runs: seconds in order (the first is cold), CPU seconds of this process, what it returned."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    result: Any = None

    @property
    def cold(self) -> float:
        """Wall seconds of the first run: imports, compilation and caches included."""
        return self.wall[0]

    @property
    def warm(self) -> float:
        """Best wall seconds of the later runs."""
        return min(self.wall[1:] or self.wall)

    @property
    def warm_cpu(self) -> float:
        """Best CPU seconds of the later runs, all threads of this process."""
        return min(self.cpu[1:] or self.cpu)


def interleaved(contenders: Mapping[str, Callable[[], Any]], rounds: int = 3) -> dict[str, Timed]:
    """Run the contenders in turn, A B A B …, so that a slow minute of the machine hits all of them."""
    found = {name: Timed() for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            timed = found[name]
            timed.result = None  # two results at once would double the memory
            wall, cpu = time.perf_counter(), time.process_time()
            timed.result = run()
            timed.cpu.append(time.process_time() - cpu)
            timed.wall.append(time.perf_counter() - wall)
    return found


def size_mb(default: int) -> int:
    """Megabytes of input: LONGLOOM_BENCH_MB, else the default."""
    return int(os.environ.get("LONGLOOM_BENCH_MB", default))


def scaled(full: int, least: int = 1) -> int:
    """A count at full size, or the share of it that LONGLOOM_BENCH_SCALE (0…1) asks for while developing."""
    return max(least, int(full * float(os.environ.get("LONGLOOM_BENCH_SCALE", "1"))))


def machine() -> str:
    """Cores, memory, load, and the processor flags that matter here."""
    words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    flags = " ".join(flag for flag in PROCESSOR_FLAGS if flag in words) or "none of " + " ".join(PROCESSOR_FLAGS)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    pins = " ".join(f"{name}={os.environ[name]}" for name in PINNED if name in os.environ) or "no thread pins"
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f}, {flags}, {pins}"


def ratio(peer: float, ours: float) -> float:
    """How many times the peer's time ours fits in."""
    return peer / ours if ours > 0 else float("inf")


def say(row: str, line: str) -> None:
    """One figure, one line; also appended to the file that LONGLOOM_BENCH_OUT names."""
    text = f"{row}: {line}"
    print(f"\n{text}", flush=True)
    if target := os.environ.get("LONGLOOM_BENCH_OUT"):
        with Path(target).open("a", encoding="utf-8") as out:
            out.write(f"{text}\n")
