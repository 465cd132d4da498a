"""Fine-tunes a small causal model on chosen samples, and says how often it retrieves what was said far back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.udfs.models.influence.planted import Planted
from udfs.models.devices import mixed_precision
from udfs.models.influence.recipe import Recipe
from udfs.models.influence.training.__main__ import losses
from udfs.models.loading import LOCAL

BATCH, RATE, WARM = 4, 1e-3, 0.1  # samples a step, highest rate, share of steps in which it rises


@dataclass(frozen=True, eq=False)
class Lesson:
    """A sample in tokens: `ids` [n], of which the last `response` are learned; `value`: where what is asked stands."""

    ids: np.ndarray
    response: int
    value: slice


def lesson(recipe: Recipe, planted: Planted) -> Lesson:
    """A planted sample under the recipe it is scored with."""
    parts = recipe.parts(planted.sample)
    ids = parts.sequence(parts.context)
    answer = str(planted.sample.response)
    at = answer.find(planted.value)
    first = len(ids) - len(parts.response)
    start, stop = (len(recipe.encode(answer[:end])) for end in (max(0, at - 1), at + len(planted.value)))
    return Lesson(ids, len(parts.response), slice(first + start, first + stop))


def tuned(base: Path, lessons: Sequence[Lesson], epochs: int, seed: int) -> Any:
    """The base after `epochs` passes over the lessons, in an order of its own each."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, **LOCAL)
    draw = np.random.default_rng(seed)
    order = [int(at) for _ in range(epochs) for at in draw.permutation(len(lessons))]
    steps = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    for step, chosen in enumerate(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / (WARM * len(steps))) * (1 - step / len(steps))
        optimiser.zero_grad(set_to_none=True)
        for at in chosen:
            weights = np.zeros(len(lessons[at].ids), dtype=np.float32)
            weights[-lessons[at].response :] = 1.0
            loss, _ = losses(model, torch.from_numpy(lessons[at].ids[None]), torch.from_numpy(weights[None]))
            (loss / len(chosen)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    return model.eval()


@torch.inference_mode()
def retrieval(model: Any, lessons: Sequence[Lesson]) -> tuple[float, float]:
    """Share of lessons whose whole value is the likeliest continuation, token by token; nats a token of the values."""
    right, nats = [], []
    for each in lessons:
        with mixed_precision():
            ids = torch.from_numpy(each.ids[None])
            logits = model(input_ids=ids, use_cache=False, logits_to_keep=each.response + 1).logits[0, :-1]
        first = len(each.ids) - each.response
        wanted = torch.from_numpy(each.ids[each.value])
        logs = logits[each.value.start - first : each.value.stop - first].float().log_softmax(dim=-1)
        right.append(bool((logs.argmax(dim=-1) == wanted).all()))
        nats.append(-float(logs.gather(-1, wanted[:, None]).mean()))
    return float(np.mean(right)), float(np.mean(nats))
