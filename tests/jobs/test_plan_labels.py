"""Labels that are still wanted: as many by the plan as by the run, without Spark."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest

from jobs.runtime import planning
from jobs.runtime.planning import Planner
from jobs.runtime.rendered import Rendered
from jobs.runtime.settings import Settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.roots import BY_NAME


@pytest.mark.parametrize(
    ("asked", "kept", "wanted"),
    [
        (0, 0, 40),
        (40, 30, 10),  # what could not be had is asked for in its place
        (75, 30, 5),  # up to twice as many in all
        (80, 30, 0),
        (90, 30, 0),  # `classifier.labels` was lowered
        (40, 40, 0),
    ],
)
def test_plan_and_run_want_the_same_labels(monkeypatch: pytest.MonkeyPatch, asked: int, kept: int, wanted: int) -> None:
    settings = Settings.model_validate({"classifier": {"labels": 40}})
    runner, documents = MagicMock(settings=settings), MagicMock(scale=1.0)
    runner.tables.exists.return_value = False  # no classifier is trained yet
    runner.unchanged.return_value = True  # the number of labels is no part of the recipe
    runner.tables.read.return_value.limit.return_value.count.return_value = 0
    runner.tables.read.return_value.count.return_value = asked
    runner.tables.kept.return_value.count.return_value = kept
    told = [] if wanted == 0 else [[(wanted,)]]

    monkeypatch.setattr(planning, "standins", MagicMock())
    monkeypatch.setattr(Planner, "_documents", MagicMock())
    monkeypatch.setattr(Planner, "_rendered", MagicMock(return_value=Rendered()))
    Planner(runner, BY_NAME, MagicMock(), MagicMock(), documents)._labels()
    assert [call.args[0] for call in runner.spark.createDataFrame.call_args_list] == told

    spark = MagicMock()
    Synthesis(spark, settings, STAGES, Choices())._label(runner, BY_NAME["document_labels"])
    assert [call.args[0] for call in spark.createDataFrame.call_args_list] == told
    assert runner.history.let_go.called == (wanted == 0)
