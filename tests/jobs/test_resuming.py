"""A stream whose table rested for longer than its log is kept goes on, and reads every row once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.errors import GateStop
from tests.aging import grow_older
from tests.roots import make_runner, prose, rows, run_stages, write_documents

pytestmark = [pytest.mark.spark, pytest.mark.faults]
LOG_IS_KEPT_H = 30 * 24


def kept_up(spark: SparkSession, root: str, given: list[str]) -> int:
    """Two months of commits that bring no row, as maintenance makes them; returns the version before them."""
    before = make_runner(spark, root, given).tables.version("documents")
    for month in range(2):
        runner = make_runner(spark, root, given, f"maintain-{month}")
        versions = {table: runner.tables.version(table) for table in ("documents", "long_documents")}
        for night in range(12):
            runner.spark.sql(f"ALTER TABLE {runner.tables.sql_name('documents')} SET TBLPROPERTIES ('n' = '{night}')")
        after = {table: runner.tables.refresh(table) for table in versions}
        runner.history.carry(["documents", "long_documents"], versions, after)
        runner.history.flush()
        if month == 0:
            grow_older(spark, root, LOG_IS_KEPT_H + 48)
    return before


def oldest(root: str, name: str) -> int:
    return min(int(path.stem) for path in (Path(root) / name / "_delta_log").glob("*.json") if path.stem.isdigit())


def test_a_stream_that_rested_goes_on(spark: SparkSession, root: str, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    given = [f"inputs.documents=['{docs}/*']", f"inputs.conversations=['{docs}/*']", "filter.min_document_tokens=50"]
    both = ("documents", "long_documents")
    for run, topic in enumerate(("rice", "tides", "moss"), 1):
        write_documents(docs / f"{topic}.jsonl", [prose(topic, 10)])
        told = run_stages(make_runner(spark, root, given, f"run-{run}"), *both)
        assert [told.stages[name].kept for name in both] == [1, 1]
        if topic == "moss":
            break
        read = kept_up(spark, root, given)
        assert oldest(root, "documents") > read + 1, "Delta has dropped what the stream's checkpoint names"
        unchanged = run_stages(make_runner(spark, root, given, f"still-{run}"), *both)
        assert {tally.state for tally in unchanged.stages.values()} == {"unchanged"}
    runner = make_runner(spark, root, given, "run-4")
    assert len(rows(runner, "long_documents")) == 3 == len({row["id"] for row in rows(runner, "long_documents")})
    begun = sorted(path.name for path in (Path(root) / "_checkpoints" / "long_documents").iterdir())
    assert begun[0] == "0" and all(name.startswith("0-from-") for name in begun[1:]) and len(begun) == 3

    write_documents(docs / "basalt.jsonl", [prose("basalt", 10)])
    assert run_stages(runner, *both).stages["long_documents"].kept == 1
    assert len(list((Path(root) / "_checkpoints" / "long_documents").iterdir())) == 3, "at the latest place, as ever"


def test_rows_that_nobody_read_are_not_passed_over(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """A stage that was not run while the log went on: what it lacks cannot be told from what it has read."""
    docs = tmp_path / "docs"
    docs.mkdir()
    given = [f"inputs.documents=['{docs}/*']", f"inputs.conversations=['{docs}/*']", "filter.min_document_tokens=50"]
    write_documents(docs / "rice.jsonl", [prose("rice", 10)])
    run_stages(make_runner(spark, root, given), "documents", "long_documents")
    write_documents(docs / "tides.jsonl", [prose("tides", 10)])
    run_stages(make_runner(spark, root, given, "run-2"), "documents")
    kept_up(spark, root, given)
    with pytest.raises(GateStop, match="--recompute long_documents"):
        run_stages(make_runner(spark, root, given, "run-3"), "long_documents")


def test_a_batch_that_was_cut_off_is_not_read_under_another_name(
    spark: SparkSession, root: str, tmp_path: Path
) -> None:
    """Its rows may be written: under its own name they would not come twice."""
    docs = tmp_path / "docs"
    docs.mkdir()
    given = [f"inputs.documents=['{docs}/*']", f"inputs.conversations=['{docs}/*']", "filter.min_document_tokens=50"]
    write_documents(docs / "rice.jsonl", [prose("rice", 10)])
    run_stages(make_runner(spark, root, given), "documents", "long_documents")
    kept_up(spark, root, given)
    write_documents(docs / "tides.jsonl", [prose("tides", 10)])
    run_stages(make_runner(spark, root, given, "run-2"), "documents")
    (Path(root) / "_checkpoints" / "long_documents" / "0" / "commits" / "0").unlink()
    with pytest.raises(GateStop, match="--recompute long_documents"):
        run_stages(make_runner(spark, root, given, "run-3"), "long_documents")
