"""The door to GraphFrames: connected components of any graph.

It refuses to know what the graph is of and who reads what it gives.
"""

from __future__ import annotations

from typing import cast

from graphframes import GraphFrame
from pyspark.sql import DataFrame


def connected_components(vertices: DataFrame, links: DataFrame) -> DataFrame:
    """[id, component] of an undirected graph, vertices [id bigint], links [src, dst]; a component is its least id.

    GraphX's version: on graphs of small diameter it is several times faster than the two-phase one, names components
    by their least id, needs no checkpoint directory and leaves no DataFrame cached.
    """
    found = GraphFrame(vertices, links).connectedComponents(algorithm="graphx")
    return cast(DataFrame, found.select("id", "component"))
