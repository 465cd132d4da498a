"""Does training on a selection help? A base that sees near facts alone, tuned on the top, a random, the bottom tenth.

About 35 minutes of one core. The base is the embedded long model under `short_sighted`.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.benchmarks import tuning
from tests.benchmarks.kept import kept
from tests.benchmarks.test_planted_dependence import settings, spread
from tests.benchmarks.timing import say
from tests.benchmarks.tuning import lesson, loaded, retrieval, short_sighted, tuned
from tests.sql.score_oracle import expected
from tests.udfs.models.influence import planted
from tests.udfs.models.influence.planted import Kind, Planted
from tests.udfs.models.influence.planted_figures import Row, field, folders, measured, scorer
from udfs.models.influence import measure, probe, recipe

SEEDS = (1, 2, 3)
LENGTH, POOL, SHARE, ASKED, EPOCHS = 2_560, 320, 0.1, 4, 2
HELD_OUT_LENGTH, HELD_OUT, HELD_OUT_NEAR = 2_048, 48, 24
PARTS = 4  # the pool is scored in parts that can be run apart
# One in five rests on far facts, one on near ones; the rest rests on nothing.
MIX: tuple[Kind, ...] = ("far", "near", "unsaid", "unrelated", "unrelated")
KINDS: tuple[Kind, ...] = ("far", "near")
ARMS = ("top", "random", "bottom", "far only")


@cache
def pool() -> list[Planted]:
    return list(field(settings()).samples(POOL, LENGTH, 77, MIX, ASKED))


def scored_part(part: int) -> list[Row]:
    chosen = settings()
    code = [Path(str(module.__file__)) for module in (planted, measure, probe, recipe)]
    made_of = [*folders(chosen), *code]
    return kept(f"pool-{POOL}-{part}", made_of, lambda: measured(scorer(chosen), pool()[part::PARTS]))


def scored_pool() -> list[Row]:
    return [row for part in range(PARTS) for row in scored_part(part)]


def arm(name: str, rows: list[Row], seed: int) -> list[Planted]:
    """A tenth of the pool."""
    count = round(SHARE * len(rows))
    score = {key: row["position"] for key, row in expected(rows, "rank", 0.7).items()}
    draw = np.random.default_rng(seed)
    shuffled = [pool()[at] for at in draw.permutation(len(rows))]
    by_score = sorted(pool(), key=lambda sample: score[sample.id])
    return {
        "top": by_score[:count],
        "random": shuffled[:count],
        "bottom": by_score[-count:],
        "far only": [sample for sample in shuffled if sample.kind == "far"][:count],
    }[name]


def run(name: str, seed: int) -> list[dict[str, Any]]:
    """One base tuned on one arm: what it retrieves from far back, by wording of the answer, and from near."""
    torch.set_num_threads(1)
    by = scorer(settings()).recipe
    chosen = arm(name, scored_pool(), seed) if name in ARMS else []
    model = loaded(folders(settings())[1])
    if name != "the long model":
        model = tuned(short_sighted(model), [lesson(by, sample) for sample in chosen], EPOCHS, seed)
    figures = {kind: float(np.mean([each.kind == kind for each in chosen])) if chosen else 0.0 for kind in KINDS}
    far, near = (
        [lesson(by, sample) for sample in field(settings()).samples(count, HELD_OUT_LENGTH, 900 + seed, (kind,))]
        for kind, count in zip(KINDS, (HELD_OUT, HELD_OUT_NEAR), strict=True)
    )
    for label, part in (("said", far[::2]), ("reworded", far[1::2]), ("near, said", near[::2])):
        figures[f"{label}, retrieved"], figures[f"{label}, nats"] = retrieval(model, part)
    return [figures]


@pytest.mark.bench
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("part", range(PARTS))
def test_pool(part: int) -> None:
    torch.set_num_threads(1)
    assert len(scored_part(part)) == POOL / PARTS


@pytest.mark.bench
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["base", "the long model", *ARMS])
def test_tuning(name: str, seed: int) -> None:
    assert figures(name, seed)


def figures(name: str, seed: int) -> dict[str, float]:
    made_of = [*folders(settings()), *map(Path, (str(tuning.__file__), __file__, str(planted.__file__)))]
    return kept(f"tuned-{name.replace(' ', '-')}-{seed}", made_of, lambda: run(name, seed))[0]


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_what_training_on_a_tenth_gives() -> None:
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for name in ("base", *ARMS, "the long model"):
        for seed in SEEDS:
            for label, value in figures(name, seed).items():
                table[name][label].append(value)
        say(name, "  ".join(f"{label} {spread(values)}" for label, values in table[name].items()))
    assert np.mean(table["top"]["far"]) > np.mean(table["random"]["far"]) > np.mean(table["bottom"]["far"])
    assert np.mean(table["base"]["near, said, retrieved"]) > 0.4, "the base retrieves near facts"
    assert np.mean(table["base"]["said, retrieved"]) < 0.05 < np.mean(table["the long model"]["said, retrieved"])
