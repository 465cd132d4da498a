"""The stage contract: a stage's signature is its lineage."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path

import pytest
from pyspark.sql import DataFrame

import sql
from jobs.runtime.errors import LongloomError
from jobs.runtime.order import ahead, behind, fewest_starts
from jobs.runtime.recipes import differences, identity, recipe
from jobs.runtime.settings import Settings
from jobs.runtime.stage import AllRows, Fitted, Stage, all_rows_parameters, fitted_parameters, stage
from jobs.stages import JOBS, SCORING, STAGES
from udfs.settings import FilterSettings, LlmSettings

QUERIES = {"training_set": ("training_candidates", "influence_scores")}  # that a stage runs beside its own
RECORDED = Path(__file__).with_name("stage_revisions.json")


@stage(streams="words", counts="inputs")
def counts(words: DataFrame, known: Fitted, seen: AllRows, previous: DataFrame, *, filter: FilterSettings) -> DataFrame:
    return words


def test_signature_is_read() -> None:
    assert counts.name == "counts"
    assert (counts.mode, counts.driving) == ("streams", "words")
    assert counts.tables == ("words", "known", "seen")
    assert counts.sections == ("filter",)
    assert fitted_parameters(counts.function) == {"known"}
    assert all_rows_parameters(counts.function) == {"seen"}


def test_one_mode_only() -> None:
    with pytest.raises(TypeError, match="exactly one mode"):
        stage(streams="a", replaces=True)
    with pytest.raises(TypeError, match="exactly one mode"):
        stage()


def test_every_stage_has_its_table_and_inputs() -> None:
    stored = set(sql.tables())
    for one in {*STAGES, *SCORING}:
        assert {one.name, *one.also, *one.tables} <= stored, one.name
        assert one.driving is None or one.driving in one.tables, one.name


@pytest.mark.parametrize("stages", JOBS)
def test_stages_come_after_what_they_read(stages: tuple[Stage, ...]) -> None:
    written = {"source_files", "sources"}
    for one in stages:
        late = {name for name in one.tables if name not in written} - {"samples"}  # pairings see rejected samples
        assert not late, f"{one.name} reads {late} before they are written"
        written |= {one.name, *one.also}


def test_behind_follows_tables_through_any_number_of_steps() -> None:
    again = behind(STAGES, "document_types")
    assert again[0] == "document_types"
    assert {"conversation_types", "nodes", "walks", "samples", "training_set", "classifier"} <= set(again)
    assert "long_documents" not in again
    assert "meta_records" not in again
    with pytest.raises(LongloomError, match="there is no stage 'nonsense'"):
        behind(STAGES, "nonsense")


def test_behind_several_starts_is_behind_each() -> None:
    both = behind(STAGES, "conversations", "documents")
    assert both == [one.name for one in STAGES], "every record comes from one of the two"
    assert behind(STAGES) == []
    feeding = ahead(STAGES, "classifier")
    assert {"document_labels", "document_features", "meta_records", "long_documents"} <= feeding
    assert not feeding & {"task_rewrites", "canonical_values", "classifier", "typed_documents"}


def test_the_fewest_starts_cover_everything_that_changed() -> None:
    assert fewest_starts(STAGES, ["long_documents", "long_conversations"]) == ["long_conversations", "long_documents"]
    assert fewest_starts(STAGES, ["walks", "nodes", "samples"]) == ["nodes"]
    assert fewest_starts(STAGES, []) == []


def test_shared_tables_tell_whose_a_row_is() -> None:
    shared = {table for one in STAGES for table in one.also}
    assert shared == {"sources"}
    assert all("record_table" in (Path(sql.__file__).with_name(table) / "columns.sql").read_text() for table in shared)


def test_recipe_leaves_out_what_makes_no_row() -> None:
    walks = next(one for one in STAGES if one.name == "walks")
    plain = Settings()
    more = plain.model_copy(update={"walks": plain.walks.model_copy(update={"max_candidates_per_target": 3})})
    other = plain.model_copy(update={"walks": plain.walks.model_copy(update={"edge_weight": "sublinear"})})
    assert identity(recipe(walks, plain)) == identity(recipe(walks, more))
    assert identity(recipe(walks, plain)) != identity(recipe(walks, other))
    told = list(differences(recipe(walks, plain), recipe(walks, other)))
    assert told == ["walks.edge_weight: 'paper' → 'sublinear'"]


def test_recipe_leaves_out_how_requests_are_sent() -> None:
    samples = next(one for one in STAGES if one.name == "samples")
    sent = {name for name in LlmSettings.model_fields if name.startswith("batch_")}
    changes = dict.fromkeys(sent, 7) | {"budget_usd": 1.0, "concurrency": 2}
    plain, other = Settings(), Settings(llm=LlmSettings.model_validate(changes))
    assert "batch_tokens" in sent and recipe(samples, plain) == recipe(samples, other)
    warmer = Settings(llm=LlmSettings(temperature=0.1))
    assert recipe(samples, plain) != recipe(samples, warmer)


def test_a_changed_stage_changes_its_revision() -> None:
    """The source of a stage is part of what made its rows: changing it must raise `revision`.

    After a change that alters rows, raise the stage's revision; then paste what this test prints.
    """
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    now = {one.name: [one.revision, _source_hash(one)] for one in STAGES}
    now |= {f"score.{one.name}": [one.revision, _source_hash(one)] for one in SCORING if one not in STAGES}
    changed = {name: value for name, value in now.items() if recorded.get(name) != value}
    assert not changed, (
        f"these stages changed: {sorted(changed)}. If their rows change, raise `revision`; "
        f"then put this into {RECORDED.name}: {json.dumps(changed)}"
    )


def _source_hash(one: object) -> str:
    functions = [f for f in (one.ask, one.function) if f is not None]  # type: ignore[attr-defined]
    texts = [inspect.getsource(function) for function in functions]
    for name in (one.name, *QUERIES.get(one.name, ())):  # type: ignore[attr-defined]
        query = Path(sql.__file__).with_name(name) / "query.sql"
        if query.is_file():
            texts.append(query.read_text(encoding="utf-8"))
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
