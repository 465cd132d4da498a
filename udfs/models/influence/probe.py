"""Makes the response's attention to each context segment, inside the forward that also gives its probabilities.

An attention function of ours is registered with transformers; it runs torch's fused kernel and, while a probe is
active, adds up softmax mass by segment. No N×N matrix and no mask exists at any time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

from udfs.models.influence.recipe import segments

NAME = "longloom_probe"  # as transformers knows our attention function
# float32 scores held at a time: what a core keeps near it; few enough launches on a GPU.
WORKSPACE = {"cpu": 1 << 20, "cuda": 1 << 26}


class UnsupportedAttention(ValueError):
    """A layer's attention is not plain causal softmax attention over all earlier tokens."""


@dataclass
class Probe:
    """Collects attention mass of the last `rows` positions, the response's.

    head: tokens before the context; context: its tokens; segment: tokens of a segment
    layers: per layer in order, float64 [segments]: mass averaged over rows and heads, summed over a segment's tokens
    (GATEAU, Eq. 4 before its norm: Attn is its mean per token)
    """

    head: int
    context: int
    segment: int
    rows: int
    layers: list[torch.Tensor] = field(default_factory=list)
    _scores: torch.Tensor | None = None  # one buffer for all blocks: fresh memory costs as much as the product

    def add(self, query: torch.Tensor, key: torch.Tensor, scaling: float) -> None:
        """Add a layer: query [1, H, n, d], key [1, K, n, d] after rotation, heads in groups of H/K."""
        heads, n, size = query.shape[1:]
        groups = key.shape[1]
        # [K, H/K, R, d]: a group's heads become rows, so that no key is repeated.
        rows = (query[0, :, n - self.rows :] * scaling).float().view(groups, heads // groups, self.rows, size)
        keys = key[0].float()
        widest = max(self.head, self.segment, n - self.head - self.context)
        room = WORKSPACE[query.device.type]
        step = max(1, room // (heads * widest))
        if self._scores is None:
            self._scores = torch.empty(max(room, heads * widest), dtype=torch.float32, device=query.device)
        total = torch.zeros(len(segments(self.context, self.segment)), dtype=torch.float64, device=query.device)
        for first in range(0, self.rows, step):
            block = rows[:, :, first : first + step]
            total += self._block_mass(block, keys, n - self.rows + first, self._scores)
        self.layers.append(total / (heads * self.rows))

    def _block_mass(self, rows: torch.Tensor, keys: torch.Tensor, position: int, buffer: torch.Tensor) -> torch.Tensor:
        """Summed mass [segments] of rows [K, G, R, d], which stand from `position` on; keys [K, n, d].

        Softmax in blocks of keys: sums of exp(score − block maximum), put on one scale at the end.
        """
        n, count = keys.shape[1], rows.shape[2]
        end = self.head + self.context
        rows = rows.flatten(1, 2)
        maxima, sums, mass = [], [], []
        groups, height = rows.shape[:2]
        for start, stop, segment in self._key_blocks(buffer.numel() // (groups * height), n):
            scores = buffer[: groups * height * (stop - start)].view(groups, height, stop - start)
            torch.bmm(rows, keys[:, start:stop].transpose(1, 2), out=scores)
            if start >= end:  # only here are keys later than a row
                here = torch.arange(position, position + count, device=rows.device)
                later = torch.arange(start, stop, device=rows.device) > here[:, None]
                scores.view(groups, -1, count, stop - start).masked_fill_(later, float("-inf"))
            top = scores.amax(dim=-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).min)
            weights = scores.sub_(top).exp_()
            maxima.append(top[..., 0])
            if segment:
                parts = weights.view(*weights.shape[:2], -1, segment).sum(-1)
                mass.append((len(maxima) - 1, parts))
                sums.append(parts.sum(-1))
            else:
                sums.append(weights.sum(-1))
        scale = torch.stack(maxima)  # [blocks, K, G·R]
        scale = (scale - scale.amax(dim=0)).exp_()
        scale /= (scale * torch.stack(sums)).sum(dim=0)
        return torch.cat([(scale[at, ..., None] * parts).sum(dim=(0, 1), dtype=torch.float64) for at, parts in mass])

    def _key_blocks(self, width: int, n: int) -> Iterator[tuple[int, int, int]]:
        """(start, stop, segment length or 0) of key blocks: before the context, up to `width` keys of whole
        segments, a partial segment, after the context."""
        end = self.head + self.context
        if self.head:
            yield 0, self.head, 0
        whole = end - self.context % self.segment
        step = width // self.segment * self.segment
        for start in range(self.head, whole, step):
            yield start, min(start + step, whole), self.segment
        if whole < end:
            yield whole, end, end - whole
        yield end, n, 0


_active: ContextVar[Probe | None] = ContextVar("probe", default=None)


@contextmanager
def probing(probe: Probe) -> Iterator[Probe]:
    """Every layer that runs inside adds to `probe`."""
    token = _active.set(probe)
    try:
        yield probe
    finally:
        _active.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention [B, n, H, d] by torch's fused kernels; the active probe sees query and key.

    Raises UnsupportedAttention for anything that is not plain causal softmax over all earlier tokens.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    _refuse(module, query.shape[2], attention_mask, options)
    out, _ = sdpa_attention_forward(module, query, key, value, None, scaling=scaling)
    probe = _active.get()
    if probe is not None:
        probe.add(query, key, query.shape[-1] ** -0.5 if scaling is None else scaling)
    return out, None


def register() -> None:
    """Make `attn_implementation=NAME` known to transformers, with no mask built for it."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, no_mask)


def no_mask(*_: Any, kv_length: int = 0, local_size: int | None = None, config: Any = None, **__: Any) -> None:
    """Nothing: the causal flag says it all.

    Raises UnsupportedAttention when the mask is that of sliding or chunked layers which see `local_size` tokens, and
    there are more keys: attention itself hears of sliding windows only.
    """
    if local_size is None or local_size >= kv_length:
        return
    if set(getattr(config, "layer_types", None) or ()) != {"full_attention"}:  # else it is made, and no layer takes it
        raise UnsupportedAttention(f"layers that see {local_size} tokens were given a sequence of {kv_length}")


def _refuse(module: torch.nn.Module, n: int, mask: torch.Tensor | None, options: dict[str, Any]) -> None:
    window = options.get("sliding_window")
    faults = {
        "a mask of its own": mask is not None,
        f"a sliding window of {window} tokens under a sequence of {n}": window is not None and window < n,
        "a soft cap on its scores": options.get("softcap") is not None,
        "attention sinks": options.get("s_aux") is not None,
        "a bias by position": options.get("position_bias") is not None,
        "attention to later tokens": options.get("is_causal") is False or getattr(module, "is_causal", True) is False,
    }
    found = [fault for fault, is_so in faults.items() if is_so]
    if found:
        raise UnsupportedAttention(f"{type(module).__name__} has {' and '.join(found)}")
