"""Scoring on a GPU with 7B-shaped random models: python tests/benchmarks/gpu_influence.py [--dry-run] [--profile]

Prints a line of JSON per shape and length: seconds of the long forward, what the probe adds, model FLOPs utilisation
(causal half of attention, no padding, against a measured matmul) of the long forward and of a full batch of segments,
peak memory with both models resident, samples per hour; with --profile the share of a sample's time in which the device
is idle between kernels. --dry-run does the same on a CPU with tiny shapes. Random ids, CUDA events, medians.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks import influence_reference as peer
from udfs.models.influence.probe import Probe
from udfs.models.influence.recipe import Parts

LLAMA_2 = {"hidden_size": 4_096, "intermediate_size": 11_008, "num_hidden_layers": 32, "num_attention_heads": 32}
SHAPES = {
    "llama-2-7b": {**LLAMA_2, "num_key_value_heads": 32, "vocab_size": 32_000},
    "llama-3-8b": {**LLAMA_2, "intermediate_size": 14_336, "num_key_value_heads": 8, "vocab_size": 128_256},
}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY_SHAPES = {"tiny": {**TINY, "num_key_value_heads": 2, "vocab_size": 512}}
LENGTHS, TINY_LENGTHS = (8_192, 32_768, 65_536, 131_072), (512, 1_024)
INSTRUCTION, RESPONSE, SEGMENT, REPEATS = 50, 250, 128, 3


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Median of REPEATS after one warm-up."""
    work()
    found = []
    for _ in range(REPEATS):
        if device.type == "cuda":
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            stop.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(stop) / 1_000)
        else:
            begun = time.perf_counter()
            work()
            found.append(time.perf_counter() - begun)
    return statistics.median(found)


def matmul_ceiling(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """FLOP/s of a square product."""
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds(lambda: one @ other, device)


def forward_flops(config: Any, model: Any, n: int, rows: int) -> float:
    """Linear layers, the causal half of attention, the head on the response rows."""
    heads = config.vocab_size * config.hidden_size
    body = sum(weight.numel() for weight in model.model.layers.parameters())
    width = config.num_attention_heads * config.head_dim
    return 2.0 * body * n + 2.0 * config.num_hidden_layers * width * n * n + 2.0 * heads * rows


def segment_batch(parts: Parts, batch_tokens: int) -> np.ndarray:
    """As many whole segments as one forward takes, each with its question and response: int64 [B, n]."""
    width = len(parts.sequence(parts.context[:SEGMENT]))
    count = max(1, min(batch_tokens // width, len(parts.context) // SEGMENT))
    return np.stack([parts.sequence(parts.context[at * SEGMENT : (at + 1) * SEGMENT]) for at in range(count)])


def profiled(work: Callable[[], Any], device: torch.device) -> float | None:
    """Share of one run's time, after a warm-up, in which the device ran no kernel; on a CPU: no operator of torch.

    None where the profiler may not see kernels.
    """
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    gpu = device.type == "cuda"
    work()
    with profile(activities=[ProfilerActivity.CUDA if gpu else ProfilerActivity.CPU]) as found:
        work()
        if gpu:
            torch.cuda.synchronize()
    kind = DeviceType.CUDA if gpu else DeviceType.CPU
    ranges = [event.time_range for event in found.events() if event.device_type == kind]
    return idle_share([(each.start, each.end) for each in ranges]) if ranges else None


def idle_share(spans: list[tuple[float, float]]) -> float:
    """Share of the time between the first start and the last end that no (start, end) covers; they may overlap."""
    idle, begun, covered = 0.0, min(spans)[0], min(spans)[0]
    for start, end in sorted(spans):
        idle += max(0.0, start - covered)
        covered = max(covered, end)
    return idle / (covered - begun)


@torch.inference_mode()
def measure(
    shape: str, sizes: dict[str, int], lengths: tuple[int, ...], device: torch.device, profile: bool = False
) -> None:
    """Print the figures of one shape."""
    from transformers import LlamaConfig

    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config = LlamaConfig(**sizes, max_position_embeddings=max(lengths) + 1_024)
    scorer = peer.make_scorer(peer.make_models(config, device, dtype), max(lengths) + 1_024)
    ceiling = matmul_ceiling(device, dtype, 8_192 if device.type == "cuda" else 512)
    for n in lengths:
        context = n - INSTRUCTION - RESPONSE - 3
        sample = peer.as_sample(peer.random_parts((context, INSTRUCTION, RESPONSE), config.vocab_size, seed=n))
        parts = scorer.recipe.parts(sample)
        ids = parts.sequence(parts.context)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        plain = seconds(lambda ids=ids: scorer.long.log_perplexities(ids[None], RESPONSE), device)
        probed = seconds(
            lambda ids=ids, context=context: scorer.long.probed(ids, RESPONSE, Probe(1, context, SEGMENT, RESPONSE)),
            device,
        )
        whole = seconds(lambda sample=sample: scorer.measure(sample), device)
        used = forward_flops(config, scorer.long.model, n, RESPONSE) / plain / ceiling
        batch = segment_batch(parts, scorer.batch_tokens)
        batched = seconds(lambda batch=batch: scorer.long.log_perplexities(batch, RESPONSE), device)
        batch_flops = len(batch) * forward_flops(config, scorer.long.model, batch.shape[1], RESPONSE)
        line = {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "kernels": [kernel.name for kernel in scorer.long.kernels],
            "shape": shape,
            "tokens": n,
            "forward_s": plain,
            "utilisation_of_matmul": used,
            "segments_utilisation_of_matmul": batch_flops / batched / ceiling,
            "probe_share": probed / plain - 1,
            "sample_s": whole,
            "samples_per_hour": 3_600 / whole,
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else None,
        }
        if profile:
            line["idle_share"] = profiled(lambda sample=sample: scorer.measure(sample), device)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--dry-run", action="store_true", help="tiny shapes on a CPU: does the script run?")
    parser.add_argument(
        "--profile", action="store_true", help="how long the device waits between kernels, of one sample"
    )
    asked = parser.parse_args()
    dry = asked.dry_run
    for name, arguments in (TINY_SHAPES if dry else SHAPES).items():
        where = torch.device("cpu") if dry else torch.device("cuda", 0)
        measure(name, arguments, TINY_LENGTHS if dry else LENGTHS, where, asked.profile)
