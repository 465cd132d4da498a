"""What a run would ask of the teacher, told before anything is sent: calls and tokens per stage.

What exists is rendered by the stages' own `ask`, counted, and held against the ledger; what only a run can make
(rewrites, instructions, samples) is estimated from the sample, the targets and what earlier calls measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.runtime import standins
from jobs.runtime.estimates import (
    FOLLOWED,
    LEAST_MEASURED,
    NAMINGS_PER_TYPE,
    NOTHING,
    REDRAWS,
    REWRITES_PER_CONVERSATION,
    SAMPLES_PER_ACCEPTED,
    STAND_IN,
    WALKS_PER_PAIRING,
    Measured,
    Range,
    StagePlan,
    mean_doubt,
    merged,
    planned,
    share_seen,
    tries_per_success,
)
from jobs.runtime.quotas import labels_wanted
from jobs.runtime.rendered import Rendered, counted, ledger_measures, rendered, teacher_of
from jobs.runtime.rounds import rounds_settled, wanted_samples
from jobs.runtime.runner import Runner
from jobs.runtime.sampling import Sample, call_arguments, sample
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables
from udfs.llm.follow_ups import REDRAWN, Following
from udfs.llm.prices import price_of
from udfs.llm.requests import call_parameters, reply_limit
from udfs.readers import InputFile
from udfs.settings import LlmSettings

MOST_DOCUMENTS = 200  # documents whose prompts are rendered for the mean of a setting


@dataclass
class Planner:
    """Plans one run on one root. `preview` are the tables of its preview, whose acceptance is taken over."""

    runner: Runner
    stages: Mapping[str, Stage]
    preview: Tables
    conversations: Sample
    documents: Sample
    warnings: list[str] = field(default_factory=list)
    metered: float = 0.0  # tokens of rendered requests as the provider metered them, and as we counted them
    counted: float = 0.0
    measures: dict[str, Measured] = field(default_factory=dict)

    def plan(self) -> list[StagePlan]:
        """One plan per stage that asks, in the order of a run."""
        self.measures = ledger_measures(self.runner, self.stages)
        meta, labels = self._meta(), self._labels()
        self.metered, self.counted = meta.metered + labels.metered, meta.counted + labels.counted
        rewrites, calls = self._rewrites(), self._sample_calls()
        paired, walked = self._standing("samples"), self._standing("instructions")
        coming = calls.less(paired.pending)
        walks, written = self._walks(coming), self._stand_in("instructions")
        return [
            self._of("meta_records", meta.calls(), meta.tokens(), "rendered from the input"),
            self._type_labels(),
            self._of("task_rewrites", rewrites, self._stand_in("task_rewrites"), self._told("task_rewrite")),
            self._of("document_labels", labels.calls(), labels.tokens(), "rendered from the input"),
            merged(
                self._of("instructions", walked.calls(), walked.tokens(), "rendered from stored walks"),
                self._of("instructions", walks, written, self._told("instruction")),
            ),
            self._samples(paired, coming),
        ]

    def _samples(self, paired: Rendered, coming: Range) -> StagePlan:
        """Answers, and what is asked behind them."""
        tokens = self._answer_tokens(coming)
        plan = merged(
            self._of("samples", paired.calls(), paired.tokens(), "rendered from stored pairings"),
            self._of("samples", coming, tokens, "documents of the input, targets"),
        )
        wanted = self.stages["samples"].following(self.runner.settings)
        for one, known in zip(wanted, self._standing_follow_ups("samples", wanted), strict=True):
            metered = None if one.redraws else self.measures.get(one.task)
            if metered is not None and metered.counts:
                later = Range.about(metered.tokens_in, 0.1)
            else:  # its prompt is that of the answer, or has fewer directions
                later = tokens if coming.high > 0 else paired.tokens()
            share, name = (self._redraws(), "second draws") if one.redraws else (FOLLOWED, "follow-ups")
            calls, basis = (paired.calls() + coming) * share, f"{name} rendered from stored answers"
            plan = merged(plan, self._of("samples", known.calls(), known.tokens(), basis, one.task))
            plan = merged(plan, self._of("samples", calls, later, f"{name} as long as answers", one.task))
        return plan

    # -- what is there: rendered ------------------------------------------------------------------------

    def _meta(self) -> Rendered:
        """Every conversation that passed, stored or of the sample."""
        stage, waiting = self.stages["meta_records"], self.conversations.kept
        stored = self.runner.tables.kept("long_conversations")
        if not self._waits("meta_records"):
            stored = stored.limit(0)
        columns = ["id", "conversation"]
        known = waiting.select(*columns, "weight").unionByName(stored.select(*columns).withColumn("weight", F.lit(1.0)))
        frames = {"long_conversations": known, "conversations": self.conversations.records}
        return self._rendered(stage, frames, known)

    def _labels(self) -> Rendered:
        """The documents that would be labelled, as far as the classifier still needs labels."""
        tables, settings = self.runner.tables, self.runner.settings
        trained = tables.exists("classifier") and bool(tables.read("classifier").limit(1).count())
        asked, kept = tables.read("document_labels").count(), tables.kept("document_labels").count()
        wanted = labels_wanted(settings.classifier.labels, asked, kept)
        if trained or not wanted:
            return Rendered()
        held = self._documents()
        features = held.select("id", "document", "weight")
        scale = self.documents.scale
        share = self.runner.spark.createDataFrame([(max(1, round(wanted / scale)),)], "count bigint")
        frames = {
            "document_features": features,
            "documents": self.documents.records,
            "document_types": standins.types(tables, settings.types.k),
            "previous": tables.read("document_labels"),
            "wanted": share,
            "seed": settings.seed,
        }
        return self._rendered(self.stages["document_labels"], frames, features)

    def _standing(self, name: str) -> Rendered:
        """What a stage of the rounds has still to ask about stored rows."""
        stage, tables = self.stages[name], self.runner.tables
        if not tables.exists(str(stage.driving)) or not self._waits(name):
            return Rendered()
        frames = {table: tables.kept(table) for table in stage.tables}
        return self._rendered(stage, frames, frames[str(stage.driving)].withColumn("weight", F.lit(1.0)))

    def _standing_follow_ups(self, name: str, wanted: tuple[Following, ...]) -> list[Rendered]:
        """What is still to be asked behind answers that the ledger holds, for each follow-up."""
        stage, tables = self.stages[name], self.runner.tables
        if not wanted or not tables.exists(str(stage.driving)) or not self._waits(name):
            return [Rendered() for _ in wanted]
        assert stage.ask is not None
        asked = stage.ask(
            **call_arguments(stage.ask, {table: tables.kept(table) for table in stage.tables}, self.runner)
        )
        follow_ups = self.runner.ledger.follow_ups(name, str(stage.task), wanted, asked)
        return [counted(self.runner, one.task, made) for one, made in zip(wanted, follow_ups, strict=True)]

    def _rendered(self, stage: Stage, frames: Mapping[str, Any], weights: DataFrame) -> Rendered:
        assert stage.ask is not None
        asked = stage.ask(**call_arguments(stage.ask, frames, self.runner))
        weighed = weights.select(F.col("id").alias("input_id"), "weight").dropDuplicates(["input_id"])
        return rendered(self.runner, self._llm(stage.name), str(stage.task), asked, weighed)

    # -- what only a run can make: estimated ------------------------------------------------------------

    def _type_labels(self) -> StagePlan:
        if self._filled("document_types"):
            return StagePlan("document_types")
        conversations, k = self._conversations(), self.runner.settings.types.k
        if conversations < k:
            self.warnings.append(
                f"about {conversations:.0f} conversations pass the filter and types.k is {k}: a run would stop at "
                "document_types; add conversations, or ask for less with types.k"
            )
        calls = NAMINGS_PER_TYPE * float(k)
        return self._of("document_types", calls, self._stand_in("document_types"), self._told("type_label"))

    def _rewrites(self) -> Range:
        """Of the values that are there exactly; of the conversations still to come by what one brings."""
        waiting = NOTHING
        if self._waits("task_rewrites"):
            stage = self.stages["task_rewrites"]
            values = (
                self.runner.tables.kept("canonical_values").where(str(stage.where)).withColumn("weight", F.lit(1.0))
            )
            waiting = self._rendered(stage, {"canonical_values": values}, values).calls()
        typed = self.runner.tables.kept("conversation_types").count()
        coming = max(0.0, self._conversations() - typed)
        return waiting + self._rewrites_each() * coming

    def _rewrites_each(self) -> Range:
        meta, rewrites = self.measures.get("meta"), self.measures.get("task_rewrite")
        if meta is None or rewrites is None or min(meta.calls, rewrites.calls) < LEAST_MEASURED:
            return REWRITES_PER_CONVERSATION
        # Values merge as conversations are added, and some are answered already: a small sample hardly shows it.
        each = rewrites.calls / meta.calls
        return Range(each * 0.4, each, each * 1.2)

    def _sample_calls(self) -> Range:
        """Answers asked for until the targets are met, or supply is used up."""
        fresh = self.conversations.files + self.documents.files > 0
        if not fresh and rounds_settled(self.runner, self.stages):
            return NOTHING
        calls, each = NOTHING, self._asked_per_accepted()
        supply = self._supply()
        for setting, target in wanted_samples(self.runner.settings.targets).items():
            accepted = self.runner.tables.kept("samples").where(F.col("setting") == setting).count()
            can_be = accepted + supply[setting]
            if can_be < target:
                self.warnings.append(
                    f"targets.{setting}: asked {target}, but the documents of the sample let expect about "
                    f"{can_be:.0f} at most"
                )
            missing = max(0.0, min(target, can_be) - accepted)
            draws = supply[setting] * self.runner.settings.documents.max_draws
            calls = calls + (each * missing).at_most(max(missing, draws))
        return calls

    def _supply(self) -> dict[str, float]:
        """Samples that the documents not in use could give, per setting."""
        rows = self._documents().groupBy("fits_pair").agg(F.sum("weight").alias("n")).collect()
        counts = {row["fits_pair"]: float(row["n"]) for row in rows}
        used = {
            row["setting"]: row["n"]
            for row in self.runner.tables.kept("samples")
            .select("setting", F.explode("documents"))
            .groupBy("setting")
            .agg(F.count("*").alias("n"))
            .collect()
        }
        single = max(0.0, sum(counts.values()) - used.get("single", 0))
        return {"single": single, "multi": max(0.0, counts.get(True, 0.0) - used.get("multi", 0)) // 2}

    def _asked_per_accepted(self) -> Range:
        """Samples per accepted one: as seen on the root or its preview, else assumed."""
        answered = accepted = 0
        for tables in (self.runner.tables, self.preview):
            row = (
                tables.read("samples")
                .agg(F.count("*").alias("all"), F.count_if(F.col("reject_reason").isNull()).alias("kept"))
                .collect()[0]
            )
            answered, accepted = answered + row["all"], accepted + row["kept"]
        if answered < LEAST_MEASURED or not accepted:
            return SAMPLES_PER_ACCEPTED.at_least(1 / self.runner.settings.targets.expected_acceptance)
        return tries_per_success(share_seen(accepted, answered, NOTHING))

    def _redraws(self) -> Range:
        """Second draws per answer: as first answers failed on the root or in its preview, else assumed."""
        answered = failed = 0
        for tables in (self.runner.tables, self.preview):
            samples = tables.read("samples")
            second = F.col("draw") == 2 if "draw" in samples.columns else F.lit(False)  # older roots know no draws
            row = samples.agg(
                F.count("*").alias("all"), F.count_if(F.col("reject_reason").isin(*REDRAWN) | second).alias("failed")
            ).collect()[0]
            answered, failed = answered + row["all"], failed + row["failed"]
        return share_seen(failed, answered, REDRAWS)

    def _walks(self, samples: Range) -> Range:
        """Instructions for these samples, less those that are there and unpaired."""
        paired = self.runner.tables.kept("pairings").select(F.col("instruction").alias("id"))
        spare = self.runner.tables.kept("instructions").join(paired, "id", "left_anti").count()
        if samples.high <= 0:
            return NOTHING
        return (samples * WALKS_PER_PAIRING).less(spare)

    # -- tokens of one call -----------------------------------------------------------------------------

    def _stand_in(self, name: str) -> Range:
        """Prompt tokens where paths and values do not exist yet: as metered, else of a prompt of stand-ins."""
        stage = self.stages[name]
        task = stage.task or "type_label"
        measured = self.measures.get(task)
        if measured is not None and measured.counts:
            return Range.about(measured.tokens_in, 0.1)
        asked = standins.asked(self.runner, stage)
        return Range.about(
            rendered(self.runner, self._llm(name), task, asked).tokens().expected * self._factor(), STAND_IN
        )

    def _answer_tokens(self, calls: Range) -> Range:
        """Prompt tokens of an answer: mean over the documents that may be drawn, weighed by the settings' targets."""
        targets = wanted_samples(self.runner.settings.targets)
        whole = NOTHING
        for setting, target in targets.items():
            if not target:
                continue
            pairs = standins.pairs(self._documents(), setting, self.runner.settings.seed, MOST_DOCUMENTS)
            told = self._rendered(
                self.stages["samples"], standins.answering(self.runner, self.documents.records, pairs), pairs
            )
            if told.calls().expected > 0:
                share = target / sum(targets.values())
                # The draw, and with few calls the luck of it.
                doubt = mean_doubt(told.mean, told.spread, max(1, round(calls.expected * share)))
                whole = whole + Range.about(told.mean * self._factor(), doubt) * share
        return whole

    def _factor(self) -> float:
        """How the provider's meter compares with our tokenizer, on prompts that are known to both."""
        return self.metered / self.counted if self.counted and self.metered else 1.0

    # -- small parts ------------------------------------------------------------------------------------

    def _of(self, stage: str, calls: Range, tokens: Range, basis: str, task: str | None = None) -> StagePlan:
        task = task or self.stages[stage].task or "type_label"
        llm = self._llm(stage)
        most = reply_limit(call_parameters(llm))
        return planned(stage, task, calls, tokens, self.measures.get(task), most, price_of(llm), basis)

    def _llm(self, stage: str) -> LlmSettings:
        return teacher_of(self.runner, stage)

    def _told(self, task: str) -> str:
        measured = self.measures.get(task)
        seen = measured is not None and measured.counts
        return f"as {measured.calls} earlier calls" if seen and measured else "assumed sizes in the real prompt"

    def _conversations(self) -> float:
        """Conversations that pass the filter, stored and to come."""
        stored = self.runner.tables.kept("long_conversations").count()
        return stored + float(self.conversations.kept.agg(F.sum("weight")).collect()[0][0] or 0.0)

    def _documents(self) -> DataFrame:
        """[id, document, fits_pair, weight] of all documents that pass the filter."""
        columns = ["id", "document", "fits_pair"]
        stored = self.runner.tables.kept("long_documents").select(*columns).withColumn("weight", F.lit(1.0))
        return self.documents.kept.select(*columns, "weight").unionByName(stored)

    def _filled(self, name: str) -> bool:
        return self.runner.tables.exists(name) and bool(self.runner.tables.read(name).limit(1).count())

    def _waits(self, name: str) -> bool:
        """Whether a stage could still have something to ask about stored rows."""
        return not self.runner.unchanged(self.stages[name])


def plan_run(
    runner: Runner, stages: Sequence[Stage], files: Sequence[InputFile], budget: int, preview: Tables
) -> Planner:
    """Read the sample and get ready to plan; `files` are those that the root has not taken in."""
    by_name = {stage.name: stage for stage in stages}
    conversations = sample(runner, by_name, "conversations", files, budget)
    documents = sample(runner, by_name, "documents", files, budget)
    return Planner(runner, by_name, preview, conversations, documents)
