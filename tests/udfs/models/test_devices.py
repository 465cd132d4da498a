"""Which device, number type and threads a model gets in a Spark task, on a driver, with and without a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from udfs.models import devices
from udfs.models.errors import ModelUnavailable
from udfs.settings import EmbedderSettings


def _task(monkeypatch: pytest.MonkeyPatch, *addresses: str, cpus: int = 1) -> None:
    resources = {"gpu": SimpleNamespace(addresses=list(addresses))} if addresses else {}
    context = SimpleNamespace(resources=lambda: resources, cpus=lambda: cpus)
    monkeypatch.setattr(devices, "TaskContext", SimpleNamespace(get=lambda: context))


@pytest.mark.parametrize(
    ("address", "visible", "count", "index"),
    [
        (None, None, 2, 0),  # no task resources
        ("1", None, 2, 1),  # Spark's address is torch's index when nothing is hidden
        ("3", "2,3", 2, 1),  # the cluster manager shows two of four
        ("3", "3", 1, 0),
        ("5", None, 2, 0),  # renumbered inside a container
        ("GPU-abc", "GPU-xyz, GPU-abc", 2, 1),
        ("GPU-abc", None, 1, 0),
        ("1", "", 2, 1),
    ],
)
def test_spark_address_becomes_a_torch_index(address: str | None, visible: str | None, count: int, index: int) -> None:
    assert devices.cuda_index(address, visible, count) == index


def test_a_task_uses_the_gpu_spark_gave_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    _task(monkeypatch, "2")
    assert devices.pick_device(EmbedderSettings()) == torch.device("cuda", 2)
    assert devices.pick_device(EmbedderSettings(device="cpu")) == torch.device("cpu")
    _task(monkeypatch)  # a task without resources, as on local[N]
    assert devices.pick_device(EmbedderSettings()) == torch.device("cuda", 0)


def test_without_a_gpu_auto_is_the_cpu_and_cuda_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device(EmbedderSettings()) == torch.device("cpu")
    with pytest.raises(ModelUnavailable, match=r"no GPU here\. Set its device to auto or cpu"):
        devices.pick_device(EmbedderSettings(device="cuda"))


def test_number_type_follows_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda", 0)
    assert devices.pick_dtype(EmbedderSettings(), gpu) == torch.float32
    assert devices.pick_dtype(EmbedderSettings(dtype="bfloat16"), cpu) == torch.bfloat16
    assert devices.pick_dtype(EmbedderSettings(dtype="auto"), gpu) == torch.bfloat16
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: False)
    assert devices.pick_dtype(EmbedderSettings(dtype="auto"), cpu) == torch.float32
    monkeypatch.setattr(devices, "_cpu_has_bf16", lambda: True)
    assert devices.pick_dtype(EmbedderSettings(dtype="auto"), cpu) == torch.bfloat16


def test_threads_are_those_of_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    devices.fit_threads()  # outside a task nothing is changed
    _task(monkeypatch, cpus=3)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    devices.fit_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    devices.fit_threads()
    assert asked == [3, 1]
