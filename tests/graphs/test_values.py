"""Values of the graph: normal forms, what says nothing is left out, the instruction keeps its wording."""

from __future__ import annotations

import pytest
from pyspark.sql import SparkSession

import sql
from graphs.normal_form import normalise_value
from graphs.values import GRAPH_FIELDS, field_values, graph_value
from udfs.settings import NOTHINGS

# Spellings that are no "none" letter by letter, and come out as one.
SAYS_NOTHING = [
    "None.", "(none)", "- none", '"None"', "NONE", "N/A.", "[n/a]", "Not specified.", "*unknown*", "\u200bnull",
    "...", "—",
]  # fmt: skip


@pytest.mark.parametrize("nothing", sorted(NOTHINGS))
def test_what_says_nothing_is_listed_in_normal_form(nothing: str) -> None:
    assert normalise_value(nothing) == nothing


@pytest.mark.spark
def test_values_that_say_nothing_are_left_out(spark: SparkSession) -> None:
    held: dict[str, object] = {name: [] for name in GRAPH_FIELDS}
    held |= {
        "id": "m1", "conversation": "c1", "tasks": [*SAYS_NOTHING, "Sum up.", "sum up", None],
        "constraint": SAYS_NOTHING, "context": ["none of the above", "nonet"], "simplified_instruction": ["None."],
    }  # fmt: skip
    schema = sql.columns("meta_records")
    metas = spark.createDataFrame([tuple(held.get(name) for name in schema.names)], schema)
    found = sorted(tuple(row) for row in field_values(metas).collect())
    assert found == [
        ("m1", "c1", "context", "none of the above"),
        ("m1", "c1", "context", "nonet"),
        ("m1", "c1", "simplified_instruction", "None."),
        ("m1", "c1", "tasks", "sum up"),
    ]


@pytest.mark.spark
def test_a_graph_value_is_null_where_there_is_none(spark: SparkSession) -> None:
    frame = spark.createDataFrame([("A.",), (None,), ("?!",), ("N/A",)], "raw string")
    assert [row.value for row in frame.select(graph_value("raw").alias("value")).collect()] == ["a", None, None, None]
