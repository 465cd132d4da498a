"""The GPU benchmark's script runs on a CPU, and what it prints is what it says it prints."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.benchmarks import gpu_influence
from udfs.models.influence.recipe import Parts

KEYS = {
    "device",
    "kernels",
    "shape",
    "tokens",
    "forward_s",
    "utilisation_of_matmul",
    "segments_utilisation_of_matmul",
    "probe_share",
    "sample_s",
    "samples_per_hour",
    "peak_gb",
}


def assert_figures(line: dict[str, Any]) -> None:
    assert (line["device"], line["shape"], line["peak_gb"]) == ("cpu", "tiny", None)
    assert line["kernels"] == ["FLASH_ATTENTION"]
    assert line["forward_s"] > 0 and isinstance(line["probe_share"], float)
    assert line["samples_per_hour"] == pytest.approx(3_600 / line["sample_s"])
    assert line["utilisation_of_matmul"] > 0 and line["segments_utilisation_of_matmul"] > 0


def test_a_dry_run_prints_a_line_for_each_length() -> None:
    command = [sys.executable, gpu_influence.__file__, "--dry-run", "--profile"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(gpu_influence.__file__).parent)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["tokens"] for line in lines] == list(gpu_influence.TINY_LENGTHS)
    for line in lines:
        assert line.keys() == KEYS | {"idle_share"}
        assert 0 < line["idle_share"] < 1
        assert_figures(line)


def test_without_a_profile_there_is_no_idle_share(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_influence.measure("tiny", gpu_influence.TINY_SHAPES["tiny"], (512,), torch.device("cpu"))
    line = json.loads(capsys.readouterr().out)
    assert line.keys() == KEYS
    assert_figures(line)


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(5.0, 6.0)], 0.0),
        ([(3.0, 4.0), (0.0, 1.0)], 0.5),
        ([(0.0, 4.0), (1.0, 2.0), (3.0, 6.0), (9.0, 10.0)], 0.3),
    ],
)
def test_what_no_kernel_covers_is_idle(spans: list[tuple[float, float]], share: float) -> None:
    assert gpu_influence.idle_share(spans) == pytest.approx(share)


def test_a_batch_of_segments_is_as_wide_as_one_forward_takes() -> None:
    question, response = np.full(7, -2), np.full(5, -3)
    parts = Parts(np.array([-1]), np.arange(700), question, question[:2], response, 4)
    assert gpu_influence.segment_batch(parts, 300).shape == (2, 1 + 128 + 7 + 5)
    rows = gpu_influence.segment_batch(parts, 100_000)
    assert rows[:, 1:129].ravel().tolist() == list(range(5 * 128))
