"""Forgetting on a small root: what goes, what stays, what is judged again, and that it happens once."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime import dependents, forgetting
from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import finish, forget
from jobs.runtime.history import Execution
from jobs.runtime.restart import restart
from jobs.runtime.runner import Runner
from jobs.runtime.summary import StageTally
from jobs.runtime.tombstones import bury, is_open, reject_forgotten, stale_tables
from jobs.stages import STAGES
from tests.roots import make_runner, prose, rows, run_stages, write_conversations, write_documents

pytestmark = pytest.mark.spark
COMMON = "id string, parent_ids array<string>, reject_reason string, run_id string, recipe string"
SETTINGS = [
    "filter.min_conversation_tokens=50",
    "filter.min_document_tokens=50",
    "filter.max_pair_document_tokens=3000",
    "filter.max_document_tokens=6000",
    "types.k=1",
    "embedder={chunks: 1, chunk_tokens: 32}",
]
GRAPH_STAGES = (
    "conversations", "long_conversations", "meta_records", "document_types", "conversation_types", "canonical_values",
    "task_rewrites", "seed_paths", "nodes", "edges",
)  # fmt: skip
DOCUMENT_STAGES = ("documents", "long_documents")


def talk(topic: str) -> list[str]:
    return [f"Summarise this report on {topic} as a table. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"]


def settings(folder: Path) -> list[str]:
    return [*SETTINGS, f"inputs.conversations=['{folder}/talks/*']", f"inputs.documents=['{folder}/docs/*']"]


def texts_of(runner: Runner) -> str:
    """Every row of every table, and every file of the spool, as one text."""
    told = [line for name in sql.tables() for line in runner.tables.read(name).toJSON().collect()]
    spool = [p.read_text(encoding="utf-8") for p in Path(runner.tables.state, "_spool").rglob("*.jsonl")]
    return "\n".join([*told, *spool])


def graph(runner: Runner) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """Sums of the stored counts."""
    nodes = runner.tables.read("nodes").groupBy("node").agg(F.sum("count")).collect()
    edges = runner.tables.read("edges").groupBy("source", "target").agg(F.sum("count")).collect()
    return {row[0]: row[1] for row in nodes}, {(row[0], row[1]): row[2] for row in edges}


def counted(runner: Runner) -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    """The graph counted in plain Python over the stored seed paths."""
    nodes: Counter[str] = Counter()
    edges: Counter[tuple[str, str]] = Counter()
    for row in runner.tables.kept("seed_paths").collect():
        held = sorted({(node["field"], node["node"]) for node in row["nodes"]})
        nodes.update(node for _, node in held)
        edges.update((a[1], b[1]) for a, b in combinations(held, 2) if a[0] != b[0])
    return dict(nodes), dict(edges)


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_a_file_goes_with_everything_made_from_it_and_stays_away(
    spark: SparkSession, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "talks").mkdir()
    (tmp_path / "docs").mkdir()
    write_conversations(tmp_path / "talks" / "a.jsonl", [talk("rice"), talk("tides"), talk("moss")])
    write_conversations(tmp_path / "talks" / "b.jsonl", [talk("moss"), talk("zircon")])
    write_documents(tmp_path / "docs" / "a.jsonl", [prose("basalt", 10), prose("quartz", 10)])
    write_documents(tmp_path / "docs" / "b.jsonl", [prose("basalt", 10).upper(), prose("quartz", 10)])
    given = settings(tmp_path)
    runner = make_runner(spark, root, given)
    run_stages(runner, *GRAPH_STAGES, *DOCUMENT_STAGES)
    assert "zircon" in texts_of(runner)
    twins = {row["id"]: row["reject_reason"] for row in rows(runner, "long_documents") if row["reject_reason"]}
    assert len(twins) == 1, "one spelling of the basalt text is a duplicate of the other"
    ((twin, reason),) = twins.items()
    original = reason.split(":")[1]
    placed = {row["id"]: row for row in rows(runner, "documents")}
    document = {row["id"]: row["document"] for row in rows(runner, "long_documents")}
    first = placed[document[original]]["path"]

    # A conversation in other letters is rejected as a duplicate of one that is forgotten below.
    write_conversations(tmp_path / "talks" / "d.jsonl", [[said.upper() for said in talk("zircon")]])
    run_stages(make_runner(spark, root, given, "run-1a"), "conversations", "long_conversations")
    (shouted,) = [row["id"] for row in rows(runner, "long_conversations") if row["reject_reason"]]

    # One more file is read, and the streams behind have not come to it when it is forgotten.
    write_conversations(tmp_path / "talks" / "c.jsonl", [talk("opal")])
    run_stages(make_runner(spark, root, given, "run-1b"), "conversations")

    # Killed in the middle: the tombstones stand, the counts are off, no row is removed.
    forgetter = make_runner(spark, root, given, "forget-1")

    def die(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(forgetting._Burial, "_remove", die)
        with pytest.raises(RuntimeError, match="killed"):
            forget(forgetter, STAGES, [str(tmp_path / "talks" / f"{name}.jsonl") for name in "bc"] + [first], [])
    assert is_open(forgetter.tables, forgetter.history)

    again = make_runner(spark, root, given, "run-2")
    outcome = finish(again, STAGES)
    assert outcome.removed["seed_paths"] == 2 and outcome.removed["meta_records"] == 1, outcome
    assert outcome.again == {"long_conversations": 1, "long_documents": 1}
    assert "zircon" not in texts_of(again)
    assert graph(again) == counted(again), "counts are taken off once, and no key is left that counts nothing"
    moss = [row for row in rows(again, "conversations") if "moss" in row["user_text"]]
    assert [row["path"] for row in moss] == [str(tmp_path / "talks" / "a.jsonl")]
    quartz = [row for row in rows(again, "documents") if "quartz" in row["text"]]
    assert len(quartz) == 1 and quartz[0]["path"] != first, "a record of two files stays, in the other one"
    warnings = list(stale_tables(again.tables, again.history))
    assert [sentence.split()[0] for sentence in warnings] == ["canonical_values", "document_types"]

    # A second time does nothing; the next run neither reads the file again nor takes the record from a copy.
    said: list[str] = []
    versions = {name: again.tables.version(name) for name in sql.tables()}
    monkeypatch.setattr(again, "say", said.append)
    assert not forget(again, STAGES, [str(tmp_path / "talks" / "b.jsonl")], []).removed
    assert "was forgotten before" in said[0] and {name: again.tables.version(name) for name in versions} == versions
    write_conversations(tmp_path / "talks" / "copy.jsonl", [talk("zircon"), talk("coral")])
    later = make_runner(spark, root, given, "run-3")
    summary = run_stages(later, "conversations", "long_conversations", *DOCUMENT_STAGES)
    assert summary.stages["conversations"].reasons == {"forgotten": 1}
    assert any("b.jsonl: was forgotten" in warning for warning in summary.warnings), summary.warnings
    assert "zircon" not in texts_of(later) and "coral" in texts_of(later)
    told = summary.stages["long_conversations"].rows_in
    assert told == 2, "coral, and what is judged again; opal was forgotten before it was read"
    judged = {row["id"]: row["reject_reason"] for row in rows(later, "long_conversations")}
    assert judged[shouted] is None, "the duplicate of a forgotten conversation is judged again"
    read = {row["conversation"] for row in rows(later, "long_conversations")}
    assert read <= {row["id"] for row in rows(later, "conversations")}
    judged = {row["id"]: row["reject_reason"] for row in rows(later, "long_documents")}
    assert judged[twin] is None, "the duplicate of what was forgotten is judged again"


@pytest.mark.faults
def test_documents_go_and_their_duplicates_are_judged_again(spark: SparkSession, root: str, tmp_path: Path) -> None:
    (tmp_path / "talks").mkdir()
    (tmp_path / "docs").mkdir()
    write_conversations(tmp_path / "talks" / "a.jsonl", [talk("rice")])
    write_documents(tmp_path / "docs" / "a.jsonl", [prose("basalt", 10), prose("quartz", 10)])
    given = settings(tmp_path)
    run_stages(make_runner(spark, root, given), *DOCUMENT_STAGES)
    write_documents(tmp_path / "docs" / "b.jsonl", [prose("basalt", 10).upper(), prose("quartz", 10)])
    runner = make_runner(spark, root, given, "run-2")
    run_stages(runner, *DOCUMENT_STAGES)
    (twin,) = [row["id"] for row in rows(runner, "long_documents") if row["reject_reason"]]
    write_documents(tmp_path / "docs" / "c.jsonl", [prose("opal", 10)])
    run_stages(make_runner(spark, root, given, "run-3"), "documents")  # and long_documents has not read it

    names = [str(tmp_path / "docs" / f"{name}.jsonl") for name in "ac"]
    forgetter = make_runner(spark, root, given, "forget-1")
    outcome = forget(forgetter, STAGES, names, [])
    assert outcome.removed == {"documents": 2, "long_documents": 2, "sources": 3, "source_files": 2}
    assert outcome.again == {"long_documents": 1}
    (quartz,) = [row for row in rows(forgetter, "documents") if "quartz" in row["text"]]
    assert quartz["path"].endswith("b.jsonl"), "a record of two files stays, in the other one"
    told = texts_of(forgetter)
    assert "opal" not in told and "basalt" not in told and "BASALT" in told

    said: list[str] = []
    again = make_runner(spark, root, given, "forget-2")
    again.say = said.append
    versions = {name: again.tables.version(name) for name in sql.tables()}
    assert not forget(again, STAGES, names, []).removed
    assert all("was forgotten before" in sentence for sentence in said) and len(said) == 2
    assert {name: again.tables.refresh(name) for name in versions} == versions

    write_documents(tmp_path / "docs" / "copy.jsonl", [prose("opal", 10), prose("coral", 10)])
    later = make_runner(spark, root, given, "run-4")
    summary = run_stages(later, *DOCUMENT_STAGES)
    assert summary.stages["documents"].reasons == {"forgotten": 1}
    assert sum("was forgotten and is not read again" in warning for warning in summary.warnings) == 2
    assert "opal" not in texts_of(later) and "coral" in texts_of(later)
    judged = {row["id"]: row["reject_reason"] for row in rows(later, "long_documents")}
    assert judged[twin] is None, "the duplicate of what was forgotten is judged again"
    assert len(judged) == 3, "opal was forgotten before long_documents came to read it"


def test_what_is_unknown_is_refused_all_at_once(spark: SparkSession, root: str, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "talks").mkdir()
    write_documents(tmp_path / "docs" / "a.jsonl", [prose("rice", 10)])
    write_conversations(tmp_path / "talks" / "a.jsonl", [talk("rice")])
    runner = make_runner(spark, root, settings(tmp_path))
    run_stages(runner)
    with pytest.raises(SettingsFault) as fault:
        forget(runner, STAGES, [str(tmp_path / "docs" / "b.jsonl")], ["xyz", "0" * 64])
    assert len(fault.value.faults) == 3
    assert str(tmp_path / "docs" / "a.jsonl") in fault.value.faults[0], "the nearest known file is named"
    assert not runner.tables.exists("tombstones")


def test_rows_that_come_back_are_emptied(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root)
    stones = spark.createDataFrame([("documents", "d1", "f1")], "table string, id string, asked string")
    bury(runner.tables, stones, {"classifier": 0})
    frame = runner.tables.conform(
        spark.createDataFrame(
            [(i, ["f"], None, "r", "x", "f", "p", 0, "h", "secret", "s", "l", "en", "{}") for i in ("d1", "d2")],
            sql.columns("documents"),
        ),
        "documents",
        {},
    )
    kept = {row["id"]: row.asDict() for row in reject_forgotten(runner.tables, "documents", frame).collect()}
    assert kept["d2"]["text"] == "secret" and kept["d2"]["reject_reason"] is None
    gone = {name: value for name, value in kept["d1"].items() if value is not None}
    assert gone.keys() == {"id", "parent_ids", "reject_reason", "run_id", "recipe", "source_file", "path", "position",
                           "content_hash"}  # fmt: skip
    assert gone["reject_reason"] == "forgotten"
    assert reject_forgotten(runner.tables, "nodes", frame) is frame


def walk(number: str, path: list[str], seed: str | None) -> tuple[Any, ...]:
    return (number, [(node[0], node, node) for node in path], seed)


def test_walks_die_with_a_node_an_edge_or_their_seed_path(spark: SparkSession) -> None:
    """Fields are the first letters; edges are stored from the smaller (field, node) to the larger."""
    nodes = spark.createDataFrame([("a1", 1), ("b1", 2), ("b1", -1), ("c1", 1), ("c1", -1)], "node string, count long")
    edges = spark.createDataFrame(
        [("a1", "b1", 1), ("b1", "d1", 1), ("b1", "d1", -1)], "source string, target string, count long"
    )
    seeds = spark.createDataFrame([("s1",)], "id string")
    walks = spark.createDataFrame(
        [
            walk("alive", ["b1", "a1"], "s1"),
            walk("alone", ["b1"], "s1"),
            walk("empty", [], None),
            walk("no node", ["a1", "c1"], "s1"),
            walk("no edge", ["a1", "b1", "d1"], "s1"),
            walk("no seed", ["a1", "b1"], "s2"),
        ],
        "id string, nodes array<struct<field: string, value: string, node: string>>, nearest_seed_path string",
    )
    dead = sql.run("dead_walks", walks=walks, nodes=nodes, edges=edges, seed_paths=seeds)
    assert {row["id"] for row in dead.collect()} == {"no node", "no edge", "no seed"}


def test_values_stand_on_who_is_left(spark: SparkSession) -> None:
    values = [
        ("own", ["gone"], "x", "x"),  # another conversation holds it too
        ("lends", ["gone"], "y", "y"),  # stands for a value that another conversation holds
        ("lent", ["m2"], "y2", "y"),
        ("dead", ["gone"], "z", "y"),  # nobody holds it, and it stands for nothing
    ]
    canonical = spark.createDataFrame(
        [(i, parents, "news", "tasks", value, stands) for i, parents, value, stands in values],
        "id string, parent_ids array<string>, document_type string, field string, value string, canonical string",
    )
    held = spark.createDataFrame(
        [("news", "tasks", "x", "m3"), ("news", "tasks", "x", "m2"), ("news", "tasks", "y2", "m2")],
        "document_type string, field string, value string, meta_record string",
    )
    left = spark.createDataFrame([("m2",), ("m3",)], "id string")
    found = sql.run("supported_values", held=held, canonical_values=canonical, meta_records=left).collect()
    assert {row["id"]: row["holder"] for row in found} == {"own": "m2", "lends": "m2", "dead": None}


def test_calls_go_when_no_row_rests_on_them(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root)
    columns = sql.columns("llm_calls")

    def call(i: str, key: str, parent: str | None, stage: str) -> dict[str, Any]:
        known = {"id": i, "key": key, "parent_key": parent, "stage": stage, "parent_ids": []}
        return {name: known.get(name) for name in columns.names}

    calls = [
        call("used", "k1", None, "samples"),
        call("its turn", "k2", "k1", "samples"),
        call("tried before", "k1", None, "samples"),
        call("unused", "k3", None, "samples"),
        call("turn of unused", "k4", "k3", "samples"),
        call("of another stage", "k5", None, "task_rewrites"),
    ]
    runner.tables.append(spark.createDataFrame(calls, columns), "llm_calls", {})
    sample = {name: {"id": "s", "call_id": "used"}.get(name) for name in sql.columns("samples").names}
    runner.tables.append(spark.createDataFrame([sample], sql.columns("samples")), "samples", {})
    unused = dependents.unused_calls(runner.tables, frozenset({"samples"}))
    assert {row["id"] for row in unused.collect()} == {"unused", "turn of unused"}


def test_what_may_still_become_rows_is_known(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """No stage that asks has a row yet; and rows that wait have answers of the follow-ups that succeeded."""
    runner = make_runner(spark, root)
    columns = "id string, key string, parent_key string, stage string, status string"
    told = [(name, name, None, name, "ok") for name in ("document_labels", "samples", "meta_records")]
    runner.tables.append(spark.createDataFrame(told, columns), "llm_calls", {})
    for name in ("document_labels", "samples", "meta_records"):
        unused = dependents.unused_calls(runner.tables, frozenset({name})).collect()
        assert [row["id"] for row in unused] == [name]
    by_name = {stage.name: stage for stage in STAGES}

    def owes(name: str) -> bool:
        return forgetting._may_owe_rows(runner.tables, runner.history, by_name[name])

    assert owes("document_labels"), "a first execution that was cut off is noted nowhere"
    assert not owes("meta_records") and not owes("samples"), "their streams never began"
    for state, expected in (("done", False), ("deferred", True)):
        for name in ("document_labels", "samples", "meta_records"):
            done = Execution(name, 0, "", {}, {}, 0, state, {})
            runner.history.record(done, StageTally(name, seconds=1.0))
            assert owes(name) is expected, (name, state)


@pytest.mark.faults
def test_answers_whose_rows_are_still_to_be_made_hold_it_up(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """A run that started a stage again and was cut off: its answers lie in the ledger, and no row rests on them."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "talks").mkdir()
    write_documents(tmp_path / "docs" / "a.jsonl", [prose("rice", 10)])
    for topic in ("rice", "tides"):
        write_conversations(tmp_path / "talks" / f"{topic}.jsonl", [talk(topic)])
    to_calls = ("conversations", "long_conversations", "meta_records")
    runner = make_runner(spark, root, settings(tmp_path))
    run_stages(runner, *to_calls)
    goes, calls = [str(tmp_path / "talks" / "tides.jsonl")], len(rows(runner, "llm_calls"))
    restart(runner, STAGES, ["meta_records"], [])
    assert not rows(runner, "meta_records")
    for when in ("at once", "in another process"):
        with pytest.raises(SettingsFault, match=r"still to be made \(meta_records.*--now"):
            forget(make_runner(spark, root, settings(tmp_path), when), STAGES, goes, [])
    assert len(rows(runner, "llm_calls")) == calls and not runner.tables.exists("tombstones")

    again = make_runner(spark, root, settings(tmp_path), "run-2")
    assert run_stages(again, *to_calls).stages["meta_records"].calls == 0, "no answer was lost"
    outcome = forget(make_runner(spark, root, settings(tmp_path), "forget-1"), STAGES, goes, [])
    assert outcome.removed["llm_calls"] == 1 and len(rows(again, "llm_calls")) == calls - 1
    last = make_runner(spark, root, settings(tmp_path), "run-3")
    restart(last, STAGES, ["meta_records"], [])
    rice = [str(tmp_path / "talks" / "rice.jsonl")]
    outcome = forget(make_runner(spark, root, settings(tmp_path), "forget-2"), STAGES, rice, [], now=True)
    assert outcome.removed["llm_calls"] == 1
