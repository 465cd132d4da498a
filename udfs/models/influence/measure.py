"""Makes the raw measurements of a sample: GATEAU's two terms before any norm (arXiv 2410.15633, section 3).

Homologous models' guidance (HMG, 3.1): log-perplexity of the response under A and under B, the terms of HMP (Eq. 2).
Contextual awareness measurement (CAM, 3.2), under B: per segment s_i of the context, log-perplexity of the response
given s_i and the instruction alone (IS, Eq. 3), and the response's attention to s_i in the full context (Attn, Eq. 4),
which CAS compares (Eq. 5).
It refuses to norm, weigh or rank (Eq. 2, 5 and 6): that is SQL over what is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch

from udfs.models.influence.causal import Causal
from udfs.models.influence.probe import Probe
from udfs.models.influence.recipe import NotMeasured, Parts, Reading, Recipe, Sample, segments

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurement:
    """Raw figures of one sample; with a `reason` only the counts that were reached. Log-perplexities: nats a token.

    context_tokens: what B read; dropped_tokens: cut from the context's head for B; short_context_tokens: what A read
    before the response's beginning
    short_log_ppl, long_log_ppl: of the response under A and under B (terms of HMP, Eq. 2)
    windowed_log_ppl: under B with what A reads (one-model gap)
    unasked_log_ppl: under B without context and instruction (instruction-following difficulty)
    segment_tokens [S], segment_log_ppl [S] (IS, Eq. 3), segment_attention [S] (Attn times tokens, Eq. 4): mass of the
    segment, averaged over response rows, heads and layers; layer_attention [layers][S]: the same per layer
    """

    reason: str | None = None
    context_tokens: int = 0
    dropped_tokens: int = 0
    short_context_tokens: int = 0
    instruction_tokens: int = 0
    response_tokens: int = 0
    short_log_ppl: float | None = None
    long_log_ppl: float | None = None
    windowed_log_ppl: float | None = None
    unasked_log_ppl: float | None = None
    segment_tokens: list[int] = field(default_factory=list)
    segment_log_ppl: list[float] = field(default_factory=list)
    segment_attention: list[float] = field(default_factory=list)
    layer_attention: list[list[float]] = field(default_factory=list)


@dataclass(eq=False)
class Scorer:
    """Two homologous models side by side, one tokenisation.

    short_window: tokens A reads, a longer response in parts; None when it reads what B reads (the paper's HMG)
    batch_tokens: tokens of segments in one forward; halved for good when memory runs out
    """

    recipe: Recipe
    short: Causal
    long: Causal
    short_window: int | None
    segment_tokens: int
    batch_tokens: int

    def measure(self, sample: Sample) -> Measurement:
        """Measure a sample. What cannot be measured comes back with a reason, never as a NaN.

        Reasons: `empty_context`, `empty_instruction`, `empty_response`, `no_room_for_context`, `out_of_memory`,
        `not_finite`.
        """
        counts: dict[str, Any] = {}
        try:
            found = self._measured(sample, counts)
        except NotMeasured as fault:
            return Measurement(reason=fault.reason, **counts)
        return found if _finite(found) else Measurement(reason="not_finite", **counts)

    def _measured(self, sample: Sample, counts: dict[str, Any]) -> Measurement:
        parts = self.recipe.parts(sample)
        response = len(parts.response)
        counts |= {"instruction_tokens": parts.instruction_tokens, "response_tokens": response}
        context = parts.fitted_context(self.long.window)
        counts |= {"context_tokens": len(context), "dropped_tokens": len(parts.context) - len(context)}
        whole = Reading(parts.sequence(context), len(context), response)
        window = self.long.window if self.short_window is None else self.short_window
        short = parts.readings(window) if window < self.long.window else [whole]
        counts["short_context_tokens"] = short[0].context_tokens
        same = len(short) == 1 and short[0].context_tokens == len(context)

        probe = Probe(len(parts.head), len(context), self.segment_tokens, response)
        long, attention = self._alone(lambda: self.long.probed(whole.ids, response, probe))
        spans = segments(len(context), self.segment_tokens)
        return Measurement(
            **counts,
            short_log_ppl=self._read(self.short, short),
            long_log_ppl=long,
            windowed_log_ppl=long if same else self._read(self.long, short),
            unasked_log_ppl=self._one(self.long, parts.unasked(), response)
            if len(parts.unasked()) > response
            else None,
            segment_tokens=[stop - start for start, stop in spans],
            segment_log_ppl=self._segment_log_ppl(parts, context, spans),
            segment_attention=attention.mean(axis=0).tolist(),
            layer_attention=attention.tolist(),
        )

    def _one(self, model: Causal, ids: np.ndarray, response: int) -> float:
        return float(self._alone(lambda: model.log_perplexities(ids[None], response))[0])

    def _read(self, model: Causal, readings: Sequence[Reading]) -> float:
        """Log-perplexity of a response in parts."""
        total = sum(self._one(model, each.ids, each.response_tokens) * each.response_tokens for each in readings)
        return total / sum(each.response_tokens for each in readings)

    def _segment_log_ppl(self, parts: Parts, context: np.ndarray, spans: Sequence[tuple[int, int]]) -> list[float]:
        """IS, Eq. 3 before its norm: segments of one length share forwards of up to `batch_tokens`; no padding."""
        values: list[float] = []
        for _, group in groupby(spans, key=lambda span: span[1] - span[0]):
            rows = np.stack([parts.sequence(context[start:stop]) for start, stop in group])
            values += self._in_batches(rows, len(parts.response))
        return values

    def _in_batches(self, rows: np.ndarray, response: int) -> list[float]:
        values: list[float] = []
        while len(values) < len(rows):
            size = max(1, self.batch_tokens // rows.shape[1])
            batch = rows[len(values) : len(values) + size]
            try:
                values += self.long.log_perplexities(batch, response).tolist()
                continue
            except (RuntimeError, MemoryError) as fault:
                if not out_of_memory(fault):
                    raise
                if len(batch) == 1:
                    raise NotMeasured("out_of_memory") from None
            _free()  # outside of the handler: its traceback held the tensors
            self.batch_tokens = len(batch) * rows.shape[1] // 2
            log.warning("segments ran out of memory: batches are %d tokens from here on", self.batch_tokens)
        return values

    def _alone(self, forward: Callable[[], T]) -> T:
        """A forward of one sequence, which cannot be made smaller."""
        try:
            return forward()
        except (RuntimeError, MemoryError) as fault:
            if not out_of_memory(fault):
                raise
        _free()
        raise NotMeasured("out_of_memory")


def out_of_memory(fault: BaseException) -> bool:
    """Whether memory ran out: torch says so by class on a GPU and by words on a CPU."""
    return isinstance(fault, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(fault)


def _free() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _finite(found: Measurement) -> bool:
    single = [found.short_log_ppl, found.long_log_ppl, found.windowed_log_ppl, found.unasked_log_ppl]
    values = [value for value in single if value is not None]
    return bool(np.isfinite([*values, *found.segment_log_ppl]).all() and np.isfinite(found.layer_attention).all())
