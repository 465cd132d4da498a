"""The long form of meta information: one row per conversation, field and value in normal form.

It knows the fields by name, and nothing of types, embeddings or counts.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from graphs.normal_form import normalise_value
from udfs.settings import NOTHINGS

# The graph's fields (WildLong, section 3.2). `document_type` only partitions, `simplified_instruction` is only
# the one-shot example.
GRAPH_FIELDS = (
    "tasks",
    "user_intention",
    "user_profile",
    "language_style",
    "context",
    "user_knowledge",
    "chatbot_knowledge",
    "long_context_capability",
    "output_format",
    "sentiment",
    "constraint",
)
INSTRUCTION = "simplified_instruction"  # carried along as it is, never merged


def field_values(meta_records: DataFrame) -> DataFrame:
    """[meta_record, conversation, field, value]: distinct values of each conversation.

    Values of graph fields are in normal form, and those that say nothing are left out; the simplified instruction
    keeps its wording.
    """
    names = (*GRAPH_FIELDS, INSTRUCTION)
    fields = [F.struct(F.lit(name).alias("field"), F.col(name).alias("held")) for name in names]
    spread = meta_records.select(
        F.col("id").alias("meta_record"), "conversation", F.explode(F.array(*fields)).alias("part")
    )
    raw = spread.select("meta_record", "conversation", "part.field", F.explode("part.held").alias("raw"))
    is_value = F.col("field") != INSTRUCTION
    value = F.when(is_value, graph_value(F.when(is_value, F.col("raw")))).otherwise(F.col("raw"))
    told = raw.select("meta_record", "conversation", "field", value.alias("value"))
    return told.where(F.length("value") > 0).distinct()


def graph_value(value: Column | str) -> Column:
    """Normal form of a string column; null where it is null or says nothing."""
    # A lambda: Spark takes type hints of a plain function for an attempt at an Arrow UDF, and warns.
    return F.udf(lambda raw: _told(raw), "string", useArrow=True)(value)


def _told(raw: str | None) -> str | None:
    """Marks go first: a "None." is as little a value as a "none", which a reply is rid of already."""
    form = "" if raw is None else normalise_value(raw)
    return None if form in NOTHINGS else form
