"""The analysis notebook: in Databricks' source format, and run headless over a small root."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.runtime.checkout import CHECKOUT
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import Tables
from sql.questions import questions
from tests.sql.small_root import ROWS

NOTEBOOK = CHECKOUT / "infra" / "notebooks" / "analysis.py"


def test_it_is_a_notebook_in_source_format() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text.startswith("# Databricks notebook source\n")
    cells = text.split("# COMMAND ----------\n")
    assert len(cells) >= 4 and all(cell.strip() for cell in cells)
    compile(text, str(NOTEBOOK), "exec")


@pytest.mark.spark
@pytest.mark.cluster
def test_it_runs_headless(spark: SparkSession, root: str, tmp_path: Path) -> None:
    tables = Tables(spark, StorageSettings(root=root))
    for name, rows in ROWS.items():
        tables.append(spark.createDataFrame(rows, sql.columns(name)).coalesce(1), name, {})
    out = tmp_path / "report.html"
    told = {"LONGLOOM_ROOT": root, "LONGLOOM_REPORT": str(out), "PYTHONPATH": str(CHECKOUT)}
    ran = subprocess.run(
        [sys.executable, str(NOTEBOOK)],
        env=os.environ | told,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3_000:]
    assert f"[{next(iter(questions()))}]" in ran.stdout and "near_duplicate" in ran.stdout
    assert "3 training rows for long contexts" in out.read_text(encoding="utf-8")
