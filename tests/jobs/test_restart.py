"""What starts again: nothing twice after a crash, every stage keeps what is its own, no two recipes are mixed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.errors import RecipeChanged, SettingsFault
from jobs.runtime.history import Execution
from jobs.runtime.order import behind
from jobs.runtime.recipes import identity, recipe
from jobs.runtime.restart import require_recipes, require_retriable, restart, retry_rejected
from jobs.runtime.settings import Settings
from jobs.runtime.sources import find_inputs
from jobs.runtime.stage import Stage
from jobs.stages import STAGES
from tests.equality import assert_same_tables, content
from tests.fake_server.client import FakeServer
from tests.roots import make_runner, prose, rows, run_stages, write_conversations, write_documents
from udfs.models.files import embedder_identity

HERE = ("documents", "long_documents")


@pytest.mark.spark
@pytest.mark.faults
def test_a_restart_that_was_killed_is_ended_by_the_next_run_as_on_a_fresh_root(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the old rows were deleted; meanwhile one file was rewritten and another one is gone."""
    talk = write_conversations(tmp_path / "talk.jsonl", [[f"Summarise this. {prose('rice', 4)}", "In short: rice."]])
    changing = write_documents(tmp_path / "docs-a.jsonl", [prose("rice", 10), prose("tides", 10)])
    going = write_documents(tmp_path / "docs-b.jsonl", [prose("moss", 10)])
    given = [
        f"inputs.conversations=['{talk}']",
        f"inputs.documents=['{tmp_path}/docs-*.jsonl']",
        "filter={min_document_tokens: 50, max_pair_document_tokens: 300, max_document_tokens: 600}",
    ]
    root = str(tmp_path / "root")
    first = make_runner(spark, root, given)
    run_stages(first, "conversations", *HERE)
    talked = {key for key, row in content(first.tables, "sources").items() if row["record_table"] == "conversations"}
    assert talked
    write_documents(changing, [prose("basalt", 10)])
    os.utime(changing, (2_000_000_000, 2_000_000_000))
    going.unlink()
    files = find_inputs(first.settings.inputs)

    dying = make_runner(spark, root, given, "run-2")

    def die(name: str, *_: object) -> int:
        raise RuntimeError(f"killed before {name} was emptied")

    monkeypatch.setattr(dying.tables, "delete", die)
    with pytest.raises(RuntimeError, match="before documents was emptied"):
        restart(dying, STAGES, ["documents"], files)

    after = make_runner(spark, root, given, "run-3")
    assert {"documents", "long_documents"} <= set(after.history.to_empty)
    restart(after, STAGES, [], files)  # nothing is asked for: what was begun is ended
    assert content(after.tables, "sources").keys() == talked, "conversations keep their sightings"
    assert any("docs-b.jsonl: no longer among the inputs" in warning for warning in after.summary.warnings)
    run_stages(after, *HERE)

    last = make_runner(spark, root, given, "run-4")
    assert not last.history.to_empty
    assert (last.history.epoch("documents"), last.history.epoch("conversations")) == (1, 0)
    fresh = make_runner(spark, str(tmp_path / "fresh"), given)
    run_stages(fresh, *HERE)
    assert_same_tables(last.tables, fresh.tables, (*HERE, "source_files"))
    seen = [key for key in content(last.tables, "sources") if key not in talked]
    assert sorted(seen) == sorted(content(fresh.tables, "sources"))


class Remembered:
    """A history in which every stage ran under the same settings."""

    to_empty: tuple[str, ...] = ()

    def __init__(self, settings: Settings) -> None:
        self._made_from = {one.name: recipe(one, settings) for one in STAGES}

    def last(self, stage: str) -> Execution:
        made_from = self._made_from[stage]
        return Execution(stage, 0, identity(made_from), made_from, {}, 0, "done")


def test_a_changed_setting_is_refused_with_the_restarts_that_cover_it() -> None:
    then = Settings()
    now = then.model_copy(update={"filter": then.filter.model_copy(update={"min_document_tokens": 60})})
    history = Remembered(then)

    def require(*starts: str) -> None:
        require_recipes(STAGES, now, None, history, starts)  # type: ignore[arg-type]

    with pytest.raises(
        RecipeChanged,
        match=r"long_documents: filter.min_document_tokens: 2000 → 60\n"
        r"Put the settings back, or run with --recompute long_conversations,long_documents \(",
    ):
        require()
    with pytest.raises(RecipeChanged, match=r"--recompute conversations,long_documents \("):
        require("conversations")
    require("long_conversations", "long_documents")
    history.to_empty = ("long_conversations", "long_documents")
    require()  # their old rows are on their way out


def test_labels_are_not_asked_for_again_where_no_classifier_learns_from_them() -> None:
    tables = MagicMock()
    tables.read.return_value.isEmpty.return_value = False
    with pytest.raises(SettingsFault, match="the classifier is trained and learns no more; add --refit classifier"):
        require_retriable(STAGES, tables, "document_labels", ["canonical_values"])
    require_retriable(STAGES, tables, "document_labels", ["classifier"])
    require_retriable(STAGES, tables, "document_labels", ["documents"])  # the classifier starts again with them
    require_retriable(STAGES, tables, "samples", [])
    tables.read.return_value.isEmpty.return_value = True
    require_retriable(STAGES, tables, "document_labels", [])


def test_settings_may_change_until_they_have_made_rows() -> None:
    """Nothing is fitted yet, for want of conversations say: another k is no change of anything."""

    class Empty:
        def exists(self, name: str) -> bool:
            return False

    history = Remembered(Settings())
    known = history.last
    history.last = lambda stage: None if stage in behind(STAGES, "document_types") else known(stage)  # type: ignore
    now = Settings.model_validate({"types": {"k": 3}})
    require_recipes(STAGES, now, Empty(), history, [])  # type: ignore[arg-type]


class Typed:
    """Tables in which every stage has rows, the vectors made by `encoder`."""

    def __init__(self, encoder: str) -> None:
        self._encoder = encoder

    def exists(self, name: str) -> bool:
        return True

    def read(self, name: str) -> Typed:
        return self

    def select(self, column: str) -> Typed:
        return self

    def first(self) -> dict[str, str]:
        return {"embedder": self._encoder}


def test_vectors_of_two_encoders_under_one_name_are_not_mixed(tmp_path: Path) -> None:
    """The folder is written over: the settings say the same, the vectors would be of another space."""
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    settings = Settings.model_validate({"embedder": {"name": str(folder)}})
    history, stored = Remembered(settings), Typed(embedder_identity(settings.embedder))
    typing = [stage for stage in STAGES if stage.name == "conversation_types"]

    def require(*starts: str, running: Sequence[Stage] = typing) -> None:
        require_recipes(STAGES, settings, stored, history, starts, running)  # type: ignore[arg-type]

    require()
    folder = folder.rename(tmp_path / "moved")
    settings = Settings.model_validate({"embedder": {"name": str(folder)}})
    history = Remembered(settings)
    require()  # the same content elsewhere
    (folder / "model.safetensors").write_bytes(b"other weights, trained on")
    with pytest.raises(RecipeChanged, match=r"document_types: files of embedder\.name: encoder@local:\w+ → moved@local:"
                       r"\w+\n[\s\S]*--recompute document_types,document_features \(") as caught:  # fmt: skip
        require()
    covered = str(caught.value).partition("--recompute ")[2].split()[0].split(",")
    require(*covered)
    with pytest.raises(RecipeChanged, match="document_features: files of"):
        require("document_types")
    stored = Typed("")
    require()  # types of other making, which do not tell
    stored = Typed("encoder@local:other")
    require(running=[stage for stage in STAGES if stage.name == "samples"])  # embeds nothing: no model is needed


@pytest.mark.spark
def test_rows_of_a_run_that_died_are_not_mixed_with_others(spark: SparkSession, root: str) -> None:
    """It noted nothing of its stages; the recipe on its rows is enough."""
    runner = make_runner(spark, root)
    stage = next(one for one in STAGES if one.name == "typed_documents")
    columns = "id string, parent_ids array<string>, reject_reason string, document string, document_type string"
    frame = spark.createDataFrame([("x", [], None, "d", "news")], columns)
    frame = frame.selectExpr("*", "1D AS probability", "'v' AS classifier_version")
    made = {"run_id": "run-1", "recipe": identity(recipe(stage, runner.settings))}
    runner.tables.append(runner.tables.conform(frame, "typed_documents", made), "typed_documents", {})

    def require() -> None:
        require_recipes(STAGES, runner.settings, runner.tables, runner.history, [])

    require()
    made["recipe"] = "of other settings"
    runner.tables.append(runner.tables.conform(frame, "typed_documents", made), "typed_documents", {})
    with pytest.raises(RecipeChanged, match=r"typed_documents: an interrupted run[\s\S]*--recompute typed_documents "):
        require()


@pytest.mark.faults
@pytest.mark.spark
def test_a_stream_starts_where_a_kill_left_half_an_offset(spark: SparkSession, tmp_path: Path) -> None:
    """Offsets are written beside their name and renamed; a SIGKILL between the two leaves the unfinished file."""
    documents = write_documents(tmp_path / "docs.jsonl", [prose("moss", 10)])
    talk = write_conversations(tmp_path / "talk.jsonl", [["Summarise this.", "In short: rice."]])
    given = [f"inputs.documents=['{documents}']", f"inputs.conversations=['{talk}']"]
    runner = make_runner(spark, str(tmp_path / "root"), given)
    run_stages(runner, "documents")
    offsets = tmp_path / "root" / "_checkpoints" / "long_documents" / "0" / "offsets"
    offsets.mkdir(parents=True)
    (offsets / ".0.5f0c3d1e-0000-4000-8000-000000000000.tmp").write_bytes(b"v1\n")
    run_stages(runner, "long_documents")
    assert len(content(runner.tables, "long_documents")) == 1


@pytest.mark.spark
@pytest.mark.faults
def test_rejected_calls_are_made_again_when_asked_for(spark: SparkSession, root: str, tmp_path: Path) -> None:
    turns = [[f"Summarise this. {prose(topic, 12)}", f"In short: {prose(topic, 2)}"] for topic in ("rice", "tides")]
    talk = write_conversations(tmp_path / "talk.jsonl", turns)
    documents = write_documents(tmp_path / "docs.jsonl", [prose("moss", 10)])
    stages = ("conversations", "long_conversations", "meta_records")
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        given = [
            f"inputs.conversations=['{talk}']", f"inputs.documents=['{documents}']",
            "filter.min_conversation_tokens=50", "llm.teacher=openai", "llm.model=fake", "llm.api_key_env=FAKE_KEY",
            f"llm.base_url={server.base_url}",
        ]  # fmt: skip
        server.change(faults={"content_filter": 1.0})
        first = run_stages(make_runner(spark, root, given), *stages)
        assert first.stages["meta_records"].rejected == 2
        server.change(faults={})
        idle = make_runner(spark, root, given, "run-2")
        assert run_stages(idle, *stages).stages["meta_records"].state == "unchanged", "failures are served as failures"

        again = make_runner(spark, root, given, "run-3")
        beside = again.tables.read("llm_calls").limit(1).selectExpr("* EXCEPT (id, key)", "'i' AS id", "'k' AS key")
        again.tables.append(again.tables.conform(beside, "llm_calls", {}), "llm_calls", {})  # no row waits for it
        retry_rejected(again, "meta_records")
        failed = again.tables.read("llm_calls").where("status = 'lasting'").collect()
        assert [call["id"] for call in failed] == ["i"], "failures beside those of the rows stay"
        tally = run_stages(again, *stages).stages["meta_records"]
        assert (tally.rows_in, tally.kept, tally.calls) == (2, 2, 2), tally
        assert len(content(again.tables, "meta_records")) == 2
        last = make_runner(spark, root, given, "run-4")
        assert run_stages(last, *stages).stages["meta_records"].state == "unchanged"


@pytest.mark.spark
def test_no_document_comes_into_a_second_sample_by_a_retry(spark: SparkSession, root: str) -> None:
    """Meanwhile documents of rejected samples were drawn again: documents are drawn without replacement per setting."""
    runner = make_runner(spark, root)
    pairings = {  # setting, documents, draw, and what became of its sample
        "free": ("single", ["d1"], 1, "llm:refusal"),
        "accepted-since": ("single", ["d2"], 1, "llm:refusal"),
        "accepted": ("single", ["d2"], 2, None),
        "open-since": ("single", ["d3"], 1, "llm:bad_json"),
        "open": ("single", ["d3"], 2, "waits"),
        "first": ("single", ["d4"], 1, "llm:refusal"),
        "second": ("single", ["d4"], 2, "llm:refusal"),
        "unlike-later": ("single", ["d5"], 1, "llm:refusal"),
        "later": ("single", ["d5"], 2, "ungrounded"),
        "elsewhere": ("multi", ["d2", "d3"], 1, "llm:refusal"),
        "pair": ("multi", ["d6", "d7"], 1, "llm:refusal"),
        "pair-accepted": ("multi", ["d7", "d8"], 2, None),
    }
    paired = [
        {"id": key, "parent_ids": [], "setting": setting, "documents": documents, "draw": draw}
        for key, (setting, documents, draw, _) in pairings.items()
    ]
    made = [
        {"id": f"s-{key}", "parent_ids": [key], "pairing": key, "setting": setting, "reject_reason": reason}
        for key, (setting, _, _, reason) in pairings.items()
        if reason != "waits"
    ]
    calls = [
        {"id": f"c-{row['pairing']}", "key": row["pairing"], "status": "lasting" if row["reject_reason"] else "ok"}
        for row in made
    ]
    for row in made:
        row["call_id"] = f"c-{row['pairing']}"
    for name, stored in (("pairings", paired), ("samples", made), ("llm_calls", calls)):
        wanted = sql.columns(name)
        whole = [{column: row.get(column) for column in wanted.names} for row in stored]
        runner.tables.append(spark.createDataFrame(whole, wanted), name, {})

    retry_rejected(runner, "samples")
    again = {"free", "first", "unlike-later", "elsewhere"}
    assert {row["input_id"] for row in runner.history.open_deferrals("samples").collect()} == again
    assert {row["pairing"] for row in rows(runner, "samples")} == pairings.keys() - again - {"open"}
    assert {row["key"] for row in rows(runner, "llm_calls")} == pairings.keys() - again - {"open"}, "theirs are kept"
    (warning,) = runner.summary.warnings
    assert warning.startswith("--retry-rejected samples: 4 left out")
    version = runner.tables.version("samples")
    retry_rejected(runner, "samples")
    assert runner.tables.version("samples") == version, "those that are left out stay as they are"
