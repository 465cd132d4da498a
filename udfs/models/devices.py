"""Makes the choice of device, number type and threads for a model in this process.

It refuses to know which model will run.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import torch
from pyspark import TaskContext

from udfs.models.errors import ModelUnavailable
from udfs.settings import EmbedderSettings, InfluenceSettings


def pick_device(settings: EmbedderSettings | InfluenceSettings) -> torch.device:
    """The GPU that Spark gave this task, else cuda:0, else the CPU.

    Raises ModelUnavailable when the settings ask for a GPU and there is none.
    """
    if settings.device == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return torch.device("cuda", cuda_index(task_gpu(), visible, torch.cuda.device_count()))
    if settings.device == "cuda":
        raise ModelUnavailable(
            settings.name,
            "the device 'cuda'",
            "torch sees no GPU here",
            "Set its device to auto or cpu.",
        )
    return torch.device("cpu")


def task_gpu() -> str | None:
    """The GPU address in this Spark task's resources; None outside a task or where none is assigned."""
    context = TaskContext.get()
    gpu = context.resources().get("gpu") if context else None
    return gpu.addresses[0] if gpu and gpu.addresses else None


def cuda_index(address: str | None, visible: str | None, count: int) -> int:
    """Index among the `count` devices torch sees for Spark's `address` (a number or a UUID).

    Spark never sets CUDA_VISIBLE_DEVICES; where a cluster manager did, torch counts within that list.
    """
    listed = [entry.strip() for entry in visible.split(",")] if visible else []
    if address in listed[:count]:
        return listed.index(address)
    if address and address.isdecimal() and int(address) < count:
        return int(address)
    return 0  # the container shows only the device it was given


def pick_dtype(settings: EmbedderSettings, device: torch.device) -> torch.dtype:
    """float32 unless asked; `auto` is bfloat16 on a GPU or on a CPU that multiplies it natively."""
    if settings.dtype == "float32":
        return torch.float32
    if settings.dtype == "bfloat16" or device.type == "cuda" or _cpu_has_bf16():
        return torch.bfloat16
    return torch.float32


def mixed_precision() -> torch.autocast:
    """bfloat16 for the products of a forward where the CPU multiplies it natively: elsewhere it is 12 times slower."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=_cpu_has_bf16())


def fit_threads() -> None:
    """Keep torch and the tokenizers inside the cores of this Spark task; outside one leave them alone."""
    context = TaskContext.get()
    if context is None:
        return
    cores = max(1, int(os.environ.get("OMP_NUM_THREADS") or context.cpus()))
    torch.set_num_threads(cores)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if cores > 1 else "false")


@cache
def _cpu_has_bf16() -> bool:
    """Whether the processor lists bfloat16 instructions; False where that cannot be read."""
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split())
    except OSError:
        return False
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
