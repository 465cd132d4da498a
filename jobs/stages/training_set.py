"""The training set: accepted samples in a fixed order, as many as the targets ask."""

from __future__ import annotations

from pyspark.sql import DataFrame

import sql
from jobs.runtime.settings import TargetSettings
from jobs.runtime.stage import stage


@stage(replaces=True)
def training_set(samples: DataFrame, *, targets: TargetSettings) -> DataFrame:
    """One row per accepted sample; those beyond the targets are `over_target`."""
    placed = sql.run("training_set", {"single": targets.single, "multi": targets.multi}, samples=samples)
    return placed.withColumn("id", sql.row_id("training_set", "sample"))
