"""Makes log-perplexities and attention mass with one causal model, out of ids.

It refuses to know samples, templates and what the figures are for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from udfs.models.errors import ModelUnavailable
from udfs.models.files import ModelFiles
from udfs.models.influence.probe import NAME, Probe, UnsupportedAttention, probing, register
from udfs.models.influence.support import refuse_layers
from udfs.models.loading import LOCAL, pretrained, unreadable

# Fused kernels in order of preference, never the one that writes N×N scores.
KERNELS = {
    "cuda": (SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION),
    "cpu": (SDPBackend.FLASH_ATTENTION,),
}
HEAD_ROWS = 1_024  # rows whose logits are held in float32 at a time
_CHECK = (48, 9)  # tokens and response rows of the self-check
_NEAR = {torch.float32: 1e-4, torch.bfloat16: 5e-2}  # relative


@dataclass(frozen=True, eq=False)
class Causal:
    """A loaded model. window: longest sequence it reads; kernels: fused attention kernels that passed the check."""

    model: Any
    window: int
    kernels: tuple[SDPBackend, ...]

    def log_perplexities(self, ids: np.ndarray, response: int) -> np.ndarray:
        """Mean negative log-probability (nats per token) of the last `response` ids of each row: float64 [B].

        ids: int64 [B, n], no padding. Only rows that predict the response go through the head.
        """
        device = self.model.device
        rows = torch.from_numpy(ids).to(device)
        with torch.inference_mode(), sdpa_kernel(list(self.kernels), set_priority=True):
            # The last row predicts nothing; asking for one more is what every model's `logits_to_keep` can do.
            logits = self.model(input_ids=rows, use_cache=False, logits_to_keep=response + 1).logits[:, :-1]
            return -mean_log_probability(logits, rows[:, -response:]).cpu().numpy()

    def probed(self, ids: np.ndarray, response: int, probe: Probe) -> tuple[float, np.ndarray]:
        """Log-perplexity of one sequence [n], and attention mass [layers, segments], from one forward."""
        with probing(probe):
            value = self.log_perplexities(ids[None], response)[0]
        return float(value), torch.stack(probe.layers).cpu().numpy()


def mean_log_probability(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean over R of log softmax(logits)[target]: logits [B, R, V], targets [B, R] → float64 [B]."""
    total = torch.zeros(len(targets), dtype=torch.float64, device=logits.device)
    step = max(1, HEAD_ROWS // len(targets))
    for first in range(0, targets.shape[1], step):
        part = logits[:, first : first + step].float()
        picked = part.gather(-1, targets[:, first : first + step, None])[..., 0]
        total += (picked - part.logsumexp(dim=-1)).double().sum(dim=1)
    return total / targets.shape[1]


def load_causal(
    files: ModelFiles,
    device: torch.device,
    dtype: torch.dtype,
    max_tokens: int,
    beyond_window: bool = False,
    rope_factor: float = 1.0,
) -> Causal:
    """The model of these files, checked on random ids against eager attention.

    It reads `max_tokens`, or its own window where that is shorter and `beyond_window` is not asked.
    Raises ModelUnavailable: unreadable, a layer that is not measured exactly, no RoPE base to multiply.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    register()
    try:
        config = AutoConfig.from_pretrained(files.folder, **LOCAL)
        text = config.get_text_config()  # nested in a model that sees or hears too
        if rope_factor != 1.0:
            scale_rope(text, rope_factor)
        own = getattr(text, "max_position_embeddings", None) or max_tokens
        if beyond_window and own < max_tokens and not getattr(text, "rope_parameters", None):
            raise ValueError(f"without rotary positions it reads no more than its window of {own} tokens")
        window = max_tokens if beyond_window else min(max_tokens, own)
        refuse_layers(files, config.to_dict(), window)
        model = pretrained(AutoModelForCausalLM, files, config=config, dtype=dtype, attn_implementation=NAME)
        model = model.to(device).eval()
        return Causal(model, window, working_kernels(model))
    except ModelUnavailable:
        raise
    except Exception as fault:  # torch, safetensors, tokenizers and transformers share no base class
        raise unreadable(files, fault) from fault


def scale_rope(config: Any, factor: float) -> None:
    """Multiply the RoPE base (the paper's window extension of A). Raises ValueError where there is no single one."""
    parameters = getattr(config, "rope_parameters", None) or {}
    if "rope_theta" not in parameters:
        raise ValueError("influence.short_rope_factor needs a model with one RoPE base")
    config.rope_parameters = {**parameters, "rope_theta": parameters["rope_theta"] * factor}


def working_kernels(model: Any) -> tuple[SDPBackend, ...]:
    """The fused kernels of the model's device with which it computes what eager attention does, in KERNELS' order.

    Raises UnsupportedAttention when none does, or when attention does not go through transformers' interface.
    """
    passed, faults = [], []
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(model.config.get_text_config().vocab_size, (1, _CHECK[0]), generator=generator)
    expected, attention = _eager(model, ids)
    for kernel in KERNELS[model.device.type]:
        try:
            difference = _difference(Causal(model, _CHECK[0], (kernel,)), ids.numpy(), expected, attention)
        except UnsupportedAttention:
            raise
        except RuntimeError as fault:  # no kernel for this head size, number type or device
            faults.append(f"{kernel.name}: {str(fault).splitlines()[0]}")
            continue
        if difference <= _NEAR[model.dtype]:
            passed.append(kernel)
        else:
            faults.append(f"{kernel.name}: differs by {difference:.1e}")
    if not passed:
        raise UnsupportedAttention(f"attention is not what eager attention gives ({'; '.join(faults)})")
    return tuple(passed)


def _eager(model: Any, ids: torch.Tensor) -> tuple[float, torch.Tensor]:
    """Log-perplexity of the check's response and its attention [layers, n], every matrix written out."""
    with _implementation(model, "eager"), torch.inference_mode():
        out = model(input_ids=ids.to(model.device), use_cache=False, output_attentions=True)
    rows = _CHECK[1]
    value = -float(mean_log_probability(out.logits[:, -rows - 1 : -1], ids[:, -rows:].to(model.device)))
    if not out.attentions or any(layer is None for layer in out.attentions):
        raise UnsupportedAttention("its layers show no attention weights")
    return value, torch.stack([layer[0, :, -rows:].double().mean(dim=(0, 1)) for layer in out.attentions])


def _difference(causal: Causal, ids: np.ndarray, expected: float, attention: torch.Tensor) -> float:
    """Greatest relative difference between the fused and the eager figures."""
    n, rows = _CHECK
    context = n - rows - 2
    probe = Probe(head=1, context=context, segment=5, rows=rows)
    with probing(probe):
        value = float(causal.log_perplexities(ids, rows)[0])
    if len(probe.layers) != len(attention):
        raise UnsupportedAttention("its attention does not go through transformers' attention interface")
    seen = attention[:, 1 : 1 + context]
    sums = torch.stack([part.sum(dim=1) for part in torch.split(seen, 5, dim=1)], dim=1)
    apart = ((torch.stack(probe.layers) - sums).abs() / sums).max()
    return max(abs(value - expected) / abs(expected), float(apart))


@contextmanager
def _implementation(model: Any, name: str) -> Iterator[None]:
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(NAME)
