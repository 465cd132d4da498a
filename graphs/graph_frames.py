"""The door to GraphFrames: a type's graph as a GraphFrame, and connected components of any graph.

It refuses to know how counts came to be and who reads what it gives.
"""

from __future__ import annotations

from typing import cast

from graphframes import GraphFrame
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

GROUP = ("setting", "document_type")


def graph_frame(nodes: DataFrame, edges: DataFrame, setting: str, document_type: str) -> GraphFrame:
    """The graph of one (setting, type): vertices [id, field, value, count], edges [src, dst, w].

    Counts are summed over batches. The weight is called `w`, because PageRank writes a `weight` of its own.
    """

    def here(frame: DataFrame) -> DataFrame:
        return frame.where((F.col("setting") == setting) & (F.col("document_type") == document_type))

    vertices = summed_nodes(here(nodes)).select(F.col("node").alias("id"), "field", "value", "count")
    links = summed_edges(here(edges), here(nodes))
    return GraphFrame(vertices, links.select(F.col("source").alias("src"), F.col("target").alias("dst"), "w"))


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
