"""How the scorers of a training set agree: rank correlations and shared tops, of the samples that have a score."""

from __future__ import annotations

from pyspark.sql import functions as F

import sql
from graphs.checkpoints import settled
from jobs.runtime.runner import Runner

USUAL_TOP = 0.1  # share that is compared where everything is taken


def compare_scorers(runner: Runner) -> None:
    """Put the agreement of every pair of scorers into the summary, with a warning where a norm claims too much."""
    chosen, tables = runner.settings.selection, runner.tables
    pool = tables.read("training_set").where(F.col("score").isNotNull()).select("sample")
    measured = tables.kept("influence").drop("id").join(pool, "sample").withColumnRenamed("sample", "id")
    terms = {"norm": chosen.norm, "alpha": chosen.alpha, "per_type": chosen.per_type, "seed": runner.settings.seed}
    scores = settled(sql.run("influence_scores", terms, influence=measured))
    share = chosen.top_share if chosen.top_share < 1 else USUAL_TOP
    rows = sql.run("scorer_agreement", {"top_share": share}, scores=scores).orderBy("one", "other").collect()
    runner.summary.scorers = [row.asDict() for row in rows]
    if chosen.norm in ("paper", "reference") and runner.settings.influence.short_context != "full":
        runner.summary.warn(
            f"selection.norm: {chosen.norm} is GATEAU's only where both models read the same context; "
            "influence.short_context is window"
        )
