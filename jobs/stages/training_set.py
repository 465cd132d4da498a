"""The training set: of the accepted samples within the targets, those that the selection takes, with their scores."""

from __future__ import annotations

from functools import partial

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.settings import SelectionSettings, TargetSettings
from jobs.runtime.stage import Shared, stage

NO_LIMIT = 2**62


@stage(replaces=True, revision=3)
def training_set(
    samples: DataFrame, influence: DataFrame, *, targets: TargetSettings, selection: SelectionSettings
) -> Shared:
    """One row per accepted sample; those left out say why (`over_target`, `not_measured:…`, `not_selected:…`)."""
    asked = {"single": targets.single, "multi": targets.multi}
    candidates = sql.run("training_candidates", asked, samples=samples)
    return Shared(candidates, partial(selected, samples=samples, influence=influence, selection=selection))


def selected(
    candidates: DataFrame, *, samples: DataFrame, influence: DataFrame, selection: SelectionSettings
) -> DataFrame:
    """The rows of the training set: every candidate with its place, then what its sample says."""
    measured = influence.where(F.lit(selection.by == "influence"))
    placed = sql.run(
        "training_set",
        {
            "by": selection.by,
            "norm": selection.norm,
            "keep_mix": selection.keep_mix,
            "min_score": "-Infinity" if selection.min_score is None else repr(selection.min_score),
            "top_share": selection.top_share,
            "top_count": selection.top_count or NO_LIMIT,
            "token_budget": selection.token_budget or NO_LIMIT,
        },
        candidates=candidates,
        influence=measurements(measured),
        scores=scores_of(candidates, measured, selection),
    )
    told = samples.select(
        F.col("id").alias("sample"),
        "setting",
        "paradigm",
        "document_type",
        "messages",
        F.transform("documents", lambda d: d["doc_id"]).alias("documents"),
        F.col("generator.teacher").alias("teacher"),
    )
    return placed.join(told, "sample").select(
        sql.row_id("training_set", "sample").alias("id"),
        F.array_compact(F.array("sample", "influence")).alias("parent_ids"),
        *[F.col(name) for name in (*placed.columns, *told.columns) if name not in ("influence", "sample")],
        "sample",
    )


def measurements(influence: DataFrame) -> DataFrame:
    """What a row says of its measurement: by which pair, in which number type, of how much context."""
    noted = "number_type" in influence.columns  # a column that older roots do not know
    return influence.select(
        "id",
        "sample",
        "truncated",
        "reject_reason",
        "short_context_tokens",
        "context_tokens",
        F.concat_ws(" and ", "short_model", "long_model").alias("measured_by"),
        F.col("number_type") if noted else F.lit(None).cast("string").alias("number_type"),
    )


def scores_of(candidates: DataFrame, influence: DataFrame, selection: SelectionSettings) -> DataFrame:
    """The scores of the candidates that were measured, by sample as `id`; none where none are asked for."""
    if selection.by == "order":
        return candidates.sparkSession.createDataFrame([], "id string, hmp double, cas double, score double")
    pool = candidates.where("NOT over_target").select(F.col("id").alias("sample"))
    measured = influence.drop("id").join(pool, "sample").withColumnRenamed("sample", "id")
    norms = {"norm": selection.norm, "alpha": selection.alpha, "per_type": selection.per_type, "seed": 0}
    return sql.run("influence_scores", norms, influence=measured)
