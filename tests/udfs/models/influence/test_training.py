"""The embedded pair's training: what a sequence holds, weights that read before the first step, whose text is used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from udfs.models.influence.recipe import text_encoder
from udfs.models.influence.training.__main__ import PHASES, SHAPE, losses, train, train_tokenizer
from udfs.models.influence.training.corpus import permissive, words
from udfs.models.influence.training.start import Pieces, reader
from udfs.models.influence.training.tasks import COPIED, FIRST, GUESSED, LATER, OTHER, REPEAT, REST, Tasks
from udfs.models.loading import LOCAL

VOCABULARY, HEADING = 512, 150  # the second is a piece of a heading
WORDS = [f"word{at:02d}" for at in range(90)]


def encode(text: str) -> list[int]:
    return [1 + byte for byte in text.encode()]


@pytest.fixture(scope="module")
def tasks() -> Tasks:
    text = np.random.default_rng(0).integers(260, VOCABULARY, 20_000).astype(np.uint16)  # apart from all of `encode`
    return Tasks(encode, text, WORDS, bos=0)


def test_a_batch_has_its_shape_and_follows_its_seed(tasks: Tasks) -> None:
    ids, weights = tasks.batch(np.random.default_rng(3), 64, 300)
    again, _ = tasks.batch(np.random.default_rng(3), 64, 300)
    assert ids.shape == weights.shape == (64, 300) and (ids == again).all()
    assert (ids[:, 0] == 0).all() and (ids[:, 1:] >= 0).all() and ids.max() < VOCABULARY
    assert (weights[:, 0] == 0).all() and set(np.unique(weights)) == {
        np.float32(weight) for weight in (0, REST, OTHER, GUESSED * LATER, COPIED, REPEAT, LATER, FIRST)
    }


def test_questions_ask_for_what_was_said_far_before(tasks: Tasks) -> None:
    """Of a value's ids the first weighs most, and nearly every value stands in a fact before the first question."""
    draw = np.random.default_rng(5)
    found = total = 0
    for _ in range(20):
        ids, weights = tasks._facts(draw, 1_600)
        assert len(ids) == len(weights) == 1_600
        asked = np.flatnonzero(weights > 0)
        said = "".join(chr(at - 1) if at <= 256 else "|" for at in ids[: asked[0]])
        for first in np.flatnonzero(weights == FIRST)[:-1]:
            rest = np.flatnonzero(weights[first + 1 :] != LATER)[0]
            value = bytes(int(at) - 1 for at in ids[first : first + 1 + rest]).decode().strip()
            total += 1
            found += value in said
    assert total > 50 and found / total > 0.7  # the others ask for facts never given, or cut off for want of room


def test_a_fact_is_said_in_many_wordings(tasks: Tasks) -> None:
    """In whatever wording, name and value are whole, and every id of the value counts."""
    draw = np.random.default_rng(6)
    texts = set()
    for _ in range(300):
        fact = tasks._fact(draw, None)
        ids, weights = tasks._say(fact, tasks._wording(draw), " ")
        text = "".join(chr(at - 1) if at <= 256 else "|" for at in ids)
        assert fact["e"] in text and fact["v"] in text
        counted = "".join(chr(at - 1) for at, weight in zip(ids, weights, strict=True) if weight in (FIRST, LATER))
        assert counted.strip() == fact["v"]
        texts.add(text.replace(fact["e"], "e").replace(fact["v"], "v").replace(fact["a"], "a"))
    assert len(texts) > 290


def test_weighted_repeats_were_there_before(tasks: Tasks) -> None:
    ids = tasks._natural(np.random.default_rng(7), 400)
    weights = tasks._paste(np.random.default_rng(8), ids)
    known = np.flatnonzero(weights == REPEAT)
    assert len(known) > 100
    for at in known:
        here = ids[at - 2 : at + 1]
        assert any((ids[i : i + 3] == here).all() for i in range(at - 2))


def started(counts: np.ndarray) -> LlamaForCausalLM:
    """A model of the pair's shape before its first step."""
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=512))
    reader(model, Pieces(counts, digits=(), weightless=(0, HEADING), headings=(HEADING,)), seed=1)
    return model.eval()


def test_weights_copy_before_the_first_step() -> None:
    draw = np.random.default_rng(9)
    ids = draw.integers(1, SHAPE["vocab_size"], (4, 128))
    ids[:, 64:] = ids[:, :64]
    weights = np.zeros(ids.shape, dtype=np.float32)
    weights[:, 70:] = REPEAT
    random = LlamaForCausalLM(LlamaConfig(**SHAPE, max_position_embeddings=512))
    model = started(np.full(SHAPE["vocab_size"], 100.0))
    with torch.no_grad():
        before, after = (losses(each, torch.from_numpy(ids), torch.from_numpy(weights))[1] for each in (random, model))
    assert before > 8.0  # log 4,096 is 8.3
    assert after < 5.0


def test_weights_follow_a_token_in_the_place_with_the_same_rare_words_before_the_first_step() -> None:
    """A frequent token stands in each place: what follows it is looked for in the one with the question's rare words.

    Not in the question itself, whose words stand near the heading of the reply.
    """
    counts = np.r_[np.full(100, 1e5), np.full(SHAPE["vocab_size"] - 100, 10.0)]  # the first hundred are frequent
    draw = np.random.default_rng(10)
    model = started(counts)
    model.set_attn_implementation("eager")
    shares = []
    for _ in range(6):
        ids = draw.integers(1, 99, 400)
        ids[0] = 0
        for start in range(20, 330, 62):
            ids[start : start + 20 : 3] = draw.integers(200, SHAPE["vocab_size"], 7)
            ids[start + 20] = 99
        fact = 20 + 62 * int(draw.integers(5))
        ids[380:394:2] = draw.permutation(ids[fact : fact + 20 : 3])
        ids[[378, 396, 399]] = HEADING, HEADING, 99
        with torch.no_grad():
            attention = model(torch.from_numpy(ids)[None], output_attentions=True).attentions[1][0, 0, 399]
        shares.append(float(attention[fact + 21]))
    assert min(shares) > 0.5, shares


def test_weights_look_at_the_bos_where_no_place_is_alike() -> None:
    """Nothing is copied then: tokens that never come again, none of them frequent."""
    model = started(np.full(SHAPE["vocab_size"], 100.0))
    model.set_attn_implementation("eager")
    ids = np.r_[0, np.random.default_rng(12).permutation(np.arange(1, 400))][None]
    with torch.no_grad():
        attention = model(torch.from_numpy(ids), output_attentions=True).attentions[1][0, 0]
    assert float(attention[100:, 0].median()) > 0.9  # random bags are alike now and then


def test_training_teaches_words_and_leaves_the_reading() -> None:
    model = started(np.full(SHAPE["vocab_size"], 100.0))
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    text = np.random.default_rng(0).integers(1, VOCABULARY, 20_000).astype(np.uint16)
    tasks = Tasks(encode, text, WORDS, bos=0)
    train(model, replace(PHASES["trunk"], lengths=((256, 2),)), tasks, seed=1, divisor=1, label="two steps")
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {
        *(f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")),
        "model.layers.1.post_attention_layernorm.weight",
        "model.norm.weight",
    }


def test_weights_expect_frequent_tokens_before_the_first_step() -> None:
    """Where nothing can be copied the output is how frequent tokens are, near enough: no wrong token is sure."""
    counts = np.r_[np.full(100, 1e5), np.full(SHAPE["vocab_size"] - 100, 10.0)]
    ids = np.r_[0, np.random.default_rng(11).permutation(np.arange(1, 100))][None]
    with torch.no_grad():
        logs = started(counts)(torch.from_numpy(ids)).logits.log_softmax(-1)[0, :-1]
    expected = -float(logs.gather(1, torch.from_numpy(ids)[0, 1:, None]).mean())
    assert expected < np.log(SHAPE["vocab_size"])
    assert logs[:, 1:100].mean() > logs[:, 100:].mean() + 2.0


def test_no_word_of_three_letters_is_one_piece(tmp_path: Path) -> None:
    """The first piece of a value is hardest to find, so there must be others after it."""
    train_tokenizer(" ".join(["the", "transfer", "(transfer)", "Ship", "of"] * 500), tmp_path)
    encode = text_encoder(AutoTokenizer.from_pretrained(tmp_path, **LOCAL))
    pieces = {word: len(encode(word)) for word in (" of", " the", " transfer", " Ship", "transfer", "4096")}
    assert pieces == {" of": 1, " the": 2, " transfer": 2, " Ship": 2, "transfer": 2, "4096": 4}


def test_the_rate_warms_up_and_falls() -> None:
    phase = PHASES["trunk"]
    rates = [phase.rate_at(step, 1_000) for step in range(1_000)]
    level = int(1_000 * phase.constant) - 1
    assert rates[0] < rates[19] == rates[level] == phase.rate
    assert rates[level:] == sorted(rates[level:], reverse=True)
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
