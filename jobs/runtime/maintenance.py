"""Keeps the tables of a root small: folds counts, packs files, drops what no kept version needs.

None of it changes what a reader sees, so stages stay unchanged: their executions are noted again, with the
versions that hold the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.errors import SettingsFault
from jobs.runtime.resuming import is_behind
from jobs.runtime.runner import Runner
from jobs.runtime.runs import runs
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables

ADDITIVE = ("nodes", "edges")
SHORTEST_H = 168  # a week: Delta's own bound for what a reader or a stream may still be at
LOG_H = 720  # Delta's own bound for the log, without which no version can be found
AHEAD_H = 2160  # a run that is kept stays so if the next maintenance comes within 90 days
REMOVED, LOG = "delta.deletedFileRetentionDuration", "delta.logRetentionDuration"
NOTE = {"stage": "maintain"}
CHECK = "spark.databricks.delta.retentionDurationCheck.enabled"


def require_retention(hours: int, drop_history: bool) -> None:
    """Raise SettingsFault for a retention that takes versions away which somebody may still be reading."""
    if hours < 0:
        raise SettingsFault([f"--retain {hours}: hours cannot be negative"])
    if hours < SHORTEST_H and not drop_history:
        raise SettingsFault(
            [
                f"--retain {hours}: below {SHORTEST_H} hours it takes away versions that training sets of last week "
                "were made from, and that a reader may be at. Give --drop-history with it if that is what you want "
                "(after jobs/forget.py it is)"
            ]
        )


def maintain(runner: Runner, stages: Sequence[Stage], hours: int, keep: Sequence[str] = ()) -> dict[str, int]:
    """Fold, pack and vacuum all tables; commits made per table.

    The versions of the last `hours` stay readable, and so do all tables as they stood when the runs `keep` ended,
    however long ago. A table that a stage which the settings switched off has not read to its end is left as it is.
    Raises SettingsFault for a run that cannot be kept, and while another stream has rows to read that the vacuum could
    take away.
    """
    left_alone = _require_read(runner, stages)
    tables = runner.tables
    names = [name for name in sql.tables() if tables.exists(name) and name not in left_alone]
    retained = max([hours, *_ages(tables, names, keep)])
    before = {name: tables.version(name) for name in names}
    try:
        for name in names:
            if name in ADDITIVE:
                fold(tables, name)
            _pack(tables, name)
            _remember(tables, name, retained)
            _vacuum(tables, name, retained)
            if keep:
                _remember(tables, name, retained + AHEAD_H)
            runner.say(f"{name:<20} version {before[name]} → {tables.version(name)}")
    finally:
        after = {name: tables.refresh(name) for name in names}
        runner.history.carry(runner.history.stages(), before, after)
        runner.history.flush()
    return {name: after[name] - before[name] for name in names}


def folded(counts: DataFrame, batch: str) -> DataFrame:
    """One row per key with the sum of its counts, in the columns of `counts`; what sums to nothing is gone.

    A key is everything but the batch and who wrote it.
    """
    per_batch = ("run_id", "recipe", "batch", "count")
    key = [name for name in counts.columns if name not in per_batch]
    sums = counts.groupBy(*key).agg(
        F.sum("count").alias("count"), F.max("run_id").alias("run_id"), F.max("recipe").alias("recipe")
    )
    return sums.where(F.col("count") != 0).withColumn("batch", F.lit(batch)).select(*counts.columns)


def fold(tables: Tables, name: str) -> bool:
    """Fold all batches of a table of counts into one, in one commit; False where there is one already.

    The transactions of the batches stay in the log, so a batch that is replayed after it is still written once.
    """
    counts = tables.read(name)
    if counts.select("batch").distinct().limit(2).count() < 2:
        return False
    tables.replace(folded(counts, f"folded-{tables.version(name)}"), name, NOTE)
    return True


def _require_read(runner: Runner, stages: Sequence[Stage]) -> set[str]:
    """Every stream must have read what was appended to its table: the vacuum may take the files away.

    Returns the tables of streams that do not run under the newest settings: nobody may ever read on there.
    Raises SettingsFault naming the others.
    """
    behind = {stage.name: str(stage.driving) for stage in stages if is_behind(runner.tables, runner.history, stage)}
    off = _switched_off(runner.tables)
    waiting = [f"{name} ({table})" for name, table in behind.items() if name not in off]
    if waiting:
        raise SettingsFault(
            [f"{runner.tables.state}: stages have rows to read: {', '.join(waiting)}. Run jobs/synthesize.py first"]
        )
    for name, table in behind.items():
        runner.say(f"{table:<20} left as it is: {name}, which the settings switched off, has rows to read there")
    return set(behind.values())


def _switched_off(tables: Tables) -> set[str]:
    """Stages that the settings of the newest run leave out."""
    told = runs(tables)
    selection = told[-1].settings.get("selection", {}) if told else {}
    return {"influence"} if selection.get("by") == "order" else set()


def _pack(tables: Tables, name: str) -> None:
    tables.fence()
    with tables.noted(NOTE):
        tables.spark.sql(f"OPTIMIZE {tables.sql_name(name)}")
    tables.refresh(name)


def _ages(tables: Tables, names: Sequence[str], keep: Sequence[str]) -> list[int]:
    """Hours since each of these runs ended, rounded up.

    Raises SettingsFault for a run that never was, and for one that ended before what the tables of its time remember of
    their removed files: the vacuum would take those for rubbish. A table that came later holds nothing of it.
    """
    if not keep:
        return []
    history = tables.spark.sql(f"DESCRIBE HISTORY {tables.sql_name('stage_runs')}")
    ended = history.groupBy(F.get_json_object("userMetadata", "$.run_id").alias("run")).agg(
        F.max("timestamp").alias("at")
    )
    age = F.unix_timestamp(F.current_timestamp()) - F.unix_timestamp("at")
    rows = ended.where(F.col("run").isin(list(keep))).select("run", F.ceil((age + 1) / 3600)).collect()
    ages: dict[str, int] = {run: int(hours) for run, hours in rows}
    memory = [(_hours_old(tables, name), _remembered(tables, name)) for name in names]
    least = {run: min((hours for old, hours in memory if old >= age), default=age) for run, age in ages.items()}
    faults = [
        f"--keep {run}: no run of {tables.state} that its history still tells of" for run in keep if run not in ages
    ]
    faults += [
        f"--keep {run}: it ended {ages[run]} hours ago, and the tables remember what was removed for {least[run]} "
        "hours. Export it (jobs/export.py), and name the next one to keep within that time"
        for run in keep
        if run in ages and ages[run] > least[run]
    ]
    if faults:
        raise SettingsFault(faults)
    return [ages[run] for run in keep]


def _hours_old(tables: Tables, name: str) -> int:
    """Hours since a table was made, rounded up."""
    made = tables.spark.sql(f"DESCRIBE DETAIL {tables.sql_name(name)}")
    age = F.unix_timestamp(F.current_timestamp()) - F.unix_timestamp("createdAt")
    return int(made.select(F.ceil((age + 1) / 3600)).collect()[0][0])


def _remembered(tables: Tables, name: str) -> int:
    """Hours for which a table remembers the files that it has removed."""
    properties = (
        tables.spark.sql(f"SHOW TBLPROPERTIES {tables.sql_name(name)}").where(F.col("key") == REMOVED).collect()
    )
    interval = properties[0]["value"] if properties else f"interval {SHORTEST_H} hours"
    epoch = "timestamp_seconds(0)"
    (row,) = tables.spark.sql(f"SELECT unix_timestamp({epoch} + {interval}) - unix_timestamp({epoch})").collect()
    return int(row[0]) // 3600


def _remember(tables: Tables, name: str, hours: int) -> None:
    """Make a table remember removed files, and its log, for as long as versions shall stay readable.

    Without it a vacuum takes a file that was removed more than a week ago for one that nobody ever wrote. It goes by
    this and not by the hours it is given, but for 0.
    """
    hours = hours or SHORTEST_H
    if _remembered(tables, name) == hours:
        return
    tables.fence()
    log = max(LOG_H, hours + SHORTEST_H)
    with tables.noted(NOTE):
        tables.spark.sql(
            f"ALTER TABLE {tables.sql_name(name)} SET TBLPROPERTIES "
            f"('{REMOVED}' = 'interval {hours} hours', '{LOG}' = 'interval {log} hours')"
        )
    tables.refresh(name)


def _vacuum(tables: Tables, name: str, hours: int) -> None:
    """Drop what was removed before the table's memory, or all of it at 0 hours.

    Delta's own check is off: `require_retention` has asked.
    """
    tables.fence()
    with tables.noted(NOTE), tables.configured(CHECK, "false"):
        tables.spark.sql(f"VACUUM {tables.sql_name(name)}" + ("" if hours else " RETAIN 0 HOURS"))
    tables.refresh(name)
