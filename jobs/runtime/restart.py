"""What starts again: `--recompute`, `--refit`, `--retry-rejected`; and the refusal to mix rows of two recipes.

A restart is durable before it deletes anything, and its deletions are repeated until they are known to be done.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

import sql
from graphs.checkpoints import checkpointed
from jobs.runtime.errors import RecipeChanged, SettingsFault
from jobs.runtime.history import ROUNDS, History
from jobs.runtime.order import behind, fewest_starts
from jobs.runtime.recipes import differences, identity, recipe
from jobs.runtime.rounds import ROUND
from jobs.runtime.runner import Runner
from jobs.runtime.settings import Settings
from jobs.runtime.sources import KINDS, unlist
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables
from udfs.models.files import embedder_identity
from udfs.readers import InputFile

INTERRUPTED = "an interrupted run wrote rows from other settings"


def require_recipes(
    stages: tuple[Stage, ...],
    settings: Settings,
    tables: Tables,
    history: History,
    starts: Sequence[str],
    running: Sequence[Stage] = (),
) -> None:
    """Stop before anything is written when rows that stay were made from other settings, or by another encoder.

    `starts` are the stages that start again, `running` those whose models are there to be compared. Raises
    RecipeChanged naming each difference and the two ways on.
    """
    replaced = [stage.name for stage in stages if stage.mode == "replaces"]  # made anew as a whole: nothing is mixed
    renewed = {*behind(stages, *starts), *history.to_empty, *replaced}
    encoder = _encoder_changes(settings, tables) if any(map(_embeds, running)) else None
    told = {}
    for stage in stages:
        if stage.name in renewed:
            continue
        changes = _changes(stage, settings, tables, history)
        if changes is None and encoder and _embeds(stage) and tables.exists(stage.name):
            changes = encoder
        if changes is not None:
            told[stage.name] = changes
    if told:
        again = ",".join(fewest_starts(stages, chain(told, starts)))
        raise RecipeChanged(
            "the stored rows were made from other settings:\n  "
            + "\n  ".join(f"{name}: {changes}" for name, changes in told.items())
            + f"\nPut the settings back, or run with --recompute {again} (unchanged calls cost nothing)."
        )


def restart(runner: Runner, stages: tuple[Stage, ...], starts: Sequence[str], files: list[InputFile]) -> None:
    """Begin a new epoch of `starts` and all stages behind them, and end what a run that died had begun.

    Source records start again from `files`, the inputs as they are now. Old rows stay in the Delta history.
    """
    if starts:
        again = behind(stages, *starts)
        runner.say(f"starting again: {', '.join(again)}")
        runner.history.start_epoch([*again, *([ROUNDS] if set(again) & set(ROUND) else [])])
    if not runner.history.to_empty:
        return
    for stage in stages:
        if stage.name in runner.history.to_empty:
            _empty(runner, stage, files)
    runner.history.emptied()


def none_to_retry(name: str | None) -> list[str]:
    """A sentence where rows of a stage are not rejected for the calls that they were made with."""
    if name is None or "call_id" in sql.columns(name).names:
        return []
    return [f"--retry-rejected {name}: no row of this stage is rejected for a call, so there is none to repeat"]


def require_retriable(stages: tuple[Stage, ...], tables: Tables, name: str | None, starts: Sequence[str]) -> None:
    """Raises SettingsFault for labels that no classifier would learn from: none is asked for once it is trained."""
    if name != "document_labels" or (starts and "classifier" in behind(stages, *starts)):
        return
    if tables.exists("classifier") and not tables.read("classifier").isEmpty():
        raise SettingsFault(
            ["--retry-rejected document_labels: the classifier is trained and learns no more; add --refit classifier"]
        )


def retry_rejected(runner: Runner, name: str) -> None:
    """Make lasting failures of a stage wait again, so that their calls are repeated.

    A sample whose documents stand in another one by now stays rejected.
    """
    if not runner.tables.exists(name):
        return
    failed = runner.tables.read(name).where(F.col("reject_reason").startswith("llm:"))
    if name == "samples":
        failed = _with_free_documents(runner, failed)
    # Now: these rows go.
    failed = checkpointed(failed.select("id", F.col("parent_ids")[0].alias("input_id"), "call_id"))
    if failed.isEmpty():
        return
    waits = failed.select("input_id", F.lit("retry_rejected").alias("reason"))
    runner.history.reopen(name)
    runner.history.defer(name, waits.dropDuplicates(["input_id"]), runner.history.next_pass(name))
    runner.tables.remove(name, failed.select("id").dropDuplicates(), {"stage": name, "retry": True})
    runner.ledger.forget_failures(name, failed.select("call_id").dropDuplicates())


def _with_free_documents(runner: Runner, failed: DataFrame) -> DataFrame:
    """Those of the failed samples that may be made again; how many may not is told.

    Documents are drawn without replacement per setting, and those of a rejected sample were free to be drawn again: one
    that stands in an accepted sample, or in one under way, would stand in two. Of failed samples that share a document
    only the first draw is made again, for both might be accepted.
    """
    known = runner.tables.read("samples").select("pairing", F.lit(True).alias("made"), "reject_reason")
    again = failed.select("pairing", F.lit(True).alias("again")).dropDuplicates()
    drawn = runner.tables.read("pairings").select(F.col("id").alias("pairing"), "setting", "draw", "documents")
    placed = drawn.join(known, "pairing", "left").join(again, "pairing", "left")
    each = placed.withColumn("document", F.explode("documents"))
    of_document = Window.partitionBy("setting", "document")
    in_use = F.max(F.col("made").isNull() | F.col("reject_reason").isNull()).over(of_document)
    draw = F.when(F.col("again"), F.struct("draw", "pairing"))
    is_first = draw == F.min(draw).over(of_document)
    told = each.select("pairing", "again", (~in_use & is_first).alias("free")).where("again")
    free = checkpointed(told.groupBy("pairing").agg(F.every("free").alias("free")).where("free").select("pairing"))
    left_out = again.count() - free.count()
    if left_out:
        runner.summary.warn(
            f"--retry-rejected samples: {left_out} left out, for their documents were drawn again since then and may "
            "stand in one sample of a setting only"
        )
    return failed.join(free, "pairing", "left_semi")


def _changes(stage: Stage, settings: Settings, tables: Tables, history: History) -> str | None:
    """How the settings differ from those that made the stage's stored rows; None when they do not."""
    now, last = recipe(stage, settings), history.last(stage.name)
    if last is not None:
        if last.recipe == identity(now):
            return None
        return "; ".join(differences(last.made_from, now)) or "the recipe's layout changed"
    # A run that died noted nothing of what it did; its rows tell.
    if not tables.exists(stage.name):
        return None
    stored = tables.read(stage.name).select("recipe").distinct().collect()
    return None if {row["recipe"] for row in stored} <= {identity(now)} else INTERRUPTED


def _embeds(stage: Stage) -> bool:
    return "embedder" in stage.sections


def _encoder_changes(settings: Settings, tables: Tables) -> str | None:
    """How the files of the embedder differ from those that the stored vectors came from; None when they do not.

    A recipe has the embedder's name alone, under which a folder is written over and a branch moves on. Older vectors
    would be compared with those of another space.
    """
    for name in ("document_types", "document_features"):
        stored = tables.read(name).select("embedder").first() if tables.exists(name) else None
        if stored is not None and stored["embedder"]:  # rows put there by hand may not tell
            was, now = str(stored["embedder"]), embedder_identity(settings.embedder)
            same = was.rpartition(":")[2] == now.rpartition(":")[2]  # the content: a package's version may rise alone
            return None if same else f"files of embedder.name: {was} → {now}"
    return None


def _empty(runner: Runner, stage: Stage, files: list[InputFile]) -> None:
    note = {"stage": stage.name, "reset": True}
    runner.tables.delete(stage.name, "true", note)
    for table in stage.also:
        runner.tables.delete(table, f"record_table = '{stage.name}'", note)
    if stage.name in KINDS:
        unlist(runner.tables, stage.name, files, runner.summary)
