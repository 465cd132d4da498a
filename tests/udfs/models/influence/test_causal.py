"""What stands between a model and a wrong figure: kernels that are checked, layers that see less than all, bfloat16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend

from tests.udfs.models.influence.families import save_chunked, save_family
from udfs.models.influence import causal
from udfs.models.influence.pair import _half, make_scorer
from udfs.models.influence.probe import NAME, UnsupportedAttention, register
from udfs.settings import InfluenceSettings

Pairs = Callable[[str], tuple[Path, Path]]
KERNELS = (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
AGREES, DIFFERS, MISSING = 0.0, 1.0, RuntimeError("no kernel for this head size")


@pytest.fixture
def model(pair: Pairs) -> Any:
    short, long = (str(folder) for folder in pair("llama"))
    settings = InfluenceSettings(short_model=short, long_model=long, device="cpu")
    return make_scorer(settings, torch.device("cpu")).long.model


def outcomes(monkeypatch: pytest.MonkeyPatch, *found: float | RuntimeError) -> None:
    """What comparing each of KERNELS with eager attention gives."""

    def difference(candidate: causal.Causal, *_: Any) -> float:
        outcome = dict(zip(KERNELS, found, strict=True))[candidate.kernels[0]]
        if isinstance(outcome, RuntimeError):
            raise outcome
        return outcome

    monkeypatch.setattr(causal, "KERNELS", {"cpu": KERNELS})
    monkeypatch.setattr(causal, "_difference", difference)


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        ((MISSING, DIFFERS, AGREES), KERNELS[2:]),
        ((AGREES, MISSING, DIFFERS), KERNELS[:1]),
        ((AGREES, float("nan"), AGREES), (KERNELS[0], KERNELS[2])),
        ((AGREES, AGREES, AGREES), KERNELS),
    ],
)
def test_kernels_that_passed_the_check_are_kept_and_no_others(
    model: Any, monkeypatch: pytest.MonkeyPatch, found: tuple[float, ...], kept: tuple[SDPBackend, ...]
) -> None:
    outcomes(monkeypatch, *found)
    assert causal.working_kernels(model) == kept


def test_a_model_that_no_kernel_computes_is_refused_with_what_each_did(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes(monkeypatch, MISSING, DIFFERS, DIFFERS)
    said = "CUDNN_ATTENTION: no kernel for this head size; FLASH_ATTENTION: differs by 1.0e\\+00; EFFICIENT_ATTENTION"
    with pytest.raises(UnsupportedAttention, match=said):
        causal.working_kernels(model)


@pytest.mark.parametrize(("kind", "window"), [("chunked", 64), ("sliding", 64), ("all full", 100)])
def test_layers_that_see_less_than_all_are_read_up_to_what_they_see(tmp_path: Path, kind: str, window: int) -> None:
    """The last defence: nothing was asked of the configuration here."""
    from transformers import AutoModelForCausalLM

    folder = {
        "chunked": lambda: save_chunked(tmp_path / "m"),
        "sliding": lambda: save_family(tmp_path / "m", "mistral", sliding_window=64),
        "all full": lambda: save_chunked(tmp_path / "m", no_rope_layers=None, no_rope_layer_interval=1),
    }[kind]()
    register()
    ours, eager = (
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation=name, dtype=torch.float32).eval()
        for name in (NAME, "eager")
    )
    ids = torch.randint(256, (1, 101), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fits = ids[:, :window]
        torch.testing.assert_close(ours(input_ids=fits).logits, eager(input_ids=fits).logits, rtol=1e-4, atol=1e-4)
        if kind == "all full":
            return
        with pytest.raises(UnsupportedAttention, match=f"see {window} tokens were given a sequence of {window + 1}"):
            ours(input_ids=ids[:, : window + 1])


def test_a_gpu_reads_in_half_precision_unless_told_otherwise() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert _half(InfluenceSettings(), gpu) and not _half(InfluenceSettings(), cpu)
    assert not _half(InfluenceSettings(dtype="float32"), gpu)
    assert _half(InfluenceSettings(dtype="bfloat16"), cpu)
