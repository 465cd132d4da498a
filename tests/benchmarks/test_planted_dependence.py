"""Planted dependence on the embedded pair: who tells an answer from far back from a near or unsupported one.

About 15 minutes of one core; each (length, seed) is kept, so it can be run in parts: -k "measuring and 2048-1".
LONGLOOM_PAIR names a folder with short/ and long/ to measure another pair.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from tests.benchmarks.kept import kept
from tests.benchmarks.timing import say
from tests.udfs.models.influence import planted
from tests.udfs.models.influence.planted_figures import (
    ALPHAS,
    NORMS,
    Row,
    attended,
    auc,
    explained,
    field,
    first_share,
    folders,
    gap,
    gap_auc,
    measured,
    precision,
    scorer,
    terms,
)
from udfs.models.influence import measure, probe, recipe
from udfs.settings import InfluenceSettings

SEEDS = tuple(range(1, 10))  # first run with the shipped pair when it was finished
COUNTS = {2_048: 48, 4_096: 32, 8_192: 16}  # sequence length → samples a seed, half of them far
DEPTHS = {2_048: (1_500, 2_048), 4_096: (1_500, 2_500, 4_096), 8_192: (1_500, 3_000, 5_000, 8_192)}
OTHERS = ("near", "unsaid", "unrelated")
Pools = dict[int, list[list[Row]]]  # length → a pool for each seed


def settings() -> InfluenceSettings:
    folder = os.environ.get("LONGLOOM_PAIR")
    names = {"short_model": f"{folder}/short", "long_model": f"{folder}/long"} if folder else {}
    return InfluenceSettings(**names, device="cpu")


def rows(length: int, seed: int) -> list[Row]:
    """Measured samples of one length and seed."""
    torch.set_num_threads(1)
    chosen = settings()
    code = [Path(str(module.__file__)) for module in (planted, measure, probe, recipe)]

    def make() -> list[Row]:
        return measured(scorer(chosen), field(chosen).samples(COUNTS[length], length, seed))

    return kept(f"planted-{length}-{seed}", [*folders(chosen), *code], make)


@pytest.mark.bench
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("length", COUNTS)
def test_measuring(length: int, seed: int) -> None:
    assert len(rows(length, seed)) == COUNTS[length]


def always(row: Row) -> bool:
    return True


def worded(row: Row, again: bool) -> bool:
    return bool(row["reworded"]) is again


def of_kind(row: Row, kind: str) -> bool:
    return bool(row["kind"] == kind)


def back(row: Row, low: int, high: int) -> bool:
    return bool(low <= row["distance"] < high)


def spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def show(name: str, figure: Callable[[list[Row]], float], pools: Pools, floor: float = 0.0) -> list[str]:
    """Say mean and standard deviation over seeds, for each length. What is below the floor comes back."""
    found = {length: [figure(pool) for pool in of_length] for length, of_length in pools.items()}
    say(name, "  ".join(f"{length}: {spread(values)}" for length, values in found.items()))
    return [f"{name} at {length}: below {floor}" for length, values in found.items() if np.mean(values) < floor]


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_the_gap_tells_far_from_near() -> None:
    pools = {length: [rows(length, seed) for seed in SEEDS] for length in COUNTS}
    faults = show("gap AUC", partial(gap_auc, far=always), pools, floor=0.95)
    show("gap AUC, answer in the fact's wording", partial(gap_auc, far=partial(worded, again=False)), pools)
    faults += show("gap AUC, answer reworded", partial(gap_auc, far=partial(worded, again=True)), pools, floor=0.90)
    for kind in OTHERS:
        show(f"gap AUC against {kind}", partial(gap_auc, far=always, other=partial(of_kind, kind=kind)), pools)
    faults += show("planted segment explains best", partial(first_share, value=explained), pools, floor=0.95)
    show("planted segment attended most", partial(first_share, value=attended), pools)
    for layer in range(len(pools[2_048][0][0]["layer_attention"])):
        show(f"… by layer {layer}", partial(first_share, value=partial(attended, layer=layer)), pools)
    for length, bounds in DEPTHS.items():
        for low, high in pairwise(bounds):
            values = [gap_auc(pool, partial(back, low=low, high=high)) for pool in pools[length]]
            say(f"gap AUC at {length}, {low}–{high} tokens back", spread(values))
    for kind in ("far", *OTHERS):
        gaps = [gap(row) for row in chain(*chain(*pools.values())) if row["kind"] == kind]
        quantiles = " ".join(f"{value:.2f}" for value in np.quantile(gaps, (0.05, 0.5, 0.95)))
        say(f"gap of {kind}, nats a token, 5 % 50 % 95 %", quantiles)
    assert faults == []


@pytest.mark.bench
@pytest.mark.timeout(7_200)
def test_norms_and_other_scorers() -> None:
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in SEEDS:
        parts = {str(length): rows(length, seed) for length in COUNTS}
        mixed = list(chain(*parts.values()))
        for label, pool in {**parts, "mixed": mixed}.items():
            far = [row["kind"] == "far" for row in pool]
            for term, values in terms(pool, seed=seed).items():
                table[term][label].append(auc(values, far))
        far = [row["kind"] == "far" for row in mixed]
        every = terms(mixed, seed=seed)
        for term, values in every.items():
            table[term]["top tenth far"].append(precision(values, far))
            table[term]["with length"].append(stats.spearmanr(values, every["length"])[0])
            if term.endswith(("hmp", "cas")):
                score = every[term.rpartition(" ")[0] + " score"]
                table[term]["with its score"].append(stats.spearmanr(values, score)[0])
        for alpha in ALPHAS:
            for norm in NORMS:
                score = terms(mixed, alpha)[f"{norm} score"]
                table[f"{norm} by α: AUC"][str(alpha)].append(auc(score, far))
                table[f"{norm} by α: top tenth far"][str(alpha)].append(precision(score, far))
    for name, columns in table.items():
        say(name, "  ".join(f"{label} {spread(values)}" for label, values in columns.items()))
    assert np.mean(table["rank score"]["mixed"]) > np.mean(table["paper score"]["mixed"])
