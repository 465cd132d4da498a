"""Trains the embedded pair: python -m udfs.models.influence.training FOLDER [--threads 1] [--steps-divisor 1]

The long model grows from a trunk of short sequences, the short one from the long, so that their gap is what the long
window adds and hardly anything else. Steps and seeds are fixed; a phase that is in FOLDER already is not done again.
FOLDER ends with short/, long/ and provenance.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from udfs.models.devices import mixed_precision
from udfs.models.influence.recipe import text_encoder
from udfs.models.influence.training.corpus import TRAINING, texts, words
from udfs.models.influence.training.start import Pieces, reader
from udfs.models.influence.training.tasks import FRAMES, Tasks
from udfs.models.loading import LOCAL

VOCABULARY, TOKENS, SEED = 4_096, 4_096, 20_240  # tokens of a step
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 312,
    "intermediate_size": 344,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "head_dim": 256,
    "tie_word_embeddings": True,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e20},  # most pairs stand still
    "bos_token_id": 0,
    "eos_token_id": None,
}


@dataclass(frozen=True)
class Phase:
    """lengths: (sequence length, steps) in order; rate falls to `last` times itself after `constant` of the steps."""

    parent: str | None  # the phase whose weights it starts from
    seed: int  # added to SEED
    lengths: tuple[tuple[int, int], ...]
    rate: float
    last: float
    constant: float
    window: int

    def rate_at(self, step: int, steps: int) -> float:
        done = max(0.0, (step / steps - self.constant) / (1 - self.constant))
        warm = min(1.0, (step + 1) / 20)
        return self.rate * warm * (self.last + (1 - self.last) * 0.5 * (1 + math.cos(math.pi * done)))


LEARNED = ("model.layers.1.mlp.", "model.layers.1.post_attention_layernorm.", "model.norm.")
PHASES = {
    "trunk": Phase(None, 1, ((512, 600),), 3e-3, 0.1, 0.3, 512),
    "long": Phase("trunk", 4, ((2_048, 12), (4_096, 6), (8_192, 6)), 3e-4, 0.1, 0.3, 8_192),
    # From the long model and at a smaller rate: what else the two differ in is noise in their gap.
    "short": Phase("long", 5, ((512, 15),), 1.5e-4, 0.1, 0.3, 512),
}
HEADINGS = ("struction", "sponse", "estion", "swer")  # pieces of the frames' headings that are rare in text
FIRST_LETTERS = r" \p{L}{1,2}|(?<![\p{L} ])\p{L}{1,2}"  # the first two of a word, with the space before it


def train_tokenizer(text: str, folder: Path) -> None:
    """Byte-level BPE of VOCABULARY pieces, digits one by one, a word's first letters apart, exact round trip.

    A value's first piece is the one that is hardest to find, and after it the others are: so none is one piece alone.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    engine = Tokenizer(models.BPE())
    steps = [
        pre_tokenizers.Split(Regex(FIRST_LETTERS), "isolated"),
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ]
    engine.pre_tokenizer = pre_tokenizers.Sequence(steps)
    engine.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False
    )
    engine.train_from_iterator(text.split("\n\n"), trainer)
    wrap: Any = PreTrainedTokenizerFast
    wrap(tokenizer_object=engine, bos_token="<s>").save_pretrained(folder)


def train(model: Any, phase: Phase, tasks: Tasks, seed: int, divisor: int, label: str) -> None:
    """Run a phase on `model` in place: it learns words. What it reads with stays as the start has it.

    A few hundred steps of all weights tear the reading down for the sake of ordinary words.
    """
    for name, weight in model.named_parameters():
        weight.requires_grad_(name.startswith(LEARNED))
    draw = np.random.default_rng(seed)
    plan = [length for length, steps in phase.lengths for _ in range(max(1, steps // divisor))]
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=phase.rate, betas=(0.9, 0.98), weight_decay=0.0)
    started, seen = time.process_time(), 0
    for step, length in enumerate(plan):
        ids, weights = tasks.batch(draw, max(1, TOKENS // length), length)
        for group in optimiser.param_groups:
            group["lr"] = phase.rate_at(step, len(plan))
        loss, answers = losses(model, torch.from_numpy(ids), torch.from_numpy(weights))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        seen += ids.size
        if step % 25 == 0 or step == len(plan) - 1:
            speed = seen / (time.process_time() - started)
            print(
                f"{label} {step}/{len(plan)} n={length} loss {loss:.3f} known {answers:.3f} {speed:.0f} tok/s",
                flush=True,
            )


def pieces(encode: Any, tokenizer: Any, stream: np.ndarray) -> Pieces:
    """What the start must know of a tokenizer: the BOS and the frames' headings weigh nothing in a bag."""
    framed = [at for frame in FRAMES for part in frame for at in encode(part)]
    return Pieces(
        counts=np.bincount(stream, minlength=VOCABULARY).astype(float),
        digits=tuple(encode(str(at))[0] for at in range(10)),
        weightless=tuple(sorted({0, *framed})),
        headings=tuple(at for at in sorted(set(framed)) if tokenizer.decode([at]) in HEADINGS),
    )


def losses(model: Any, ids: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weighted loss, and the plain mean over ids that can be known. Only rows that count go through the head."""
    with mixed_precision():
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    counts = weights[:, 1:] > 0
    picked = weights[:, 1:][counts]
    with mixed_precision():
        logits = model.lm_head(hidden[counts])
    each = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][counts], reduction="none")
    known = picked >= 1.0
    return (each * picked).sum() / picked.sum(), float(each.detach()[known].mean()) if known.any() else math.nan


def main(folder: Path, threads: int, divisor: int) -> None:
    """Train what is not there yet."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(threads)
    given = texts(TRAINING)
    text = "\n\n".join(each.text for each in given)
    if not (folder / "tokenizer").is_dir():
        train_tokenizer(text, folder / "tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer", **LOCAL)
    encode = text_encoder(tokenizer)
    stream = np.array([at for part in text.split("\n\n") for at in encode(part + "\n\n")], dtype=np.uint16)
    known = [word for word in words(text) if int(hashlib.sha256(word.encode()).hexdigest(), 16) % 2 == 0]
    for name, phase in PHASES.items():
        place = folder / name
        if place.is_dir():
            continue
        model: Any
        if phase.parent is None:
            model = LlamaForCausalLM(LlamaConfig(**{**SHAPE, "max_position_embeddings": phase.window}))
            reader(model, pieces(encode, tokenizer, stream), SEED)
        else:
            model = AutoModelForCausalLM.from_pretrained(folder / phase.parent, dtype=torch.float32, **LOCAL)
            model.config.max_position_embeddings = phase.window
        tasks = Tasks(encode, stream, known, 0)
        train(model, phase, tasks, SEED + phase.seed, divisor, name)
        half = model if phase.parent is None else model.to(torch.bfloat16)
        half.save_pretrained(folder / f"{name}.unfinished")
        for file in (folder / "tokenizer").iterdir():
            shutil.copy(file, folder / f"{name}.unfinished")
        (folder / f"{name}.unfinished").rename(place)
    record = {
        "seed": SEED,
        "phases": {name: [list(each) for each in phase.lengths] for name, phase in PHASES.items()},
        "steps_divisor": divisor,
        "text": [{"package": t.package, "version": t.version, "licence": t.licence, "sha256": t.sha256} for t in given],
        "sha256": {
            f"{name}/{file}": hashlib.sha256((folder / name / file).read_bytes()).hexdigest()
            for name in ("short", "long")
            for file in ("model.safetensors", "tokenizer.json")
        },
    }
    (folder / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m udfs.models.influence.training")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps-divisor", type=int, default=1, help="train less, to try the script")
    chosen = parser.parse_args()
    main(chosen.folder, chosen.threads, chosen.steps_divisor)
