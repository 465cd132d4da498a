"""The whole job, with accepted samples forgotten: they go with their walks, others take their place, they stay away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.explain import explain
from jobs.runtime import ledger
from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import forget
from jobs.runtime.opening import opened
from jobs.runtime.settings import load_settings
from jobs.runtime.tombstones import REASON
from jobs.stages import STAGES
from tests.equality import content, tables_at
from tests.reporting import write_report
from tests.small_corpus import fitting, small_corpus, synthesize
from udfs.llm.spool import list_segments

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.faults]
GENERATED = ("walks", "instructions", "pairings", "samples", "influence", "training_set")
TARGETS = {"single": 6, "multi": 3}
Rows = dict[str, dict[str, Any]]


def generated(spark: SparkSession, root: Path) -> dict[str, Rows]:
    """The rows of every generated table by their ids."""
    tables = tables_at(spark, root)
    return {name: {row["id"]: row.asDict(recursive=True) for row in tables.read(name).collect()} for name in GENERATED}


def family(made: dict[str, Rows], walks: set[str]) -> dict[str, set[str]]:
    """Ids of the walks and of all that was made from them, by table."""
    mine = {"walks": walks}
    for name, column in (("instructions", "walk"), ("pairings", "walk"), ("samples", "walk_id")):
        mine[name] = {key for key, row in made[name].items() if row[column] in walks}
    for name in ("influence", "training_set"):
        mine[name] = {key for key, row in made[name].items() if row["sample"] in mine["samples"]}
    return mine


def accepted(made: dict[str, Rows], setting: str) -> list[dict[str, Any]]:
    """Accepted samples of a setting, those of the first walks first."""
    rows = [row for row in made["samples"].values() if row["setting"] == setting and row["reject_reason"] is None]
    return sorted(rows, key=lambda row: (row["walk_index"], row["document_type"]))


def targets_are_met(made: dict[str, Rows]) -> bool:
    return all(len(accepted(made, setting)) >= target for setting, target in TARGETS.items())


def graph(spark: SparkSession, root: Path) -> dict[str, tuple[int, Rows]]:
    """Version and rows of the tables that walks are drawn over."""
    tables = tables_at(spark, root)
    return {name: (tables.version(name), content(tables, name)) for name in ("nodes", "edges", "seed_paths")}


@pytest.mark.timeout(2400)
def test_accepted_samples_go_with_their_walks_and_stay_away(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = small_corpus(tmp_path / "whole")
    corpus.write_conversations(tmp_path / "conversations-1.parquet")
    corpus.write_documents(tmp_path / "documents-1.jsonl.zst")
    given = fitting(tmp_path, "selection.by=influence", "influence.max_tokens=512")
    root = tmp_path / "root"
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "remove_segments", lambda segments: None)  # as a run that was killed before it
        assert synthesize(spark, root, given)[0] == 0
    made, before = generated(spark, root), graph(spark, root)
    spare = {setting: len(accepted(made, setting)) - target for setting, target in TARGETS.items()}
    setting = min(spare, key=lambda name: spare[name])
    first, chosen = 1 + spare[setting], accepted(made, setting)  # one more than the target can spare
    sample, ids = chosen[0], [row["id"] for row in chosen[:first]]
    mine = family(made, {row["walk_id"] for row in chosen[:first]})
    assert all(mine.values()), mine
    settings = load_settings(None, given, str(root))
    logged = write_report(tables_at(spark, root), settings)
    assert logged.is_file() and (root / "report.html").is_file()
    assert list_segments(f"{root}/_spool")

    with opened(spark, settings, print) as runner:
        outcome = forget(runner, STAGES, [], ids)
    after = generated(spark, root)
    again = outcome.again["instructions"]
    for name in GENERATED:
        went = made[name].keys() - after[name].keys()
        assert mine[name] <= went and outcome.removed[name] == len(went), name
        assert len(went - mine[name]) == (again if name == "instructions" else 0), name
        assert not after[name].keys() - made[name].keys()
    assert graph(spark, root) == before
    assert not logged.exists() and not (root / "report.html").exists()
    assert not list_segments(f"{root}/_spool")
    with pytest.raises(SettingsFault, match=r"was forgotten on .* in run"):
        explain(tables_at(spark, root), sample["id"])

    # Others take their place; nothing but the rounds and what is behind them has anything to do.
    status, summary = synthesize(spark, root, given)
    assert status == 0, summary["warnings"]
    topped = generated(spark, root)
    assert {name: told["accepted"] for name, told in summary["targets"].items()} == TARGETS
    assert not targets_are_met(after) and targets_are_met(topped)
    assert topped["samples"].keys() > after["samples"].keys() and not topped["samples"].keys() & set(ids)
    assert graph(spark, root) == before
    status, summary = synthesize(spark, root, given)
    assert status == 0 and {stage["state"] for stage in summary["stages"]} <= {"unchanged", "frozen"}, summary

    # Drawn anew from the first walk on, the first comes back as an empty row; the old rows are in the Delta history.
    versions = {name: tables_at(spark, root).version(name) for name in GENERATED}
    status, summary = synthesize(spark, root, given, recompute=("walks",))
    assert status == 0, summary["warnings"]
    fresh, tables = generated(spark, root), tables_at(spark, root)
    back = fresh["walks"][sample["walk_id"]]
    assert back["reject_reason"] == REASON and back["walk_index"] == sample["walk_index"] and back["nodes"] is None
    assert not mine["instructions"] & fresh["instructions"].keys() and not fresh["samples"].keys() & set(ids)
    assert targets_are_met(fresh)
    for name, version in versions.items():
        assert fresh[name] != topped[name] and tables.version(name) > version, name
        held = tables.read(name, version=version).collect()
        assert {row["id"]: row.asDict(recursive=True) for row in held} == topped[name], name
