"""What is fitted once waits, once, for the calls ahead of it that failed for now."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
from pyspark.sql import SparkSession

from jobs.runtime.errors import AnswersWaiting, BatchesOutstanding, Interrupted, LongloomError
from jobs.runtime.runner import Runner
from jobs.runtime.settings import Settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.roots import BY_NAME, make_runner

AHEAD = {"document_types": {"meta_records"}, "classifier": {"meta_records", "document_types", "document_labels"}}


def fails(runner: Runner, stage: str, number: int, **reasons: str | None) -> None:
    """Rows of a stage that wait after its pass of this number, and why; None for one that waits no more."""
    rows = runner.spark.createDataFrame(list(reasons.items()), "input_id string, reason string")
    runner.history.defer(stage, rows, number)


def fits(runner: Runner, stage: str) -> bool:
    """Whether the stage would be fitted now."""
    try:
        runner._require_all_collected(BY_NAME[stage])
    except AnswersWaiting as waits:
        assert waits.exit_status == 4 and f"{stage} is fitted once" in str(waits)
        return False
    return True


@pytest.mark.spark
def test_a_fit_waits_once_for_calls_that_failed(spark: SparkSession, root: str) -> None:
    runner = make_runner(spark, root, [])
    runner.ahead = AHEAD.__getitem__
    assert fits(runner, "document_types")
    fails(runner, "meta_records", 0, a="llm:rate_limited", b="llm:timeout")
    assert not fits(runner, "document_types")
    assert fits(runner, "classifier"), "it reads none of these rows"
    fails(runner, "meta_records", 1, a=None, b="llm:timeout")
    assert fits(runner, "document_types"), "one was answered, the other failed a second time"
    fails(runner, "document_labels", 0, c="waiting:documents")
    assert fits(runner, "classifier"), "no call of that row failed"
    fails(runner, "document_labels", 1, d="llm:server_error")
    assert not fits(runner, "classifier")


@pytest.mark.parametrize("waits", [AnswersWaiting, BatchesOutstanding])
def test_a_pass_that_waits_ends_a_run_but_not_one_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waits: type[LongloomError]
) -> None:
    passes, stop = MagicMock(side_effect=[waits("it waits; run again"), None]), MagicMock()
    stop.wait.side_effect = [None, Interrupted(15)]
    monkeypatch.setattr(Synthesis, "_pass", passes)
    monkeypatch.setattr(Synthesis, "_locations", lambda *_: {})
    for continuous, ends, made in ((None, waits, 1), (1.0, Interrupted, 3)):
        passes.side_effect = [waits("it waits; run again"), None]
        job = Synthesis(MagicMock(), Settings(), STAGES, Choices(continuous=continuous))
        with pytest.raises(ends):
            job._passes(MagicMock(), MagicMock(), stop)
        assert passes.call_count == made
    assert "it waits; run again (the next pass does)" in capsys.readouterr().out
