"""Figures of every graph: components, degrees, communities and PageRank, one row per (setting, document type).

A whole graph lies in one Arrow group, as it does for walks. It refuses to know how counts came to be and who reads
the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

if TYPE_CHECKING:  # else imported by the workers that need it
    from scipy.sparse import csr_array

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PAGERANK_ROUNDS = 10
RESET = 0.15  # PageRank's chance to begin anew, 1 - damping
LABEL_ROUNDS = 5
TOP = 10  # nodes named per graph
DIGITS = 9  # PageRank is rounded, so that equal ranks tie whatever the order of summation

NAMED = pa.struct([("field", pa.string()), ("value", pa.string()), ("pagerank", pa.float64())])
FIGURES = pa.schema(
    [
        ("setting", pa.string()),
        ("document_type", pa.string()),
        ("nodes", pa.int64()),
        ("edges", pa.int64()),
        ("components", pa.int64()),
        ("largest_component", pa.int64()),
        ("communities", pa.int64()),
        ("mean_degree", pa.float64()),
        ("max_degree", pa.int64()),
        ("top_pagerank", pa.list_(NAMED)),
    ]
)
FIGURE_COLUMNS = (
    "setting string, document_type string, nodes bigint, edges bigint, components bigint, largest_component bigint, "
    "communities bigint, mean_degree double, max_degree bigint, "
    "top_pagerank array<struct<field:string,value:string,pagerank:double>>"
)


@dataclass(frozen=True)
class Links:
    """The undirected edges of a graph of `n` nodes, numbered 0 .. n - 1."""

    n: int
    source: Ints  # [edges]
    target: Ints  # [edges]

    def both_ways(self) -> tuple[Ints, Ints]:
        """(from, to) of each edge in both directions, [2 edges] each."""
        return np.concatenate([self.source, self.target]), np.concatenate([self.target, self.source])

    def matrix(self) -> csr_array:
        """Symmetric adjacency [n, n]; an entry counts the edges between two nodes."""
        from scipy.sparse import csr_array

        ends = self.both_ways()
        return csr_array((np.ones(len(ends[0])), ends), shape=(self.n, self.n))


def graph_statistics(nodes: DataFrame, edges: DataFrame) -> DataFrame:
    """One row per (setting, type) that has a node, columns FIGURE_COLUMNS.

    `nodes` and `edges` may hold several rows per key, negative counts among them: they are summed, and what sums to
    nothing is gone, with the edges of a node that is gone. Degrees count distinct neighbours; the ranks of a graph sum
    to 1.
    """

    def figures(key: tuple[pa.Scalar, ...], table: pa.Table) -> pa.Table:
        told = figures_of_group(table)
        setting, document_type = (part.as_py() for part in key)
        rows = [{"setting": setting, "document_type": document_type, **told}] if told else []
        return pa.Table.from_pylist(rows, FIGURES)

    rows = _tagged_rows(nodes, edges)
    return rows.groupBy("setting", "document_type").applyInArrow(cast(Any, figures), FIGURE_COLUMNS)


def figures_of_group(table: pa.Table) -> dict[str, Any]:
    """The figures of one graph from its tagged rows in any order; empty where no node is left."""
    from scipy.sparse.csgraph import connected_components

    is_edge = table["is_edge"].combine_chunks()
    named = _nodes_of(table.filter(pc.invert(is_edge)))
    if not named.num_rows:
        return {}
    links = _links_of(table.filter(is_edge), named["a"].to_numpy())
    degree = np.bincount(links.both_ways()[0], minlength=links.n)
    components, component = connected_components(links.matrix(), directed=False)
    return {
        "nodes": links.n,
        "edges": len(links.source),
        "components": int(components),
        "largest_component": int(np.bincount(component).max()),
        "communities": len(np.unique(communities(links))),
        "mean_degree": float(degree.sum() / links.n),
        "max_degree": int(degree.max()),
        "top_pagerank": _top(named, page_rank(links)),
    }


def communities(links: Links, rounds: int = LABEL_ROUNDS) -> Ints:
    """[n] labels by synchronous label propagation, a node without edges keeping its own.

    Each round a node takes the commonest label of its neighbours, ties to the least, so that no label depends on the
    order in which edges come.
    """
    labels = np.arange(links.n)
    told_by, heard_by = links.both_ways()
    for _ in range(rounds):
        heard, times = np.unique(heard_by * links.n + labels[told_by], return_counts=True)
        node, label = np.divmod(heard, links.n)
        commonest_first = np.lexsort((label, -times, node))
        first = np.unique(node[commonest_first], return_index=True)[1]
        best = commonest_first[first]
        labels[node[best]] = label[best]
    return labels


def page_rank(links: Links, rounds: int = PAGERANK_ROUNDS) -> Floats:
    """[n] ranks of the undirected, unweighted graph, summing to 1."""
    matrix = links.matrix()
    degree = np.maximum(matrix.sum(axis=1), 1.0)  # a node without edges gives nothing to anybody
    ranks = np.ones(links.n)
    for _ in range(rounds):
        ranks = RESET + (1 - RESET) * (matrix @ (ranks / degree))
    return cast(Floats, ranks / ranks.sum())


def _nodes_of(rows: pa.Table) -> pa.Table:
    """[a, field, value, node] of the nodes that are left, in the order of their numbers."""
    firsts: Any = [("field", "min"), ("value", "min"), ("node", "min"), ("count", "sum")]
    nodes = rows.group_by(["a"], use_threads=False).aggregate(firsts)
    left = nodes.filter(pc.greater(nodes["count_sum"], 0)).sort_by("a")
    return left.select(["a", "field_min", "value_min", "node_min"]).rename_columns(["a", "field", "value", "node"])


def _links_of(rows: pa.Table, numbers: Ints) -> Links:
    """The edges that are left between nodes that are left."""
    n, ends = len(numbers), []
    there = np.ones(rows.num_rows, dtype=bool)
    for name in ("a", "b"):
        end = rows[name].to_numpy()
        place = np.minimum(np.searchsorted(numbers, end), n - 1)
        there &= numbers[place] == end
        ends.append(place)
    pair, which = np.unique(ends[0][there] * n + ends[1][there], return_inverse=True)
    count = np.bincount(which, weights=rows["count"].to_numpy()[there], minlength=len(pair))
    source, target = np.divmod(pair[count > 0], n)
    return Links(n, source, target)


def _top(named: pa.Table, ranks: Floats) -> list[dict[str, Any]]:
    """The most central nodes, best first, ties in the order of field, value and node."""
    rounded = named.append_column("pagerank", pa.array(np.round(ranks, DIGITS)))
    order: Any = [("pagerank", "descending"), *((name, "ascending") for name in ("field", "value", "node"))]
    best = pc.select_k_unstable(rounded, k=TOP, sort_keys=order)
    return cast(list[dict[str, Any]], rounded.take(best).select(["field", "value", "pagerank"]).to_pylist())


def _tagged_rows(nodes: DataFrame, edges: DataFrame) -> DataFrame:
    """One frame of both inputs: [setting, document_type, is_edge, a, b, field, value, node, count]."""
    text, number = F.lit(None).cast("string"), F.lit(None).cast("bigint")

    def tagged(frame: DataFrame, is_edge: bool, **columns: Column) -> DataFrame:
        named = [column.alias(name) for name, column in columns.items()]
        return frame.select("setting", "document_type", F.lit(is_edge).alias("is_edge"), *named, "count")

    node = {name: F.col(name) for name in ("field", "value", "node")}
    return tagged(nodes, False, a=_number("node"), b=number, **node).unionByName(
        tagged(edges, True, a=_number("source"), b=_number("target"), **dict.fromkeys(node, text))
    )


def _number(node: str) -> Column:
    """A 64-bit number of a node, an eighth of its id.

    Two of 10 million nodes share one with probability 3e-6; then they count as one.
    """
    return F.xxhash64(node)
