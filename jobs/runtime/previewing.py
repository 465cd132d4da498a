"""A preview: a few records of the input through all stages, every prompt and reply shown in full.

It is a run like any other, on a root of its own below the given one. Only the ledger is shared, so that the run proper
does not pay for an answer again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec
from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F

from jobs.runtime.errors import SettingsFault
from jobs.runtime.ledger import Serving
from jobs.runtime.opening import PREVIEW, drop_folder, opened
from jobs.runtime.plans import BUDGET_MB
from jobs.runtime.runner import Runner
from jobs.runtime.sampling import KINDS, sample
from jobs.runtime.settings import InputSettings, LineageSettings, Settings, StorageSettings, TargetSettings
from jobs.runtime.sources import Seen, find_inputs, inputs_of, unread
from jobs.runtime.stage import Stage
from jobs.runtime.synthesis import Choices, Synthesis, say
from udfs.readers import InputFile

LEAST = 2  # conversations that can be told apart
LEAST_DOCUMENTS = 20  # that a classifier can be trained and tried on
DOCUMENTS_EACH = 2  # a sample of two documents takes two
CONVERSATIONS_PER_TYPE = 5
SHOWN_IN = "calls.txt"


@dataclass
class Shown:
    """Collects what was asked and answered, and prints it as it comes."""

    texts: list[str] = field(default_factory=list)

    def show(self, stage: str, requests: DataFrame) -> None:
        """Requests of a stage [key, messages, status, reason, calls], each once, with every call that it took."""
        for row in requests.dropDuplicates(["key"]).orderBy("key").collect():
            turns = [f"----- {turn['role']}\n{turn['content']}" for turn in row["messages"]]
            replies = [_reply(call) for call in row["calls"] or ()]
            if row["status"] is None:
                replies.append("----- no answer yet")
            elif row["reason"]:
                replies.append(f"----- rejected: {row['reason']}")
            self.texts.append("\n".join([f"===== {stage} {row['key'][:16]}", *turns, *replies, ""]))
            say(self.texts[-1])


def _reply(call: Row) -> str:
    """A call as it came back; the request of a further one holds what is above it."""
    which = "further reply, to a correction or with more room" if call["further"] else "reply"
    return f"----- {which} ({call['model']}, {call['error_kind'] or call['status']})\n{call['text'] or ''}"


def preview(spark: SparkSession, settings: Settings, stages: Sequence[Stage], records: int, choices: Choices) -> int:
    """Run `records` conversations, and documents to match, through all stages; the run's exit status.

    The root is held meanwhile, and an earlier preview of it is removed. Raises SettingsFault where there are too few.
    """
    if records < LEAST:
        raise SettingsFault([f"--preview {records}: at least {LEAST} records are needed"])
    shown = Shown()
    with opened(spark, settings, say, may_be_new=True, stages=stages) as runner:
        state = runner.tables.state
        drop_folder(state, PREVIEW)
        root = f"{state}/{PREVIEW}"
        small = _small(runner.settings, root, records, _write_records(runner, stages, records, root))
        try:
            serving = Serving(tables=runner.tables, show=shown.show)
            return Synthesis(spark, small, stages, choices, serving=serving).run()
        finally:
            with fsspec.open(f"{root}/{SHOWN_IN}", "w", encoding="utf-8") as stream:
                stream.write("\n".join(shown.texts))
            say(f"{len(shown.texts)} prompts and replies in {root}/{SHOWN_IN}")


def _small(settings: Settings, root: str, records: int, documents: int) -> Settings:
    """The settings, with what is counted cut down to a few records."""
    wanted, multi = settings.targets.single + settings.targets.multi, settings.targets.multi
    pairs = min(multi, max(1, round(records * multi / wanted))) if multi else 0
    alone = min(settings.targets.single, max(0, records - pairs))
    types = min(settings.types.k, max(2, records // CONVERSATIONS_PER_TYPE))
    return settings.model_copy(
        update={
            "inputs": InputSettings(**{kind: (_place(root, kind),) for kind in KINDS}),
            "storage": StorageSettings(root=root),
            "lineage": LineageSettings(),
            "targets": TargetSettings(single=alone, multi=pairs, max_rounds=settings.targets.max_rounds),
            "types": settings.types.model_copy(update={"k": types}),
            "classifier": settings.classifier.model_copy(update={"labels": min(settings.classifier.labels, documents)}),
        }
    )


def _write_records(runner: Runner, stages: Sequence[Stage], records: int, root: str) -> int:
    """Write the records as files that the readers take, in seeded order; how many documents there are."""
    found = find_inputs(inputs_of(runner.settings, runner.tables.state), Seen(runner.tables))
    files = unread(runner.tables, found)
    conversations = _pick(runner, stages, "conversations", files, records)
    if len(conversations) < LEAST:
        raise SettingsFault([f"--preview {records}: {len(conversations)} conversations of the sample pass the filter"])
    _write(root, "conversations", [_conversation(row) for row in conversations])
    documents = _pick(runner, stages, "documents", files, max(records * DOCUMENTS_EACH, LEAST_DOCUMENTS))
    _write(root, "documents", [_document(row) for row in documents])
    return len(documents)


def _pick(
    runner: Runner, stages: Sequence[Stage], kind: str, files: Sequence[InputFile], count: int
) -> list[dict[str, Any]]:
    """Records that pass the filter, stored or still to be taken in, first in seeded order."""
    long_name, record = KINDS[kind]
    taken = sample(runner, {stage.name: stage for stage in stages}, kind, files, int(BUDGET_MB * 1e6))
    passed = taken.kept.select(record).unionByName(runner.tables.kept(long_name).select(record)).distinct()
    ids = passed.select(F.col(record).alias("id"))
    order = F.sha2(F.concat_ws(":", F.lit(runner.settings.seed), "id"), 256)
    rows = taken.records.join(ids, "id", "left_semi").orderBy(order, "id").limit(count).collect()
    return [row.asDict(recursive=True) for row in rows]


def _conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record in WildChat's shape; its content, and so its id, is that of the record it was picked from."""
    told = {name: row[name] for name in ("language", "toxic", "redacted", "source", "licence", "model")}
    return {"conversation_hash": row["conversation_id"], "conversation": row["turns"], **told}


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    """A record in SlimPajama's shape."""
    return {"text": row["text"], "meta": {name: row[name] for name in ("source", "licence", "language")}}


def _place(root: str, kind: str) -> str:
    return f"{root}/records/{kind}.jsonl"


def _write(root: str, kind: str, records: Sequence[Mapping[str, Any]]) -> None:
    files, path = fsspec.core.url_to_fs(_place(root, kind))
    files.makedirs(path.rpartition("/")[0], exist_ok=True)
    with files.open(path, "w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
