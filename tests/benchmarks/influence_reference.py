"""What GATEAU's released scripts do, in the installed transformers: the peer our scorer is timed against.

Separate passes for HMG and CAM, logits of every row, the context padded to the window, a 4-D mask, a cache nobody
reads, response rows of attention written out and averaged slice by slice, and every segment of the window scored,
padding included. Their crashes (missing imports, shifted masks) are not copied: this is what they set out to compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from udfs.models.influence.causal import Causal, working_kernels
from udfs.models.influence.measure import Scorer
from udfs.models.influence.probe import NAME, register
from udfs.models.influence.recipe import Frame, Recipe, Sample

ROWS = "reference_rows"  # attention function that writes the response rows out
SEGMENT, BATCH = 128, 32
PAD, HEADINGS = 0, (1, 2, 3)


@dataclass
class Reference:
    """Two models under plain sdpa; `window` is what a context is padded to."""

    short: Any
    long: Any
    window: int

    def measure(self, context: list[int], instruction: list[int], response: list[int]) -> dict[str, Any]:
        """Log-perplexities under both, then CAM's attention and segment figures over the padded window."""
        suffix = [HEADINGS[1], *instruction, HEADINGS[2], *response]
        whole = torch.tensor([[HEADINGS[0], *context, *suffix]], device=self.long.device)
        return {
            "short_log_ppl": self.loss(self.short, whole, len(response)).item(),
            "long_log_ppl": self.loss(self.long, whole, len(response)).item(),
            "attention": self.attention(context, suffix, len(response)),
            "segments": self.segments(context, suffix, len(response)),
        }

    @staticmethod
    def loss(model: Any, ids: torch.Tensor, n_response: int) -> torch.Tensor:
        """Mean negative log-probability of each row's response, from float32 logits of all rows."""
        logits = model(input_ids=ids).logits.float()[:, :-1]
        targets = ids[:, 1:].clone()
        targets[:, :-n_response] = -100
        each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(len(ids), -1).sum(dim=1) / n_response

    def attention(self, context: list[int], suffix: list[int], n_response: int) -> list[float]:
        """Mean attention per segment of the padded window."""
        padded = [*context, *[PAD] * (self.window - len(context))]
        ids = torch.tensor([[HEADINGS[0], *padded, *suffix]], device=self.long.device)
        n = ids.shape[1]
        lowest = torch.finfo(self.long.dtype).min
        mask = torch.full((n, n), lowest, dtype=self.long.dtype, device=ids.device).triu(1)[None, None]
        found: list[list[float]] = []
        _rows.update(count=n_response, found=found)
        self.long.set_attn_implementation(ROWS)
        self.long(input_ids=ids, attention_mask=mask, use_cache=True)
        self.long.set_attn_implementation("sdpa")
        return list(np.mean(found, axis=0))

    def segments(self, context: list[int], suffix: list[int], n_response: int) -> list[float]:
        """Log-perplexity given each segment of the padded window."""
        padded = [*context, *[PAD] * (self.window - len(context))]
        rows = torch.tensor(padded, device=self.long.device).view(-1, SEGMENT)
        head = torch.full((len(rows), 1), HEADINGS[0], device=rows.device)
        ids = torch.cat([head, rows, torch.tensor([suffix] * len(rows), device=rows.device)], dim=1)
        return [value for batch in ids.split(BATCH) for value in self.loss(self.long, batch, n_response).tolist()]


_rows: dict[str, Any] = {}


def attend_and_keep_rows(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, scaling: float, **options: Any
) -> tuple[torch.Tensor, None]:
    """sdpa with the given mask; the response rows' weights in half the precision, averaged by slices."""
    from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward

    count = _rows["count"]
    keys = repeat_kv(key, query.shape[1] // key.shape[1])
    scores = query[:, :, -count:] @ keys.transpose(2, 3) * scaling + mask[:, :, -count:]
    weights = scores.float().softmax(dim=-1).to(query.dtype)
    end = (key.shape[2] - 1) // SEGMENT * SEGMENT
    starts = range(1, end, SEGMENT)
    _rows["found"].append([weights[..., at : at + SEGMENT].mean().cpu().item() for at in starts])
    return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling)


def make_models(config: Any, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    """A short and a long model of one shape with random weights."""
    from transformers import AttentionInterface, AutoModelForCausalLM

    AttentionInterface.register(ROWS, attend_and_keep_rows)
    register()
    models = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with device:
            models.append(AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation="sdpa").eval())
    return models[0], models[1]


def make_scorer(models: tuple[Any, Any], window: int, batch_tokens: int = 16_384) -> Scorer:
    """Our scorer on these models, reading ids written as words, A reading all that B reads."""
    causals = []
    for model in models:
        model.set_attn_implementation(NAME)
        causals.append(Causal(model, window, working_kernels(model)))
    recipe = Recipe(lambda text: [int(word) for word in text.split()], Frame((HEADINGS[0],), (2,), (3,)))
    return Scorer(recipe, causals[0], causals[1], None, SEGMENT, batch_tokens)


def make_reference(models: tuple[Any, Any], window: int) -> Reference:
    """The reference on these models."""
    for model in models:
        model.set_attn_implementation("sdpa")
    return Reference(models[0], models[1], window)


def random_parts(sizes: tuple[int, int, int], vocabulary: int, seed: int) -> tuple[list[int], list[int], list[int]]:
    """Random ids (never zeros: constant input runs faster than real) of context, instruction and response."""
    draw = np.random.default_rng(seed)
    context, instruction, response = (draw.integers(4, vocabulary, size).tolist() for size in sizes)
    return context, instruction, response


def as_sample(parts: tuple[list[int], list[int], list[int]]) -> Sample:
    """Ids as the words that `make_scorer`'s recipe reads."""
    return Sample(*(" ".join(map(str, part)) for part in parts))
