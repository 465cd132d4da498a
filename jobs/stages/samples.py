"""Finished samples: the instruction adapted to its documents, answered from them, with located evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.stage import FollowUp, llm_stage
from udfs.assemble import ASSEMBLED_DDL, assemble
from udfs.llm.parse import reply_reader
from udfs.settings import EvidenceSettings, LlmSettings, TokenizerSettings

TASK = "answer"
FOLLOW_UPS = (
    FollowUp(TASK, section="evidence", switch="second_draw"),
    FollowUp("answerability", section="evidence", switch="answerability"),
)
DRAWS = ("draw", "other_call")
VERDICT = ("answerable_with", "answerable_without", "answerable_why", "answerable_call")


def ask(pairings: DataFrame, instructions: DataFrame, walks: DataFrame, documents: DataFrame) -> DataFrame:
    """One call adapts and answers; documents come first in the prompt, so that its prefix can be cached."""
    texts = documents.select(F.col("id").alias("doc_id"), "text")
    placed = pairings.select("id", F.posexplode("documents").alias("place", "doc_id")).join(texts, "doc_id")
    gathered = placed.groupBy("id").agg(F.sort_array(F.collect_list(F.struct("place", "doc_id", "text"))).alias("held"))
    draft = instructions.select(F.col("id").alias("instruction_id"), F.col("instruction").alias("draft"))
    path = walks.select(F.col("id").alias("walk"), "nodes")
    rows = (
        pairings.withColumnRenamed("instruction", "instruction_id")
        .drop("documents")
        .join(gathered, "id")
        .join(draft, "instruction_id")
        .join(path, "walk")
    )
    given = F.transform("held", lambda d: F.struct(d["doc_id"].alias("doc_id"), d["text"].alias("text")))
    steps = F.transform("nodes", lambda n: F.struct(n["field"].alias("field"), n["value"].alias("value")))
    variables = F.struct(
        "setting",
        "document_type",
        given.alias("documents"),
        F.col("draft").alias("instruction"),
        steps.alias("path"),
    )
    return rows.select(
        F.col("id").alias("input_id"),
        F.col("held")[0]["doc_id"].alias("document"),
        F.to_json(variables).alias("variables"),
    )


def read(
    pairings: DataFrame,
    long_documents: DataFrame,
    replies: DataFrame,
    *,
    evidence: EvidenceSettings,
    tokenizer: TokenizerSettings,
    llm: LlmSettings,
) -> DataFrame:
    """Each reply as a sample: evidence located in the documents, grounding and balance gated.

    Of two draws the replies hold the one that stands. What the answerability call says is kept beside it and gates
    nothing; null where none was made, or it failed.
    """
    asked = replies.select("input_id", "reason", "text", "variables")
    assembling: Any = assemble(evidence, tokenizer)
    made = asked.mapInPandas(assembling, ASSEMBLED_DDL)
    seed = sent("seed").cast("bigint").alias("seed")
    temperature = F.coalesce(sent("temperature").cast("double"), F.lit(float(llm.temperature))).alias("temperature")
    calls = replies.select(
        "input_id", "call_id", "teacher", "model", "prompt_sha", temperature, seed, *_draws(replies, evidence)
    )
    known = _document_facts(pairings, long_documents)
    rows = pairings.withColumnsRenamed({"id": "input_id", "documents": "doc_ids"}).drop(
        "parent_ids", "reject_reason", "run_id", "recipe", "draw"
    )  # their draw is that of the documents
    joined = rows.join(known, "input_id").join(made, "input_id").join(calls, "input_id")
    joined = joined.join(_verdicts(replies, evidence), "input_id")
    generator = F.struct(
        "teacher",
        "model",
        F.lit(TASK).alias("prompt"),
        "prompt_sha",
        "temperature",
        "seed",
    )
    return joined.select(
        sql.derived_id("samples", F.array("input_id")).alias("id"),
        F.array("input_id").alias("parent_ids"),
        "reject_reason",
        "setting",
        F.lit("wildlong").alias("paradigm"),
        F.array(F.lit("sft")).alias("objectives"),
        "document_type",
        F.zip_with("facts", "places", _placed).alias("documents"),
        "context",
        F.col("sample_instruction").alias("instruction"),
        "response",
        "messages",
        "evidence",
        "grounded_share",
        "document_shares",
        F.lit(None).cast("struct<name: string, args: string>").alias("verifier"),
        F.lit(None).cast("string").alias("reference"),
        generator.alias("generator"),
        "lengths",
        F.get(F.transform("facts", lambda fact: fact["language"]), F.lit(0)).alias("language"),
        F.col("walk").alias("walk_id"),
        "walk_index",
        F.col("input_id").alias("pairing"),
        "call_id",
        *VERDICT,
        *DRAWS,
    )


def _document_facts(pairings: DataFrame, long_documents: DataFrame) -> DataFrame:
    """[input_id, facts]: what is known of each document of a pairing, in order."""
    facts = long_documents.select(F.col("document").alias("doc_id"), "source", "n_tokens", "licence", "language")
    placed = pairings.select(F.col("id").alias("input_id"), F.posexplode("documents").alias("place", "doc_id"))
    held = F.collect_list(F.struct("place", "doc_id", "source", "n_tokens", "licence", "language"))
    return placed.join(facts, "doc_id").groupBy("input_id").agg(F.sort_array(held).alias("facts"))


def _verdicts(replies: DataFrame, evidence: EvidenceSettings) -> DataFrame:
    """[input_id, answerable_with, answerable_without, answerable_why, answerable_call] of every reply."""
    if not evidence.answerability:
        return replies.select("input_id", *_absent(VERDICT))
    said = replies.withColumn("said", reply_reader("answerability")("further_text")["value"])
    values = ("said.with_document", "said.without_document", "said.why", "further_call")
    return said.select("input_id", *[F.col(value).alias(name) for value, name in zip(values, VERDICT, strict=True)])


def sent(name: str) -> Column:
    """A parameter of the call as it went out: what `extra_body` says wins over the settings."""
    return F.coalesce(*[F.get_json_object("parameters", f"$.{path}{name}") for path in ("extra_body.", "")])


def _draws(replies: DataFrame, evidence: EvidenceSettings) -> list[Column]:
    """draw and other_call of a reply."""
    return [replies[name] for name in DRAWS] if evidence.second_draw else _absent(DRAWS)


def _absent(names: Sequence[str]) -> list[Column]:
    """Nulls in place of what no call was made for."""
    return [F.lit(None).cast(sql.columns("samples")[name].dataType).alias(name) for name in names]


def _placed(fact: Column, place: Column) -> Column:
    """A document's facts with where it stands in the context (null for a rejected reply)."""
    names = ("doc_id", "source", "n_tokens", "licence")
    return F.struct(
        *[fact[name].alias(name) for name in names], place["start"].alias("start"), place["end"].alias("end")
    )


samples = llm_stage("samples", task=TASK, streams="pairings", ask=ask, read=read, revision=2, follow_ups=FOLLOW_UPS)
