"""Graph figures against networkx and plain Python on random graphs."""

from __future__ import annotations

import random
from collections import Counter

import networkx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from graphs.graph_frames import connected_components
from graphs.statistics import LABEL_ROUNDS, PAGERANK_ROUNDS, Links, communities, graph_statistics, page_rank

NODES = "setting string, document_type string, field string, value string, node string, count bigint"
EDGES = (
    "setting string, document_type string, source string, target string, "
    "source_field string, target_field string, count bigint"
)
KEYS = [("single", "papers"), ("single", "code"), ("multi", "papers")]


def random_graph(seed: int) -> networkx.Graph:
    """Some dozen nodes, several components, isolated nodes among them."""
    chance = random.Random(seed)
    graph = networkx.gnp_random_graph(chance.randint(20, 40), 0.06, seed=seed)
    return networkx.relabel_nodes(graph, {n: f"{seed}-{n:03d}" for n in graph})


@pytest.fixture(scope="module")
def graphs() -> dict[tuple[str, str], networkx.Graph]:
    return {key: random_graph(seed) for seed, key in enumerate(KEYS)}


def frames(spark: SparkSession, graphs: dict[tuple[str, str], networkx.Graph]) -> tuple[DataFrame, DataFrame]:
    """Node and edge tables in two batches; what the second one takes back is in no graph."""
    nodes, edges = [], []
    for key, graph in graphs.items():
        nodes += [(*key, f"field{int(n[-1]) % 3}", f"value {n}", n, count) for n in graph for count in (1, 2)]
        nodes += [(*key, "field0", "gone", f"{key}-gone", count) for count in (4, -4)]
        edges += [(*key, a, b, "f", "g", count) for a, b in graph.edges for count in (5, -3)]
        first = min(graph)
        edges += [(*key, first, f"{key}-gone", "f", "g", 1)]  # one end is gone
        edges += [
            (*key, first, max(graph), "f", "g", count) for count in (1, -1) if not graph.has_edge(first, max(graph))
        ]
    return spark.createDataFrame(nodes, NODES), spark.createDataFrame(edges, EDGES)


def propagated(graph: networkx.Graph, rounds: int) -> dict[int, int]:
    """Synchronous label propagation, ties to the least label, in plain Python."""
    labels = {node: node for node in graph}
    for _ in range(rounds):
        heard = {node: Counter(labels[other] for other in graph[node]) for node in graph if graph[node]}
        labels |= {node: min(h, key=lambda label: (-h[label], label)) for node, h in heard.items()}
    return labels


@pytest.mark.spark
def test_figures_equal_networkx(spark: SparkSession, graphs: dict[tuple[str, str], networkx.Graph]) -> None:
    rows = {(r.setting, r.document_type): r for r in graph_statistics(*frames(spark, graphs)).collect()}
    assert set(rows) == set(KEYS)
    for key, graph in graphs.items():
        row, parts = rows[key], list(networkx.connected_components(graph))
        degrees = [degree for _, degree in graph.degree]
        assert (row.nodes, row.edges) == (len(graph), graph.number_of_edges())
        assert (row.components, row.largest_component) == (len(parts), max(map(len, parts)))
        assert (row.max_degree, row.mean_degree) == (max(degrees), pytest.approx(sum(degrees) / len(degrees)))
        assert row.components <= row.communities <= row.nodes
        ranks = networkx.pagerank(graph, alpha=0.85)
        best = sorted(ranks.values(), reverse=True)[:10]
        assert [top.pagerank for top in row.top_pagerank] == pytest.approx(best, rel=0.1)
        for top in row.top_pagerank:
            assert top.pagerank == pytest.approx(ranks[top.value.removeprefix("value ")], rel=0.1)


def numbered(spark: SparkSession, graph: networkx.Graph) -> tuple[DataFrame, DataFrame]:
    """The graph as vertices [id] and links [src, dst]."""
    vertices = spark.createDataFrame([(n,) for n in graph], "id bigint")
    return vertices, spark.createDataFrame(list(graph.edges), "src bigint, dst bigint")


@pytest.mark.spark
def test_components_equal_networkx(spark: SparkSession) -> None:
    graph = networkx.gnp_random_graph(60, 0.04, seed=5)
    components = {r.id: r.component for r in connected_components(*numbered(spark, graph)).collect()}
    assert components == {n: min(part) for part in networkx.connected_components(graph) for n in part}


@pytest.mark.spark
def test_figures_are_the_same_on_any_partitioning(
    spark: SparkSession, graphs: dict[tuple[str, str], networkx.Graph]
) -> None:
    nodes, edges = frames(spark, graphs)
    one = sorted(graph_statistics(nodes, edges).collect())
    assert sorted(graph_statistics(nodes.repartition(7, "node"), edges.repartition(5, "target")).collect()) == one


@given(st.integers(1, 30), st.data())
def test_algorithms_equal_their_oracles(n: int, data: st.DataObject) -> None:
    pairs = data.draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)).filter(lambda p: p[0] < p[1])))
    order = data.draw(st.permutations(sorted(pairs)))
    links = Links(n, *(np.array([pair[end] for pair in order], dtype=np.int64) for end in (0, 1)))
    graph = networkx.Graph(list(pairs))
    graph.add_nodes_from(range(n))

    labels = propagated(graph, LABEL_ROUNDS)
    assert communities(links).tolist() == [labels[node] for node in range(n)]

    ranks = dict.fromkeys(graph, 1.0)
    for _ in range(PAGERANK_ROUNDS):
        ranks = {n: 0.15 + 0.85 * sum(ranks[m] / graph.degree[m] for m in graph[n]) for n in graph}
    whole = sum(ranks.values())
    assert page_rank(links).tolist() == pytest.approx([ranks[node] / whole for node in range(n)])
