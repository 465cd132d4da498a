"""Forgetting a generated row: what its id stands for, what goes with it, and what becomes of a walk drawn again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import forget
from jobs.runtime.rounds import rounds_settled, run_rounds
from jobs.runtime.runner import Runner
from jobs.runtime.subjects import OF_RECORD, resolve
from jobs.runtime.tombstones import REASON, Subject
from jobs.stages import STAGES
from tests.leftovers import holding, leave_call
from tests.roots import BY_NAME, make_runner, prose, rows, run_stages, write_conversations, write_documents
from udfs.llm.spool import list_segments

pytestmark = pytest.mark.spark
GRAPH_STAGES = (
    "conversations", "long_conversations", "meta_records", "document_types", "conversation_types", "canonical_values",
    "task_rewrites", "seed_paths", "nodes", "edges",
)  # fmt: skip
TWIN = re.compile(r"(?:exact|near)_duplicate:([0-9a-f]+)$")
UNUSED = "an answer that came to nothing"


def stored(runner: Runner, name: str, row: dict[str, Any]) -> None:
    """A row put into a table as its stage would have written it; columns that are not given are null."""
    wanted = sql.columns(name)
    whole = {column: row.get(column) for column in wanted.names}
    runner.tables.append(runner.spark.createDataFrame([whole], wanted), name, {})


def hexed(number: int) -> str:
    """An id that no other one begins like."""
    return f"{number:08x}" + "0" * 56


@pytest.mark.faults
def test_what_an_id_stands_for(spark: SparkSession, root: str) -> None:
    """A row made of one record stands for it, a generated one for its walk; one made of many is refused by name."""
    runner = make_runner(spark, root)
    expected: dict[str, Subject] = {}

    def told(table: str, number: int, subject: tuple[str, str], **row: Any) -> None:
        stored(runner, table, {"id": hexed(number), **row})
        expected[hexed(number)] = Subject(*subject, asked=hexed(number))

    told("source_files", 1, ("source_files", hexed(1)))
    about = {"conversation": "conversations", "document": "documents"}
    for number, (table, column) in enumerate(OF_RECORD.items(), start=16):
        record = about.get(column, table), "record" if column != "id" else hexed(number)
        told(table, number, record, **({} if column == "id" else {column: "record"}))
    told("walks", 64, ("walks", hexed(64)))
    told("instructions", 65, ("walks", "w"), walk="w")
    told("pairings", 66, ("walks", "w"), walk="w")
    told("samples", 67, ("walks", "w"), walk_id="w")
    told("influence", 68, ("walks", "w"), sample=hexed(67))
    told("training_set", 69, ("walks", "w"), sample=hexed(67))
    told("samples", 70, ("imports", "record"), parent_ids=["record"])  # an imported one has no walk
    told("training_set", 71, ("imports", "record"), sample=hexed(70))
    found, before = resolve(runner.tables, [], [*expected])
    assert dict(zip(expected, found, strict=True)) == expected and not before

    many = {"nodes": 128, "edges": 129, "canonical_values": 130, "document_types": 131, "graph_stats": 132}
    for table, number in many.items():
        stored(runner, table, {"id": hexed(number)})
    with pytest.raises(SettingsFault) as fault:
        resolve(runner.tables, [], [hexed(number) for number in many.values()])
    assert len(fault.value.faults) == len(many)
    for table, sentence in zip(many, fault.value.faults, strict=True):
        assert f"is a row of {table}, which is made from many records" in sentence


def wanted(runner: Runner, kind: str, first: int, count: int) -> Any:
    columns = "setting string, document_type string, first_index bigint, count bigint"
    return runner.spark.createDataFrame([("single", kind, first, count)], columns)


def reached(folder: Path, spark: SparkSession, root: str, run: str) -> Runner:
    given = [
        "filter.min_conversation_tokens=50",
        "types.k=1",
        "targets={single: 0, multi: 0}",  # walks are drawn by the test
        "instructions={shingle_words: 1, bands: 64, threshold: 0.3}",  # a few instructions repeat each other
        f"inputs.conversations=['{folder}/talk.jsonl']",
        f"inputs.documents=['{folder}/docs.jsonl']",
    ]
    return make_runner(spark, root, given, run)


@pytest.mark.faults
@pytest.mark.timeout(1200)
def test_walks_go_with_what_was_made_and_come_back_empty(spark: SparkSession, root: str, tmp_path: Path) -> None:
    topics = ("rice", "tides", "moss")
    talks = [
        [f"Summarise this report on {topic} as a table. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"]
        for topic in topics
    ]
    write_conversations(tmp_path / "talk.jsonl", talks)
    write_documents(tmp_path / "docs.jsonl", [prose("basalt", 10)])
    runner = reached(tmp_path, spark, root, "run-1")
    run_stages(runner, *GRAPH_STAGES)
    kind = runner.tables.kept("seed_paths").where("setting = 'single'").first()["document_type"]  # type: ignore[index]
    count = 12
    runner.run(BY_NAME["walks"], wanted(runner, kind, 0, count))
    run_rounds(runner, BY_NAME)  # instructions, and nothing more is wanted
    runner.history.flush()
    assert rounds_settled(runner, BY_NAME)
    walks = {row["walk_index"]: row for row in rows(runner, "walks")}
    assert sorted(walks) == list(range(count))
    made = {row["id"]: row for row in rows(runner, "instructions")}
    twins = {key: found[1] for key, row in made.items() if (found := TWIN.match(row["reject_reason"] or ""))}
    assert twins, "so few values give one instruction twice"
    first = made[sorted(twins.values())[0]]
    repeats = {key for key, twin in twins.items() if twin == first["id"]}
    last = walks[count - 1]

    leave_call(root, "instructions", f"{UNUSED}: {first['instruction']}")
    assert list_segments(f"{root}/_spool") and holding(Path(root, "_spool"), UNUSED)
    versions = {name: runner.tables.version(name) for name in ("nodes", "edges", "seed_paths", "meta_records")}
    forgetter = reached(tmp_path, spark, root, "forget-1")
    assert not forget(forgetter, STAGES, [], [last["id"]]).again
    assert not rounds_settled(forgetter, BY_NAME), "targets may be short of a sample, though no input has changed"
    forgetter = reached(tmp_path, spark, root, "forget-2")
    outcome = forget(forgetter, STAGES, [], [first["id"]])
    dead = {first["walk"], last["id"]}
    gone = {key for key, row in made.items() if row["walk"] in dead}
    again = repeats - gone
    assert again and outcome.again == {"instructions": len(again)}
    assert outcome.removed["walks"] == 1 and outcome.removed["instructions"] == len(again) + 1
    assert {row["id"] for row in rows(forgetter, "walks")} == {row["id"] for row in walks.values()} - dead
    assert {row["id"] for row in rows(forgetter, "instructions")} == made.keys() - gone - again
    assert versions == {name: forgetter.tables.version(name) for name in versions}, "the graph does not rest on walks"
    assert not list_segments(f"{root}/_spool") and not holding(Path(root, "_spool"), UNUSED)
    assert not [row for row in rows(forgetter, "llm_calls") if UNUSED in (row["text"] or "")]

    # The next run judges the repetitions again, and draws the last walk once more: an empty row.
    later = reached(tmp_path, spark, root, "run-2")
    told = later.run(BY_NAME["instructions"])
    assert told.rows_in == len(again)
    judged = {row["id"]: row["reject_reason"] or "" for row in rows(later, "instructions")}
    assert again <= judged.keys() and not any(judged[key].endswith(first["id"]) for key in again)
    assert "" in {judged[key] for key in again}, "one of them is the first to say so now"
    tally = later.run(BY_NAME["walks"], wanted(later, kind, max(walks.keys() - {count - 1}) + 1, 1))
    assert tally.reasons == {REASON: 1}
    (back,) = [row for row in rows(later, "walks") if row["id"] == last["id"]]
    assert back["reject_reason"] == REASON and back["walk_index"] == count - 1
    assert back["nodes"] is None and back["nearest_seed_path"] is None and back["overlap"] is None
    assert later.run(BY_NAME["instructions"]).rows_in == 0, "nothing is asked for a forgotten walk"
