"""Any split of the input over any number of runs gives the rows of one run; what starts again gives a fresh root's."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs.runtime.errors import RecipeChanged
from tests.equality import answered_calls, assert_same_tables, content, differences, result_tables, tables_at
from tests.roots import make_runner, prose, run_stages, write_conversations
from tests.small_corpus import SCORING, SHARE, fitting, small_corpus, synthesize

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.cluster]

GRAPH = (
    "conversations", "long_conversations", "meta_records", "conversation_types", "canonical_values", "task_rewrites",
    "seed_paths", "nodes", "edges",
)  # fmt: skip
BEHIND_WALKS = ("walks", "instructions", "pairings", "samples", "influence", "training_set")
FITTED = ("document_types", "canonical_values", "classifier")
NO_TARGETS = "targets={single: 0, multi: 0}"
NO_DUPLICATE_RULE = "filter.near_duplicates=false"
MERGING = "canonical.similarity=0.7"  # so few values would hardly merge otherwise


@pytest.mark.timeout(1200)
def test_two_pieces_give_the_graph_of_one_run(spark: SparkSession, tmp_path: Path) -> None:
    """Fitted tables are given, conversations come in one run, or in two and out of order."""
    tasks = ("Summarise this report", "Translate this letter into French", "List the facts", "Explain this source code")
    topics = ("rice", "tides", "moss", "basalt", "copper", "amber")
    turns = [[f"{tasks[n % 4]}. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"] for n, topic in enumerate(topics)]
    files = [str(write_conversations(tmp_path / f"{n}.jsonl", turns[n * 3 : n * 3 + 3])) for n in range(2)]
    sightings = write_conversations(tmp_path / "0-again.jsonl", turns[:1])
    rules = [NO_DUPLICATE_RULE, "filter.min_conversation_tokens=100", f"inputs.documents=['{tmp_path}/docs.jsonl']"]
    (tmp_path / "docs.jsonl").write_text("", encoding="utf-8")

    def read(root: Path, *inputs: str) -> None:
        runner = make_runner(spark, str(root), [*rules, f"inputs.conversations={list(inputs)}"])
        if not runner.tables.exists("document_types"):
            give_types(spark, runner)
        run_stages(runner, *GRAPH)

    one, two = tmp_path / "one", tmp_path / "two"
    read(one, *files, str(sightings))
    shutil.copytree(one / "canonical_values", two / "canonical_values")
    read(two, files[1])
    read(two, files[1], files[0], str(sightings))
    assert_same_tables(tables_at(spark, one), tables_at(spark, two), (*GRAPH, "source_files", "sources"))
    assert tables_at(spark, two).read("nodes").select("batch").distinct().count() == 2


def give_types(spark: SparkSession, runner: Any) -> None:
    """Two fitted document types around arbitrary directions."""
    directions = np.random.default_rng(5).normal(size=(2, 384))
    fitted = [(n, (one / np.linalg.norm(one)).tolist()) for n, one in enumerate(directions)]
    frame = spark.createDataFrame(fitted, "type_index int, centroid array<float>").selectExpr(
        "*", "string(type_index) AS id", "concat('type ', type_index) AS label", "1 AS version", "1L AS size",
        "0.5D AS share", *[f"CAST(array() AS array<string>) AS {name}" for name in ("parent_ids", "examples")],
        *[f"'' AS {name}" for name in ("embedder", "teacher", "model")], "CAST(NULL AS string) AS reject_reason",
    )  # fmt: skip
    frame = runner.tables.conform(frame, "document_types", {"run_id": "", "recipe": ""})
    runner.tables.append(frame, "document_types", {})


# --- whole runs ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Files:
    """Input files in pieces, no record in two of them; a run is told which have come."""

    conversations: tuple[str, ...]
    documents: tuple[str, ...]
    repeats: str  # documents of the first piece once more, some with another word at their end

    def told(self, conversations: Sequence[int], documents: Sequence[int], repeats: bool = False) -> list[str]:
        texts = [self.documents[n] for n in documents] + [self.repeats] * repeats
        return [f"inputs.conversations={[self.conversations[n] for n in conversations]}", f"inputs.documents={texts}"]

    def all(self, repeats: bool = False) -> list[str]:
        return self.told(range(len(self.conversations)), range(len(self.documents)), repeats)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("pieces")
    records = small_corpus(folder / "corpus")
    alike = {line.lower(): line for line in reversed(records.documents)}
    records = replace(records, documents=list(reversed(alike.values())))
    some, many = records.conversations.num_rows, len(records.documents)
    talk = [(0, some - 20), (some - 20, some - 9), (some - 9, some - 1), (some - 1, some)]
    texts = [(0, many // 2), (many // 2, many - 10), (many - 10, many)]
    read = [json.loads(line) for line in records.documents[:12] if b'"text"' in line]
    longer = [{**record, "text": f"{record['text']} Postscript."} for record in read[::2]]
    repeated = [json.dumps(record).encode() + b"\n" for record in (*longer, *read[1::2])]
    return Files(
        tuple(str(records.write_conversations(folder / f"c{n}.parquet", *part)) for n, part in enumerate(talk)),
        tuple(str(records.write_documents(folder / f"d{n}.jsonl.zst", *part)) for n, part in enumerate(texts)),
        str(replace(records, documents=repeated).write_documents(folder / "repeats.jsonl.zst")),
    )


def run(spark: SparkSession, root: Path, given: Sequence[str], **choices: Any) -> dict[str, Any]:
    """The whole job; its summary."""
    status, summary = synthesize(spark, root, [*fitting(root, *SCORING), *given], **choices)
    assert status == 0, summary
    return summary


def calls(summary: dict[str, Any]) -> dict[str, int]:
    """Calls made, by stage; stages without any are left out."""
    return {stage["stage"]: stage["calls"] for stage in summary["stages"] if stage["calls"]}


@pytest.fixture(scope="module")
def base(spark: SparkSession, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first files, types and classifier fitted on them, no sample asked for yet."""
    root = tmp_path_factory.mktemp("base") / "root"
    run(spark, root, [*files.told([0], [0]), NO_TARGETS, NO_DUPLICATE_RULE, MERGING])
    return root


@pytest.fixture(scope="module")
def at_once(spark: SparkSession, files: Files, base: Path) -> Path:
    """All that is left in one run, with the targets."""
    root = base.with_name("at-once")
    shutil.copytree(base, root)
    run(spark, root, [*files.all(), NO_DUPLICATE_RULE, MERGING])
    return root


ORDERS = {
    "in order": [([1], [1]), ([2], []), ([3], [2])],
    "backwards, conversations first": [([3], []), ([2, 1], []), ([], [2]), ([], [1])],
}


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("order", ORDERS)
def test_any_split_gives_the_tables_of_one_run(
    spark: SparkSession, files: Files, base: Path, at_once: Path, tmp_path: Path, order: str
) -> None:
    """Fitted tables given (canonical values among them) and no duplicate rule: every table, up to the training set."""
    root = tmp_path / "root"
    shutil.copytree(base, root)
    shutil.rmtree(root / "canonical_values")
    shutil.copytree(at_once / "canonical_values", root / "canonical_values")
    talk, texts = [0], [0]
    for more_talk, more_texts in ORDERS[order]:
        talk, texts = [*talk, *more_talk], [*texts, *more_texts]
        run(spark, root, [*files.told(talk, texts), NO_TARGETS, NO_DUPLICATE_RULE, MERGING])
    run(spark, root, [*files.all(), NO_DUPLICATE_RULE, MERGING])
    assert_same_tables(tables_at(spark, at_once), tables_at(spark, root))
    merged = tables_at(spark, root).read("canonical_values").where("canonical <> value")
    assert not merged.isEmpty(), "no two values count as the same: the test would prove less than it says"


@pytest.mark.timeout(1200)
def test_a_refit_over_more_input_gives_the_tables_of_a_fresh_root(
    spark: SparkSession, files: Files, at_once: Path, tmp_path: Path
) -> None:
    """Types, canonical values and classifier were fitted on the first files; fitted on all they are others."""
    root, fresh, everything = tmp_path / "root", tmp_path / "fresh", [*files.all(), NO_DUPLICATE_RULE, MERGING]
    shutil.copytree(at_once, root)
    run(spark, root, everything, refit=FITTED)
    run(spark, fresh, everything)
    ours, before = tables_at(spark, root), tables_at(spark, at_once)
    for name in FITTED:
        assert differences(content(ours, name), content(before, name)), f"{name} is as it was: the test proves less"
    assert_same_tables(ours, tables_at(spark, fresh))
    assert set(answered_calls(ours).values()) == {1}, "a call that did not change was made again"


@pytest.mark.timeout(1200)
def test_a_canonical_value_is_settled_when_a_value_first_arrives(
    spark: SparkSession, files: Files, base: Path, at_once: Path, tmp_path: Path
) -> None:
    """The values and their vectors are those of one run; which value they count as stays as it was first decided."""
    root = tmp_path / "root"
    shutil.copytree(base, root)
    for talk in ([0, 3], [0, 3, 1], [0, 3, 1, 2]):
        settled = content(tables_at(spark, root), "canonical_values")
        run(spark, root, [*files.told(talk, [0]), NO_TARGETS, NO_DUPLICATE_RULE, MERGING], until="edges")
        now = content(tables_at(spark, root), "canonical_values")
        assert settled.items() <= now.items()
    ours, theirs = tables_at(spark, root), tables_at(spark, at_once)
    decided = ("canonical", "similarity", "parent_ids")
    assert_same_tables(ours, theirs, ["canonical_values"], without=decided)
    assert_same_tables(ours, theirs, [name for name in GRAPH if GRAPH.index(name) < GRAPH.index("canonical_values")])


@pytest.fixture(scope="module")
def fresh(spark: SparkSession, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything in one run, duplicates and all."""
    root = tmp_path_factory.mktemp("fresh") / "root"
    run(spark, root, files.all(repeats=True))
    return root


@pytest.mark.timeout(1800)
def test_starting_again_from_the_first_stages_gives_the_tables_of_a_fresh_root(
    spark: SparkSession, files: Files, fresh: Path, tmp_path: Path
) -> None:
    """Types and classifier were fitted on other files, repeats came before what they repeat, samples were drawn."""
    root = tmp_path / "root"
    run(spark, root, files.told([1, 0], [1, 2], repeats=True))
    run(spark, root, files.all(repeats=True))
    run(spark, root, files.all(repeats=True), recompute=("conversations", "documents"))
    ours, theirs = tables_at(spark, root), tables_at(spark, fresh)
    assert_same_tables(ours, theirs)
    assert set(answered_calls(ours).values()) == {1}, "no call was made twice"
    duplicates = theirs.read("long_documents").where("reject_reason LIKE '%_duplicate:%'").count()
    assert duplicates >= 3, "nearly no duplicates: the test would prove less than it says"


@pytest.mark.timeout(1800)
def test_restarts_in_the_middle_make_only_calls_that_changed(
    spark: SparkSession, files: Files, fresh: Path, tmp_path: Path
) -> None:
    root, everything = tmp_path / "root", files.all(repeats=True)
    shutil.copytree(fresh, root)
    theirs = tables_at(spark, fresh)
    restarts: list[dict[str, Any]] = [{"recompute": ("walks",)}, {"recompute": ("training_set",)}]
    restarts += [{"refit": (name,)} for name in FITTED]
    for restart in restarts:
        ((stage,),) = restart.values()
        version = tables_at(spark, root).version(stage)
        assert calls(run(spark, root, everything, **restart)) == {}, f"{restart} made calls that did not change"
        assert tables_at(spark, root).version(stage) > version, f"{restart} did not start it again"
        assert_same_tables(tables_at(spark, root), theirs)

    other = [*everything, "walks.edge_weight=sublinear"]
    with pytest.raises(RecipeChanged, match="--recompute walks "):
        run(spark, root, other)
    assert_same_tables(tables_at(spark, root), theirs)
    told = run(spark, root, other, recompute=("walks",))
    assert set(calls(told)) <= {"instructions", "samples"}
    ours = tables_at(spark, root)
    assert set(answered_calls(ours).values()) == {1}, "a call that did not change was made again"
    scored = ours.read("training_set").where("score IS NOT NULL").count()
    assert ours.kept("training_set").count() == math.ceil(SHARE * scored) > 0
    told = {row["sample"] for row in ours.read("influence").collect()}
    assert told == {row["id"] for row in ours.kept("samples").collect()}, "the new samples, and none of the old"
    assert_same_tables(ours, theirs, [name for name in result_tables() if name not in BEHIND_WALKS])


@pytest.mark.timeout(1800)
def test_changed_recipes_of_the_first_and_the_last_stage(
    spark: SparkSession, files: Files, fresh: Path, tmp_path: Path
) -> None:
    """The first recipe that has a setting is refused until it is recomputed; the last table is made anew by itself."""
    root, everything = tmp_path / "root", files.all(repeats=True)
    shutil.copytree(fresh, root)
    theirs = tables_at(spark, fresh)
    least = theirs.kept("long_documents").agg(F.min("n_tokens")).collect()[0][0]
    other = [*everything, f"filter.min_document_tokens={least + 1}"]
    with pytest.raises(RecipeChanged, match="--recompute long_conversations,long_documents "):
        run(spark, root, other)
    assert_same_tables(tables_at(spark, root), theirs)
    told = run(spark, root, other, recompute=("long_conversations", "long_documents"))
    assert not set(calls(told)) & {"meta_records", "document_types", "task_rewrites", "document_labels"}
    ours = tables_at(spark, root)
    assert set(answered_calls(ours).values()) == {1}, "a call that did not change was made again"
    short = ours.read("long_documents").where("reject_reason = 'too_short'").count()
    assert short == theirs.read("long_documents").where("reject_reason = 'too_short'").count() + 1

    told = run(spark, root, [*other, "selection={by: order, top_count: 5}"])
    assert calls(told) == {} and {s["stage"] for s in told["stages"] if s["out"]} == {"training_set"}
    assert tables_at(spark, root).kept("training_set").count() == 5


@pytest.mark.timeout(1200)
def test_one_more_conversation_costs_its_own_calls(spark: SparkSession, files: Files, tmp_path: Path) -> None:
    root = tmp_path / "root"
    run(spark, root, files.told([0, 1, 2], [0, 1, 2]))
    idle = run(spark, root, files.told([0, 1, 2], [0, 1, 2]))
    told = run(spark, root, files.all())
    assert calls(idle) == {}
    new = tables_at(spark, root).read("meta_records").where(F.col("run_id") == told["run_id"]).collect()
    assert len(new) == 1
    own = len(new[0]["tasks"]) + len(new[0]["simplified_instruction"])
    made = calls(told)
    assert made.pop("meta_records") == 1
    assert made.pop("task_rewrites", 0) <= own
    assert made == {}, "targets were met: nobody else is asked"
    print(f"\na run with nothing new {idle['seconds']} s, with one more conversation {told['seconds']} s")
