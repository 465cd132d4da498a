"""Conversations that are long and clean enough to learn from (WildLong, section 3.1), and why others are not."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import Shared, stage
from sql.frames import duplicate_key, first_reason, reject_duplicates
from udfs.language import normalise
from udfs.language_columns import language_code
from udfs.minhash import bands, signature
from udfs.near_duplicates import first_alike
from udfs.settings import FilterSettings, MinhashSettings, TokenizerSettings
from udfs.tokens import token_count

COLUMNS = ("conversation", "n_tokens", "language", "duplicate_key", "signature", "bands", "source", "licence")


@stage(streams="conversations")
def long_conversations(
    conversations: DataFrame,
    previous: DataFrame,
    *,
    filter: FilterSettings,
    tokenizer: TokenizerSettings,
    minhash: MinhashSettings,
) -> Shared:
    """Single-turn conversations of more than `filter.min_conversation_tokens` tokens, no duplicates."""
    told = conversations.withColumn("language", language_code("language", "user_text"))
    clean = told.withColumn("reject_reason", first_reason(hygiene(filter)))
    counted = clean.withColumn("n_tokens", token_count(tokenizer)(only_kept(counted_text(filter))).cast("bigint"))
    too_short = F.col("n_tokens") <= filter.min_conversation_tokens
    long = counted.withColumn("reject_reason", F.coalesce("reject_reason", first_reason([(too_short, "too_short")])))
    text = F.concat_ws("\n", "user_text", "assistant_text")
    signed = long.select(
        sql.derived_id("long_conversations", F.array("id")).alias("id"),
        F.array("id").alias("parent_ids"),
        "reject_reason",
        F.col("id").alias("conversation"),
        "n_tokens",
        "language",
        only_kept(duplicate_key(text)).alias("duplicate_key"),
        signature(minhash)(only_kept(text)).alias("signature"),
        "source",
        "licence",
    ).withColumn("bands", bands(minhash)("signature"))
    alike = first_alike(minhash) if filter.near_duplicates else None
    return Shared(signed, lambda rows: reject_duplicates(rows, previous, alike))


def hygiene(rules: FilterSettings) -> list[tuple[Column, str | Column]]:
    """The cheap rules, in order, as named conditions with their codes."""
    is_single_turn = F.col("n_turns") == 1
    has_reply = F.length(F.trim(F.coalesce("assistant_text", F.lit("")))) > 0
    return [
        (~is_single_turn, "not_single_turn"),
        (~has_reply, "no_reply"),
        (F.lit(rules.drop_toxic) & F.coalesce("toxic", F.lit(False)), "toxic"),
        (F.lit(rules.drop_redacted) & F.coalesce("redacted", F.lit(False)), "redacted"),
        (~language_allowed(rules), F.concat(F.lit("language:"), "language")),
    ]


def language_allowed(rules: FilterSettings) -> Column:
    """Whether the row's language is one of those wanted, which may be given by code or by English name."""
    if not rules.languages:
        return F.lit(True)
    return F.coalesce(F.col("language").isin(*sorted(map(normalise, rules.languages))), F.lit(False))


def counted_text(rules: FilterSettings) -> Column:
    """What the token count is taken of: the whole conversation, or the user's turn alone."""
    if rules.count == "user_turn":
        return F.col("user_text")
    return F.concat_ws("\n", "user_text", "assistant_text")


def only_kept(value: Column) -> Column:
    """Null for rows already rejected, so that no costly function sees them."""
    return F.when(F.col("reject_reason").isNull(), value)
