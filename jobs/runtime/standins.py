"""Stand-ins for rows that only a run can make, so that a prompt of the usual size can be rendered before it.

Their words say nothing; only their length counts.
"""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

from jobs.runtime.runner import Runner
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables

LABEL = "Technical Reports"
VALUE = "summarise the main points"
INSTRUCTION = "Summarise how the attached text argues its main points, and list what it leaves open, for a new reader."
PATH = [
    Row(field=field, value=VALUE, node="")
    for field in (
        "tasks", "user_intention", "user_profile", "language_style", "context", "user_knowledge", "chatbot_knowledge",
        "long_context_capability", "output_format", "sentiment", "constraint",
    )
]  # fmt: skip
SEED_PATH = PATH + PATH[: len(PATH) // 2]  # a conversation holds some fields more than once
NODES = "array<struct<field: string, value: string, node: string>>"
EXAMPLES = ["technical report"] * 12


def types(tables: Tables, k: int) -> list[Row]:
    """The fitted types where they are, else k of the usual length of a label."""
    stored = tables.read("document_types").select("type_index", "label").collect()
    return stored or [Row(type_index=index, label=f"{LABEL} {index}") for index in range(k)]


def asked(runner: Runner, stage: Stage) -> DataFrame:
    """One input (input_id, document, variables) of a stage whose prompt holds no record."""
    spark = runner.spark
    if stage.ask is None:
        told = {"examples": EXAMPLES, "taken": [LABEL]}
        columns = "input_id string, document string, variables string"
        return spark.createDataFrame([("0", None, json.dumps(told))], columns)
    if stage.name == "task_rewrites":
        values = spark.createDataFrame(
            [("0", LABEL, "tasks", VALUE)], "id string, document_type string, field string, canonical string"
        )
        return stage.ask(values)
    seed = spark.createDataFrame([("s", SEED_PATH, INSTRUCTION)], f"id string, nodes {NODES}, instruction string")
    return stage.ask(_walks(runner), seed)


def pairs(documents: DataFrame, setting: str, seed: int, most: int) -> DataFrame:
    """[id, setting, documents, weight]: documents as they might be drawn for a setting, at most `most` samples.

    `documents` [id, document, fits_pair, …]; the order is that of a draw, without regard to types.
    """
    per = 2 if setting == "multi" else 1
    fitting = documents.where("fits_pair") if setting == "multi" else documents
    order = F.sha2(F.concat_ws(":", F.lit(str(seed)), F.lit(setting), "document"), 256)
    placed = fitting.select("document", order.alias("order")).orderBy("order", "document").limit(most * per)
    numbered = placed.withColumn("place", F.expr("row_number() OVER (ORDER BY order, document)") - 1)
    held = F.collect_list(F.struct("place", "document"))
    return (
        numbered.groupBy(F.floor(F.col("place") / per).alias("draw"))
        .agg(F.sort_array(held).alias("held"), F.count("*").alias("n"))
        .where(F.col("n") == per)
        .select(
            F.col("draw").cast("string").alias("id"),
            F.lit(setting).alias("setting"),
            F.transform("held", lambda one: one["document"]).alias("documents"),
            F.lit(1.0).alias("weight"),
        )
    )


def answering(runner: Runner, records: DataFrame, drawn: DataFrame) -> dict[str, Any]:
    """The tables that `samples` asks from, with real documents and stand-ins for all else."""
    pairings = drawn.drop("weight").withColumns(
        {"document_type": F.lit(LABEL), "instruction": F.lit("i"), "walk": F.lit("w"), "walk_index": F.lit(0)}
    )
    instructions = runner.spark.createDataFrame([("i", INSTRUCTION)], "id string, instruction string")
    return {"pairings": pairings, "instructions": instructions, "walks": _walks(runner), "documents": records}


def _walks(runner: Runner) -> DataFrame:
    nodes = PATH[: runner.settings.walks.nodes]
    return runner.spark.createDataFrame(
        [("w", "single", LABEL, nodes, "s")],
        f"id string, setting string, document_type string, nodes {NODES}, nearest_seed_path string",
    )
