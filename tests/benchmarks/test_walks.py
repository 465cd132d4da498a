"""Walks over distinct fields against PecanPy's weighted first-order walk, which has no such rule; one core each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import chi2

from graphs.cooccurrence import count_pairs
from graphs.walk_kernel import WalkGraph, build_graph, sample
from tests.benchmarks.pecanpy_peer import FirstOrderWalks
from tests.benchmarks.synthetic import held_values
from tests.benchmarks.timing import interleaved, say, scaled

NODES = 6
EPSILON = 1e-6
BIN = 20.0  # expected draws per bin of the χ² test

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


@dataclass(frozen=True)
class Edges:
    """A synthetic graph, its nodes numbered by field."""

    field: np.ndarray
    source: np.ndarray
    target: np.ndarray
    count: np.ndarray

    @property
    def degrees(self) -> np.ndarray:
        return np.bincount(np.concatenate([self.source, self.target]), minlength=len(self.field))


def edges_of(conversations: int) -> Edges:
    conversation, field, value = held_values(conversations)
    distinct, node = np.unique(field << 48 | value, return_inverse=True)
    everywhere = np.ones(len(distinct), dtype=bool)
    return Edges(distinct >> 48, *count_pairs(conversation, node.astype(np.int64), distinct >> 48, everywhere))


@pytest.mark.parametrize(("conversations", "what"), [(20_000, "in part in the cache"), (200_000, "beyond the cache")])
def test_walks(conversations: int, what: str) -> None:
    edges = edges_of(scaled(conversations, 200))
    names = [f"{number:032x}" for number in range(len(edges.field))]
    ids = pa.array(names, pa.string())
    weight = edges.count + EPSILON
    graph = build_graph(edges.field, edges.source, edges.target, weight)
    build = interleaved({"ours": lambda: build_graph(edges.field, edges.source, edges.target, weight)})["ours"]
    peer = FirstOrderWalks(names, edges.source, edges.target, edges.count)
    walks = scaled(1_000_000, 2_000)
    starts = np.random.default_rng(0).integers(0, len(names), walks).astype(np.uint32)
    numbers = np.arange(walks)
    found = interleaved(
        {
            "peer loop": lambda: peer.numbers(starts, NODES),
            "ours loop": lambda: sample(graph, 1, numbers, NODES, 4, 20),
            "peer": lambda: peer.names(starts, NODES),
            "ours": lambda: ids.take(pa.array(sample(graph, 1, numbers, NODES, 4, 20).nodes.ravel())),
        }
    )
    drawn = found["ours loop"].result
    assert np.array_equal(sample(graph, 1, numbers[: walks // 2], NODES, 4, 20).nodes, drawn.nodes[: walks // 2])
    forbidden = repeated_fields(drawn.nodes, edges.field)
    statistic, freedom = first_steps_from_hub(graph, edges, walks)
    assert forbidden == 0
    assert chi2.sf(statistic, freedom) > 1e-6  # seeded: the same figure on every machine
    speed = {name: walks / timed.warm_cpu / 1e6 for name, timed in found.items()}
    say(
        "walks",
        f"{len(names):,} nodes, {len(edges.source):,} edges ({what}), largest hub {edges.degrees.max():,}, "
        f"M walks/s of {NODES} nodes on one core: as node ids longloom {speed['ours']:.2f}, "
        f"PecanPy {speed['peer']:.3f} "
        f"({speed['ours'] / speed['peer']:.1f}x, reach 5x); bare compiled loops {speed['ours loop']:.2f} and "
        f"{speed['peer loop']:.2f} ({speed['ours loop'] / speed['peer loop']:.1f}x, PecanPy without the rule of "
        f"distinct fields); χ²/dof {statistic / freedom:.3f} at {freedom} degrees, forbidden fields {forbidden}, "
        f"arrays built in {build.warm_cpu:.1f} s",
    )


def repeated_fields(nodes: np.ndarray, field: np.ndarray) -> int:
    """Steps into a field that the walk had been in."""
    fields = np.where(nodes >= 0, field[nodes], -1 - np.arange(nodes.shape[1]))
    fields.sort(axis=1)
    return int((np.diff(fields, axis=1) == 0).sum())


def first_steps_from_hub(graph: WalkGraph, edges: Edges, walks: int) -> tuple[float, int]:
    """(χ², degrees of freedom) of the second steps from the largest hub against the exact law, per first field."""
    hub = int(edges.degrees.argmax())
    drawn = sample(graph, 2, np.arange(walks), 3, 2, 20).nodes
    drawn = drawn[(drawn[:, 1] == hub) & (drawn[:, 2] >= 0)]
    at_source, at_target = edges.source == hub, edges.target == hub
    neighbour = np.concatenate([edges.target[at_source], edges.source[at_target]])
    weight = np.concatenate([edges.count[at_source], edges.count[at_target]]) + EPSILON
    statistic, freedom = 0.0, 0
    for first in np.unique(edges.field[drawn[:, 0]]):
        reached = drawn[edges.field[drawn[:, 0]] == first, 2]
        allowed = (edges.field[neighbour] != first) & (edges.field[neighbour] != edges.field[hub])
        law = weight[allowed] / weight[allowed].sum() * len(reached)
        bins = (np.cumsum(law) / BIN).astype(np.int64)
        expected = np.bincount(bins, law)
        order = np.argsort(neighbour[allowed])
        seen = bins[order][np.searchsorted(neighbour[allowed], reached, sorter=order)]
        observed = np.bincount(seen, minlength=len(expected))
        sure = expected >= BIN / 4
        if sure.sum() > 1:
            expected = np.append(expected[sure], expected[~sure].sum())
            observed = np.append(observed[sure], observed[~sure].sum())
            if expected[-1] < BIN / 4:
                expected, observed = expected[:-1], observed[:-1]
            statistic += float(((observed - expected) ** 2 / expected).sum())
            freedom += len(expected) - 1
    assert freedom, "no walk met the hub: draw more"
    return statistic, freedom
