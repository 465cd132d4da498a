"""Documents of the lengths that samples need (WildLong, section 3.3), and why others are out."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import Shared, stage
from jobs.stages.long_conversations import language_allowed, only_kept
from sql.frames import duplicate_key, first_reason, reject_duplicates
from udfs.language_columns import language_code
from udfs.minhash import bands, signature
from udfs.near_duplicates import first_alike
from udfs.settings import FilterSettings, MinhashSettings, TokenizerSettings
from udfs.tokens import token_count


@stage(streams="documents")
def long_documents(
    documents: DataFrame,
    previous: DataFrame,
    *,
    filter: FilterSettings,
    tokenizer: TokenizerSettings,
    minhash: MinhashSettings,
) -> Shared:
    """Documents of 2,000–30,000 tokens by default, marked where they also fit a pair; no duplicates."""
    told = documents.withColumn("language", language_code("language", "text"))
    unwanted = (~language_allowed(filter), F.concat(F.lit("language:"), "language"))
    clean = told.withColumn("reject_reason", first_reason([unwanted]))
    counted = clean.withColumn("n_tokens", token_count(tokenizer)(only_kept(F.col("text"))).cast("bigint"))
    lengths = first_reason(
        [
            (F.col("n_tokens") < filter.min_document_tokens, "too_short"),
            (F.col("n_tokens") > filter.max_document_tokens, "too_long"),
        ]
    )
    fitting = counted.withColumn("reject_reason", F.coalesce("reject_reason", lengths))
    kept_text = only_kept(F.col("text"))
    signed = fitting.select(
        sql.derived_id("long_documents", F.array("id")).alias("id"),
        F.array("id").alias("parent_ids"),
        "reject_reason",
        F.col("id").alias("document"),
        "n_tokens",
        (F.col("n_tokens") <= filter.max_pair_document_tokens).alias("fits_pair"),
        "language",
        duplicate_key(kept_text).alias("duplicate_key"),
        signature(minhash)(kept_text).alias("signature"),
        "source",
        "licence",
    ).withColumn("bands", bands(minhash)("signature"))
    alike = first_alike(minhash) if filter.near_duplicates else None
    return Shared(signed, lambda rows: reject_duplicates(rows, previous, alike))
