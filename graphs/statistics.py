"""The door to GraphFrames: a type's graph as a GraphFrame, and figures of all graphs from one run per algorithm.

It refuses to know how counts came to be and who reads the figures. Graphs of different (setting, type) share no
node, so each algorithm runs once over their disjoint union and its result is split afterwards.
"""

from __future__ import annotations

from typing import cast

from graphframes import GraphFrame
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from graphs.checkpoints import settled

GROUP = ("setting", "document_type")
PAGERANK_ROUNDS = 10
LABEL_ROUNDS = 5
TOP = 10  # nodes named per graph
DIGITS = 9  # PageRank is rounded, so that equal ranks tie whatever the order of summation


def graph_frame(nodes: DataFrame, edges: DataFrame, setting: str, document_type: str) -> GraphFrame:
    """The graph of one (setting, type): vertices [id, field, value, count], edges [src, dst, w].

    Counts are summed over batches. The weight is called `w`, because PageRank writes a `weight` of its own.
    """

    def here(frame: DataFrame) -> DataFrame:
        return frame.where((F.col("setting") == setting) & (F.col("document_type") == document_type))

    vertices = summed_nodes(here(nodes)).select(F.col("node").alias("id"), "field", "value", "count")
    links = summed_edges(here(edges), here(nodes))
    return GraphFrame(vertices, links.select(F.col("source").alias("src"), F.col("target").alias("dst"), "w"))


def graph_statistics(nodes: DataFrame, edges: DataFrame) -> DataFrame:
    """One row per (setting, type) that has a node, already computed (nothing stays cached but these rows).

    nodes, edges, components, largest_component, communities bigint; mean_degree double; max_degree bigint (distinct
    neighbours); top_pagerank array<struct<field, value, pagerank>>, ranks of a graph summing to 1.
    """
    vertices = summed_nodes(nodes).withColumn("id", _number("node")).persist()
    linked = summed_edges(edges, nodes).select(_number("source").alias("src"), _number("target").alias("dst"), "w")
    links = linked.persist()
    figures = _per_node(vertices, links).persist()
    try:
        return settled(_per_graph(figures))
    finally:
        for frame in (figures, links, vertices):
            frame.unpersist()


def summed_nodes(nodes: DataFrame) -> DataFrame:
    """[setting, document_type, field, value, node, count], summed over batches, without what sums to nothing."""
    summed = nodes.groupBy(*GROUP, "field", "value", "node").agg(F.sum("count").alias("count"))
    return summed.where(F.col("count") > 0)


def summed_edges(edges: DataFrame, nodes: DataFrame) -> DataFrame:
    """[setting, document_type, source, target, w], summed over batches, between nodes that are there."""
    there = summed_nodes(nodes).select(*GROUP, "node")
    summed = edges.groupBy(*GROUP, "source", "target").agg(F.sum("count").alias("w")).where(F.col("w") > 0)
    for end in ("source", "target"):
        summed = summed.join(there.withColumnRenamed("node", end), [*GROUP, end], "left_semi")
    return summed.select(*GROUP, "source", "target", "w")


def connected_components(vertices: DataFrame, links: DataFrame) -> DataFrame:
    """[id, component] of an undirected graph, vertices [id bigint], links [src, dst]; a component is its least id.

    GraphX's version: on graphs of small diameter it is several times faster than the two-phase one, names components
    by their least id, needs no checkpoint directory and leaves no DataFrame cached.
    """
    found = GraphFrame(vertices, links).connectedComponents(algorithm="graphx")
    return cast(DataFrame, found.select("id", "component"))


def communities(links: DataFrame, rounds: int = LABEL_ROUNDS) -> DataFrame:
    """[id, label] of all nodes with a link, by synchronous label propagation over links [src, dst].

    Each round a node takes the commonest label of its neighbours, ties to the least. Written out because GraphFrames
    breaks ties by the order in which messages arrive, so that its labels depend on the partitioning.
    """
    both = _both_ways(links)
    labels = both.select(F.col("src").alias("id")).distinct().withColumn("label", F.col("id"))
    for _ in range(rounds):
        heard = both.join(labels, both["src"] == labels["id"]).groupBy("dst")
        labels = heard.agg(F.mode("label", deterministic=True).alias("label")).withColumnRenamed("dst", "id")
    return labels


def page_rank(vertices: DataFrame, links: DataFrame, rounds: int = PAGERANK_ROUNDS) -> DataFrame:
    """[id, pagerank] of the undirected graph, unweighted, damping 0.85, not normalised."""
    ranked = GraphFrame(vertices.select("id"), _both_ways(links)).pageRank(resetProbability=0.15, maxIter=rounds)
    return cast(DataFrame, ranked.vertices.select("id", "pagerank"))


def _both_ways(links: DataFrame) -> DataFrame:
    """Each link in both directions, [src, dst]."""
    there = links.select("src", "dst")
    return there.unionByName(links.select(F.col("dst").alias("src"), F.col("src").alias("dst")))


def _number(node: str) -> Column:
    """A 64-bit id of a node, which saves GraphFrames an index that it would keep cached.

    Two of 10 million nodes share one with probability 3e-6; then their figures fuse, counts stay exact.
    """
    return F.xxhash64(node)


def _per_node(vertices: DataFrame, links: DataFrame) -> DataFrame:
    """Vertices with degree, component, label and PageRank: one run of each algorithm."""
    degrees = GraphFrame(vertices.select("id"), links).degrees
    return (
        vertices.join(degrees, "id", "left")
        .join(connected_components(vertices.select("id"), links), "id", "left")
        .join(communities(links), "id", "left")
        .join(page_rank(vertices, links), "id", "left")
        .withColumn("degree", F.coalesce("degree", F.lit(0)).cast("bigint"))
        .withColumn("label", F.coalesce("label", "id"))  # a node without links is a community of its own
    )


def _per_graph(figures: DataFrame) -> DataFrame:
    """The figures of each (setting, type)."""
    total = Window.partitionBy(*GROUP)
    order = total.orderBy(F.desc("pagerank"), "field", "value", "node")
    components = figures.groupBy(*GROUP, "component").agg(
        F.count("*").alias("size"),
        F.sum("degree").alias("ends"),
        F.max("degree").alias("max_degree"),
        F.count_distinct("label").alias("labels"),  # a label never leaves its component
    )
    sizes = components.groupBy(*GROUP).agg(
        F.sum("size").alias("nodes"),
        (F.sum("ends") / 2).cast("bigint").alias("edges"),
        F.count("*").alias("components"),
        F.max("size").alias("largest_component"),
        F.sum("labels").alias("communities"),
        (F.sum("ends") / F.sum("size")).alias("mean_degree"),
        F.max("max_degree").alias("max_degree"),
    )
    ranks = figures.withColumn("pagerank", F.round(F.col("pagerank") / F.sum("pagerank").over(total), DIGITS))
    top = ranks.withColumn("place", F.row_number().over(order)).where(F.col("place") <= TOP)
    named = F.struct("place", "field", "value", "pagerank")
    first = top.groupBy(*GROUP).agg(F.array_sort(F.collect_list(named)).alias("top"))
    return sizes.join(first, list(GROUP)).select(
        *GROUP, *sizes.columns[len(GROUP) :], _without_place(F.col("top")).alias("top_pagerank")
    )


def _without_place(top: Column) -> Column:
    """The structs without the number they were sorted by."""
    names = ("field", "value", "pagerank")
    return F.transform(top, lambda node: F.struct(*[node[name].alias(name) for name in names]))
