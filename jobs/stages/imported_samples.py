"""Imported records as rows of `samples`: the paradigm `imported`, without teacher, walk and evidence."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import stage
from udfs.settings import TokenizerSettings
from udfs.tokens import token_count


@stage(streams="imports", table="samples")
def imported_samples(imports: DataFrame, *, tokenizer: TokenizerSettings) -> DataFrame:
    """One accepted sample per readable record; its one document is its context."""
    count = token_count(tokenizer)
    texts = ("context", "instruction", "response")
    counted = imports.withColumn("lengths", F.struct(*[count(name).cast("bigint").alias(name) for name in texts]))
    document = F.struct(
        F.col("id").alias("doc_id"),
        "source",
        F.col("lengths.context").alias("n_tokens"),
        "licence",
        F.lit(0).cast("bigint").alias("start"),
        F.length("context").cast("bigint").alias("end"),
    )
    made = {field.name: F.lit(None).cast(field.dataType) for field in sql.columns("samples").fields}
    made |= {name: F.col(name) for name in (*texts, "document_type", "messages", "lengths", "language")}
    made |= {
        "id": sql.derived_id("samples", F.array("id")),
        "parent_ids": F.array("id"),
        "setting": F.lit("single"),
        "paradigm": F.lit("imported"),
        "objectives": F.array(F.lit("sft")),
        "documents": F.array(document),
        "evidence": F.array().cast(sql.columns("samples")["evidence"].dataType),
    }
    return counted.select(*[column.alias(name) for name, column in made.items()])
