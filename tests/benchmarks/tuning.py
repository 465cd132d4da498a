"""Makes a base that retrieves near facts alone, fine-tunes it on chosen samples, says how often it retrieves what."""

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
from udfs.models.influence.training.start import AFTER, BOS, BOS_SIZE, CONSTANT, UNLIKE, window
from udfs.models.loading import LOCAL

BATCH, RATE, WARM = 4, 1e-2, 0.1  # samples a step, highest rate, share of steps in which it rises
TUNED = ("model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.k_proj")  # where the copying head looks
SEEN, GONE, APART = 300, 700, 10.0  # tokens that the base's head sees alike, and beyond which it is so many nats lower


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


def loaded(folder: Path) -> Any:
    """The model of a folder, in float32."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **LOCAL)


@torch.no_grad()
def short_sighted(model: Any) -> Any:
    """The embedded pair's model with a window over its copying head, as reading short texts alone leaves one.

    Within SEEN tokens nothing changes: the head's scores all rise by what the window has there, the BOS's as well.
    The window stands in weights that the head had no use for, where training can open it.
    """
    attention, half = model.model.layers[1].self_attn, model.config.head_dim // 2
    turns = float(model.config.rope_parameters["rope_theta"]) ** (-np.arange(half) / half)
    cosines, sines = window(turns, SEEN, GONE, APART)
    query, key = attention.q_proj.weight, attention.k_proj.weight
    for pair, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
        size = max(float(np.hypot(cosine, sine)), 1e-9)
        key_size = (size * model.config.head_dim**0.5) ** 0.5 * AFTER
        assert not query[pair].any() and not query[pair + half].any(), "the head uses the pair"
        key[pair, CONSTANT], key[pair, BOS] = key_size, -key_size / BOS_SIZE  # of the BOS itself: 0
        query[pair, CONSTANT] = key_size * cosine / size
        query[pair + half, CONSTANT] = -key_size * sine / size
    key[half - 3, BOS] *= 1 + float(np.sum(cosines)) / UNLIKE
    return model


def tuned(model: Any, lessons: Sequence[Lesson], epochs: int, seed: int) -> Any:
    """The model after `epochs` passes over the lessons, in an order of its own each: TUNED of its weights learn."""
    weights_of = dict(model.named_parameters())
    for name, weight in weights_of.items():
        weight.requires_grad_(name.startswith(TUNED))
    learned = [weight for weight in weights_of.values() if weight.requires_grad]
    draw = np.random.default_rng(seed)
    order = [int(at) for _ in range(epochs) for at in draw.permutation(len(lessons))]
    steps = [order[at : at + BATCH] for at in range(0, len(order), BATCH)]
    optimiser = torch.optim.AdamW(learned, lr=RATE, betas=(0.9, 0.98), weight_decay=0.0)
    for step, chosen in enumerate(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / (WARM * len(steps))) * (1 - step / len(steps))
        optimiser.zero_grad(set_to_none=True)
        for at in chosen:
            weights = np.zeros(len(lessons[at].ids), dtype=np.float32)
            weights[-lessons[at].response :] = 1.0
            loss, _ = losses(model, torch.from_numpy(lessons[at].ids[None]), torch.from_numpy(weights[None]))
            (loss / len(chosen)).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
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
