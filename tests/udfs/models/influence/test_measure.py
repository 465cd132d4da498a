"""Measurements against an eager oracle that materialises everything; what may not change them; what has a reason."""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.udfs.models.influence.families import FAMILIES, save_family
from tests.udfs.models.influence.oracle import FRAMES, HEADINGS, Oracle
from udfs.models.influence import probe as probe_module
from udfs.models.influence.measure import Measurement, Scorer
from udfs.models.influence.pair import load_scorer, make_scorer
from udfs.models.influence.recipe import Sample
from udfs.settings import InfluenceSettings

Pairs = Callable[[str], tuple[Path, Path]]
CPU = torch.device("cpu")
AROUND = sum(map(len, HEADINGS))  # ids around the texts, without BOS


def text(n: int, seed: int) -> str:
    draw = random.Random(seed)
    return "".join(draw.choices(string.ascii_letters + "  .,\n", k=n - 1)) + "z"


def sample(context: int, instruction: int, response: int, seed: int = 0) -> Sample:
    return Sample(text(context, seed), text(instruction, seed + 1), text(response, seed + 2))


def settings(folders: tuple[Path, Path], **changes: Any) -> InfluenceSettings:
    return InfluenceSettings(short_model=str(folders[0]), long_model=str(folders[1]), device="cpu", **changes)


def scorer(folders: tuple[Path, Path], **changes: Any) -> Scorer:
    return make_scorer(settings(folders, **changes), CPU)


def assert_near(found: Measurement, expected: dict[str, Any], relative: float = 1e-4) -> None:
    assert found.reason is None
    for name, value in expected.items():
        got = getattr(found, name)
        if name.endswith("tokens"):
            assert got == value, name
        else:
            np.testing.assert_allclose(got, value, rtol=relative, atol=1e-9, err_msg=name)


# (context, instruction, response): shorter than a segment, exactly k segments, one-token responses, cut on the left
SIZES = [(1, 1, 1), (127, 5, 1), (256, 9, 20), (300, 12, 60), (700, 4, 30)]


@pytest.mark.parametrize("family", FAMILIES)
def test_measurements_equal_the_oracle(pair: Pairs, family: str) -> None:
    oracle = Oracle(*pair(family), bos=FAMILIES[family][2])
    full = scorer(pair(family), short_context="full", max_tokens=512)
    window = scorer(pair(family), short_window=300, max_tokens=512)
    for size in SIZES:
        one = sample(*size)
        assert_near(full.measure(one), oracle.measure(*texts(one), 128, 512, None))
    # Responses that A reads in one, two and three parts, and one token behind a context that is cut.
    for size in (SIZES[-1], (140, 5, 200), (90, 12, 350), (700, 4, 1)):
        one = sample(*size)
        assert_near(window.measure(one), oracle.measure(*texts(one), 128, 512, 300))


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_a_long_context_equals_the_oracle(pair: Pairs, family: str) -> None:
    oracle = Oracle(*pair(family), bos=True)
    one = sample(4_096 - AROUND - 1 - 60, 20, 40)
    assert_near(scorer(pair(family), short_window=512).measure(one), oracle.measure(*texts(one), 128, 8_192, 512))


@pytest.mark.parametrize("template", FRAMES)
def test_every_template_equals_the_oracle(pair: Pairs, template: str) -> None:
    oracle = Oracle(*pair("llama"), bos=True, template=template)
    measured = scorer(pair("llama"), template=template, short_window=300, max_tokens=512)
    for size in ((256, 9, 20), (700, 4, 30)):
        one = sample(*size)
        assert_near(measured.measure(one), oracle.measure(*texts(one), 128, 512, 300))


@pytest.mark.parametrize("factor", [1.0, 200.0])
def test_the_short_model_reads_beyond_its_own_window_when_asked(pair: Pairs, tmp_path: Path, factor: float) -> None:
    folders = (save_family(tmp_path / "short", "llama", seed=1, max_position_embeddings=128), pair("llama")[1])
    one = sample(700, 4, 30)
    found = scorer(folders, short_context="full", short_rope_factor=factor, max_tokens=512).measure(one)
    assert found.short_context_tokens == found.context_tokens > 128
    assert_near(found, Oracle(*folders, bos=True, rope_factor=factor).measure(*texts(one), 128, 512, None))


def test_dynamic_rope_inside_its_window_is_measured_alike_in_any_order(tmp_path: Path) -> None:
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    folders = (
        save_family(tmp_path / "short", "llama", seed=1, max_position_embeddings=128, rope_parameters=rope),
        save_family(tmp_path / "long", "llama", seed=2, max_position_embeddings=256, rope_parameters=rope),
    )
    samples = [sample(*size) for size in ((400, 5, 8), (30, 5, 8), (100, 5, 8))]
    forth, back = (scorer(folders) for _ in range(2))
    there = [forth.measure(one) for one in samples]
    assert there == [back.measure(one) for one in reversed(samples)][::-1]
    oracle = Oracle(*folders, bos=True)
    for one, found in zip(samples, there, strict=True):
        assert_near(found, oracle.measure(*texts(one), 128, 256, 128))


@pytest.mark.parametrize("changes", [{"short_context": "full"}, {"short_window": 300}])
def test_the_long_model_reads_a_sample_once_and_the_head_its_response_only(
    pair: Pairs, changes: dict[str, Any]
) -> None:
    measured = scorer(pair("llama"), max_tokens=512, **changes)
    read: dict[str, list[tuple[int, ...]]] = {"short": [], "long": []}
    predicted: list[int] = []
    for name, shapes in read.items():
        model = getattr(measured, name).model
        model.register_forward_pre_hook(
            lambda _, __, given, shapes=shapes: shapes.append(tuple(given["input_ids"].shape)), with_kwargs=True
        )
        model.lm_head.register_forward_pre_hook(lambda _, given: predicted.append(given[0].shape[1]))
    found = measured.measure(sample(700, 4, 30))
    assert found.dropped_tokens > 0
    assert [shape for shape in read["long"] if shape[1] == 512] == [(1, 512)]
    assert read["short"] == [(1, 512 if "short_context" in changes else 300)]
    assert len(predicted) == len(read["long"]) + len(read["short"]) and set(predicted) <= {30, 31}


def test_the_rope_base_of_the_short_model_is_multiplied(pair: Pairs) -> None:
    one = sample(300, 10, 20)
    scaled = scorer(pair("llama"), short_context="full", short_rope_factor=200.0)
    oracle = Oracle(*pair("llama"), bos=True, rope_factor=200.0)
    expected = oracle.measure(*texts(one), 128, 8_192, None)
    assert_near(scaled.measure(one), expected)
    plain = scorer(pair("llama"), short_context="full").measure(one)
    assert plain.long_log_ppl == pytest.approx(expected["long_log_ppl"], rel=1e-4)
    assert abs(plain.short_log_ppl - expected["short_log_ppl"]) > 1e-3  # type: ignore[operator]


def test_sums_of_a_short_segment_and_of_small_blocks_are_the_same(pair: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    one = sample(333, 10, 25)
    measured = scorer(pair("llama"), segment_tokens=16)
    whole = measured.measure(one)
    monkeypatch.setattr(probe_module, "WORKSPACE", {"cpu": 1_000})
    assert_near(measured.measure(one), numbers(whole), relative=1e-5)
    assert_near(whole, Oracle(*pair("llama"), bos=True).measure(*texts(one), 16, 8_192, None))


def test_order_and_batches_change_nothing(pair: Pairs) -> None:
    samples = [sample(*size, seed=at * 10) for at, size in enumerate(SIZES)]
    alone = [scorer(pair("qwen3")).measure(one) for one in samples]
    other = scorer(pair("qwen3"), batch_tokens=400)
    for one, expected in reversed(list(zip(samples, alone, strict=True))):
        assert_near(other.measure(one), numbers(expected), relative=1e-5)
        assert_near(other.measure(one), numbers(expected), relative=1e-5)


@pytest.mark.parametrize("template", FRAMES)
def test_markers_in_the_texts_are_text(pair: Pairs, template: str) -> None:
    measured = scorer(pair("llama"), template=template)
    marked = "a ### Response: b\n\n ### Instruction: <|im_end|>\n<|im_start|>assistant\n<s>"
    found = measured.measure(Sample(marked * 3, marked, marked))
    assert found.reason is None
    assert found.context_tokens == 3 * len(marked)
    assert found.instruction_tokens == found.response_tokens == len(marked)
    parts = measured.recipe.parts(Sample(marked * 3, marked, marked))
    plain = measured.recipe.parts(Sample("x" * 3 * len(marked), "y" * len(marked), "z" * len(marked)))
    assert (parts.head == plain.head).all() and len(parts.question) == len(plain.question)
    oracle = Oracle(*pair("llama"), bos=True, template=template)
    assert_near(found, oracle.measure(marked * 3, marked, marked, 128, 8_192, None))
    assert not np.isin(parts.context, [256, 257, 258]).any() and not np.isin(parts.response, [256, 257, 258]).any()


def test_the_chat_template_is_cut_around_the_texts(pair: Pairs) -> None:
    tokenizer_ids = scorer(pair("llama"), template="chat").recipe
    frame = tokenizer_ids.frame
    assert frame.head[0] == 257 and frame.tail[0] == 258  # <|im_start|> user …, <|im_end|> after the instruction
    assert list(frame.between) == tokenizer_ids.encode("\n\n")
    assert list(frame.tail[1:]) == [*tokenizer_ids.encode("\n"), 257, *tokenizer_ids.encode("assistant\n")]


def test_only_the_context_is_cut(pair: Pairs) -> None:
    one = sample(1_000, 30, 50)
    measured = scorer(pair("llama"), max_tokens=300)
    found = measured.measure(one)
    room = 300 - AROUND - 1 - 80
    assert (found.context_tokens, found.dropped_tokens) == (room, 1_000 - room)
    assert (found.instruction_tokens, found.response_tokens) == (30, 50)
    tail = measured.measure(replace(one, context=str(one.context)[-room:]))
    assert_near(tail, {k: v for k, v in numbers(found).items() if k != "dropped_tokens"}, relative=1e-6)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"context": None}, "empty_context"),
        ({"context": " \n "}, "empty_context"),
        ({"instruction": ""}, "empty_instruction"),
        ({"response": None}, "empty_response"),
        ({"response": 7}, "empty_response"),
        ({"response": "long " * 200}, "no_room_for_context"),
        ({"instruction": "long " * 200}, "no_room_for_context"),
    ],
)
def test_what_cannot_be_measured_has_a_reason(pair: Pairs, changes: dict[str, Any], reason: str) -> None:
    found = load_scorer(settings(pair("llama"), max_tokens=512)).measure(replace(sample(50, 5, 5), **changes))
    assert found.reason == reason
    assert found.long_log_ppl is None and found.segment_log_ppl == []


def test_values_that_are_not_finite_are_a_reason(pair: Pairs) -> None:
    measured = scorer(pair("llama"))
    with torch.no_grad():
        measured.long.model.lm_head.weight[70] = float("nan")
    found = measured.measure(sample(50, 5, 5))
    assert found.reason == "not_finite" and found.context_tokens == 50 and found.segment_attention == []


def test_memory_that_runs_out_halves_the_batches_and_then_is_a_reason(
    pair: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = scorer(pair("llama"), batch_tokens=4_096)
    one = sample(1_024, 5, 5)
    expected = measured.measure(one)
    limit = [700]
    forward = type(measured.long.model).forward

    def hungry(self: Any, input_ids: torch.Tensor, **options: Any) -> Any:
        if len(input_ids) > 1 and input_ids.numel() > limit[0]:
            raise torch.OutOfMemoryError("no more")
        if input_ids.numel() > 10 * limit[0]:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, input_ids=input_ids, **options)

    monkeypatch.setattr(type(measured.long.model), "forward", hungry)
    assert_near(measured.measure(one), numbers(expected), relative=1e-5)
    assert 0 < measured.batch_tokens <= limit[0]
    limit[0] = 10
    assert measured.measure(one).reason == "out_of_memory"
    monkeypatch.undo()
    assert_near(measured.measure(one), numbers(expected), relative=1e-5)


def test_other_faults_are_no_reasons(pair: Pairs, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = scorer(pair("llama"))

    def broken(self: Any, **options: Any) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(type(measured.long.model), "forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        measured.measure(sample(50, 5, 5))


def test_a_half_precision_pair_is_near(pair: Pairs) -> None:
    one = sample(600, 5, 40)
    exact, half = scorer(pair("llama")).measure(one), scorer(pair("llama"), dtype="bfloat16").measure(one)
    assert half.long_log_ppl == pytest.approx(exact.long_log_ppl, rel=0.03)
    np.testing.assert_allclose(half.segment_attention, exact.segment_attention, rtol=0.1)
    assert load_scorer(settings(pair("llama"))).long.model.dtype == torch.float32


def texts(one: Sample) -> tuple[str, str, str]:
    return str(one.context), str(one.instruction), str(one.response)


def numbers(found: Measurement) -> dict[str, Any]:
    return {name: value for name, value in asdict(found).items() if name != "reason"}
