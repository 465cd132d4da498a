"""A root whose tables lack the columns that came later: every job works on it, and its old rows have nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.explain import explain
from jobs.runtime.exporting import FORMATS, write
from jobs.runtime.forgetting import forget
from jobs.runtime.layout import layout_of
from jobs.runtime.maintenance import maintain
from jobs.runtime.opening import opened
from jobs.runtime.settings import load_settings
from jobs.runtime.tables import LAYOUT, Tables
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.small_corpus import fitting, small_corpus, synthesize

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.faults]
# Columns that were added to the tables of layout 1.
LATER = {
    "samples": ("answerable_with", "answerable_without", "answerable_why", "answerable_call", "draw", "other_call"),
    "influence": ("number_type",),
    "training_set": ("measured_by", "number_type"),
}


def as_before(patch: pytest.MonkeyPatch) -> None:
    """Have tables written as programs did that did not know the later columns."""

    def without(method: str) -> None:
        save = getattr(Tables, method)

        def saved(self: Tables, frame: DataFrame, name: str, *rest: Any) -> int:
            return int(save(self, frame.drop(*LATER.get(name, ())), name, *rest))

        patch.setattr(Tables, method, saved)

    without("append")
    without("replace")


def looked_at(tables: Tables, sample: str, out: Path) -> None:
    """Explained up to the files, and exported: as many rows as were selected."""
    told = explain(tables, sample)
    assert told["levels"][0][0]["table"] == "samples"
    assert "source_files" in {one["table"] for one in told["levels"][-1]}
    count = tables.kept("training_set").count()
    assert write(tables, str(out), FORMATS) == dict.fromkeys(FORMATS, count) and count > 0


def chosen(tables: Tables) -> list[str]:
    return sorted(row["sample"] for row in tables.kept("training_set").select("sample").collect())


@pytest.mark.timeout(2400)
def test_later_columns_need_no_migration(spark: SparkSession, tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "whole")
    corpus.write_conversations(tmp_path / "conversations-1.parquet")
    corpus.write_documents(tmp_path / "documents-1.jsonl.zst")
    given = fitting(tmp_path, "selection.by=influence", "influence.max_tokens=512")
    root = tmp_path / "root"
    with pytest.MonkeyPatch.context() as patch:
        as_before(patch)
        assert synthesize(spark, root, given)[0] == 0
    old = tables_at(spark, root)
    for name, columns in LATER.items():
        assert set(columns) <= set(sql.columns(name).names)
        assert old.read(name).columns == [column for column in sql.columns(name).names if column not in columns]
    before = {name: {row["id"] for row in old.read(name).select("id").collect()} for name in LATER}
    first, *others = chosen(old)
    looked_at(old, first, tmp_path / "export-1")
    settings = load_settings(None, given, str(root))
    with opened(spark, settings, print) as runner:
        assert maintain(runner, STAGES, 168)["samples"] >= 1
        assert forget(runner, STAGES, [], [first]).removed["samples"] >= 1
    assert layout_of(tables_at(spark, root)) == LAYOUT, "it was of this layout all the time"

    # The job tops up: new rows have the new columns, those of before have nulls in them.
    given.append("targets={single: 10, multi: 4}")
    status, summary = synthesize(spark, root, given)
    assert status == 0, summary["warnings"]
    assert {name: told["accepted"] for name, told in summary["targets"].items()} == {"single": 10, "multi": 4}
    new = tables_at(spark, root)
    for name, columns in LATER.items():
        assert new.read(name).columns == sql.columns(name).names, name
        if name != "training_set":  # made anew as a whole
            kept = [row for row in new.read(name).collect() if row["id"] in before[name]]
            assert kept and all(row[column] is None for row in kept for column in columns), name
    fresh = [row for row in new.read("influence").collect() if row["id"] not in before["influence"]]
    assert fresh and all(row["number_type"] for row in fresh)
    added = next(row["id"] for row in new.kept("samples").collect() if row["id"] not in before["samples"])
    for number, sample in enumerate((others[0], added), start=2):
        looked_at(new, sample, tmp_path / f"export-{number}")
    with opened(spark, settings, print) as runner:
        assert forget(runner, STAGES, [], [others[0]]).removed["samples"] >= 1
    assert synthesize(spark, root, given)[0] == 0
    with opened(spark, settings, print) as runner:
        maintain(runner, STAGES, 0)
    status, summary = synthesize(spark, root, given)
    assert status == 0 and {stage["state"] for stage in summary["stages"]} <= {"unchanged", "frozen"}, summary
