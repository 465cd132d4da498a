"""Instructions and documents brought together, by quota and seeded order (WildLong, sections 3.3 and 3.4)."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.settings import DocumentSettings
from jobs.runtime.stage import AllRows, stage


@stage(tops_up="instructions")
def pairings(
    instructions: DataFrame,
    typed_documents: DataFrame,
    long_documents: DataFrame,
    samples: AllRows,
    previous: DataFrame,
    *,
    documents: DocumentSettings,
    wanted: DataFrame,
    seed: int,
) -> DataFrame:
    """The next unpaired instructions, each with one document, or with two of its type in `multi`."""
    available = sql.run(
        "available_documents",
        {"max_draws": documents.max_draws},
        pairings=previous,
        samples=samples,
        typed_documents=typed_documents,
        long_documents=long_documents,
    )
    paired = sql.run(
        "pairings",
        {"seed": str(seed)},
        instructions=instructions,
        previous=previous,
        wanted=wanted,
        available=available,
    )
    return paired.select(
        sql.derived_id("pairings", F.col("parent_ids")).alias("id"),
        "*",
        F.lit(None).cast("string").alias("reject_reason"),
    )
