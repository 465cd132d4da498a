"""The warm-up says so where Spark computes wrongly, however Python was told to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from jobs.runtime import warmup


@pytest.fixture
def spark(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A session that answers what `computes` has it answer."""
    session = MagicMock()
    monkeypatch.setattr("jobs.runtime.session.build_session", lambda name: session)
    monkeypatch.setattr("jobs.runtime.plan_mode.suit_plans", MagicMock())
    monkeypatch.setattr("delta.tables.DeltaTable", MagicMock())
    monkeypatch.setattr("pyspark.sql.functions", MagicMock())  # columns need a JVM
    return session


def computes(session: MagicMock, groups: int, total: tuple[int, ...] | None) -> None:
    """Have the session count so many groups, and find this sum in what was written."""
    session.range.return_value.groupBy.return_value.count.return_value.count.return_value = groups
    session.read.format.return_value.load.return_value.agg.return_value.first.return_value = total


def exercise(optimize: int) -> Callable[[], None]:
    """The exercise as Python compiles it, with `assert` or, under PYTHONOPTIMIZE, without."""
    source = Path(warmup.__file__)
    code = compile(source.read_text(encoding="utf-8"), str(source), "exec", optimize=optimize)
    made: dict[str, Any] = {"__name__": "warmup"}
    exec(code, made)
    found: Callable[[], None] = made["exercise"]
    return found


@pytest.mark.parametrize("optimize", [0, 2])
@pytest.mark.parametrize(
    ("groups", "total", "told"),
    [
        (1, (20,), "even and odd numbers are 1 groups"),
        (2, (19,), r"\(19,\) is not their sum"),
        (2, None, "None is not their sum"),
    ],
)
def test_wrong_results_are_told(
    spark: MagicMock, optimize: int, groups: int, total: tuple[int, ...] | None, told: str
) -> None:
    computes(spark, groups, total)
    with pytest.raises(RuntimeError, match=told):
        exercise(optimize)()


@pytest.mark.parametrize("optimize", [0, 2])
def test_every_query_runs_however_python_was_told_to(spark: MagicMock, optimize: int) -> None:
    computes(spark, 2, (20,))
    exercise(optimize)()
    spark.range.return_value.groupBy.return_value.count.return_value.count.assert_called_once_with()
    spark.read.format.return_value.load.return_value.agg.return_value.first.assert_called_once_with()
    spark.stop.assert_called_once_with()
