"""The embedded pair's training: what a sequence holds, weights that copy before the first step, whose text is used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from udfs.models.influence.training.__main__ import PHASES, SHAPE, losses
from udfs.models.influence.training.corpus import permissive, words
from udfs.models.influence.training.start import induction
from udfs.models.influence.training.tasks import ANSWER, REPEAT, Tasks

VOCABULARY = 512
WORDS = [f"word{at:02d}" for at in range(90)]


def encode(text: str) -> list[int]:
    return [1 + byte for byte in text.encode()]


@pytest.fixture(scope="module")
def tasks() -> Tasks:
    text = np.random.default_rng(0).integers(260, VOCABULARY, 20_000).astype(np.uint16)  # apart from all of `encode`
    return Tasks(encode, text, WORDS, VOCABULARY, bos=0)


def test_a_batch_has_its_shape_and_follows_its_seed(tasks: Tasks) -> None:
    ids, weights = tasks.batch(np.random.default_rng(3), 16, 300)
    again, _ = tasks.batch(np.random.default_rng(3), 16, 300)
    assert ids.shape == weights.shape == (16, 300) and (ids == again).all()
    assert (ids[:, 0] == 0).all() and (ids[:, 1:] >= 0).all() and ids.max() < VOCABULARY
    assert (weights[:, 0] == 0).all() and set(np.unique(weights)) == {0.0, 0.5, REPEAT, ANSWER}


def test_questions_ask_for_what_was_said_far_before(tasks: Tasks) -> None:
    draw = np.random.default_rng(5)
    found = total = 0
    for _ in range(20):
        ids, weights = tasks._facts(draw, 800)
        assert len(ids) == len(weights) == 800
        asked = np.flatnonzero(weights == ANSWER)
        said = bytes(int(at) - 1 for at in ids[: asked[0]] if 1 <= at <= 256).decode()
        answers = np.split(asked, np.flatnonzero(np.diff(asked) > 1) + 1)
        last = [bytes(int(ids[at]) - 1 for at in answer).decode() for answer in answers[:-1]]
        total += len(last)
        found += sum(any(word in said for word in answer.split() if word.startswith("word")) for answer in last)
    assert total > 25 and found / total > 0.6  # the rest asks for numbers, or for facts never given


def test_weighted_repeats_were_there_before(tasks: Tasks) -> None:
    ids = tasks._noise(np.random.default_rng(7), 400)
    weights = tasks._paste(np.random.default_rng(8), ids)
    known = np.flatnonzero(weights == REPEAT)
    assert len(known) > 100
    for at in known:
        here = ids[at - 2 : at + 1]
        assert any((ids[i : i + 3] == here).all() for i in range(at - 2))


def test_weights_copy_before_the_first_step() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    draw = np.random.default_rng(9)
    ids = draw.integers(1, SHAPE["vocab_size"], (4, 128))
    ids[:, 64:] = ids[:, :64]
    weights = np.zeros(ids.shape, dtype=np.float32)
    weights[:, 70:] = REPEAT
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=512))
    with torch.no_grad():
        before = losses(model, torch.from_numpy(ids), torch.from_numpy(weights))[1]
        induction(model, seed=1)
        after = losses(model, torch.from_numpy(ids), torch.from_numpy(weights))[1]
    assert before > 8.0  # log 4,096 is 8.3
    assert after < 5.0


def test_the_rate_warms_up_and_falls() -> None:
    phase = PHASES["trunk"]
    rates = [phase.rate_at(step, 1_000) for step in range(1_000)]
    assert rates[0] < rates[19] == rates[299] == phase.rate
    assert rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[-1] == pytest.approx(phase.rate * phase.last, rel=1e-3)


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("BSD 3-Clause License", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSL-1.0", True),
        ("MPL-2.0 AND MIT", False),
        ("GNU LGPL", False),
        ("unknown", False),
        ("Copyright 2018", False),
    ],
)
def test_only_permissive_licences_pass(licence: str, allowed: bool) -> None:
    assert permissive(licence) is allowed


def test_words_are_by_frequency_and_no_function_words() -> None:
    names = [f"{one}{two}word" for one in "abcdefghijklmnopqrstuvwxyz" for two in "abcdefghijklmnopqrstuvwxyz"][:600]
    text = " ".join(f"{name} " * (600 - at) for at, name in enumerate(names))
    assert words(text) == names[300:]
