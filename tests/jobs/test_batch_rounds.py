"""Rounds of batches against a server, without Spark: when they are sent again, what is told, when a run gives up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pyspark.sql import DataFrame

from jobs.runtime.batches import Batches
from jobs.runtime.costs import Cost
from jobs.runtime.errors import ServiceRefused
from tests.fake_server.client import FakeServer
from tests.udfs.llm.batch_support import EXPECTED
from tests.udfs.llm.support import request_rows, settings_for, spooled
from udfs.llm.batch.client import BatchClient
from udfs.llm.batch.writing import files_of
from udfs.llm.budget import Budget
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import Sending, jobs_of, rows_of
from udfs.settings import LlmSettings, TokenizerSettings

STAGE = "stage"


class Root:
    """What batches need of the tables of a root."""

    run_id = "run-1"

    def __init__(self, folder: Path) -> None:
        self.state = str(folder)

    def fence(self) -> None:
        """Nobody else is here."""


class Missing:
    """Requests that the ledger lacks, in the place of a frame."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def count(self) -> int:
        return len(self.texts)


class Rounds(Batches):
    """Batches of a few texts whose files are written in this process."""

    def __init__(self, folder: Path, llm: LlmSettings, texts: list[str], pause: Callable[[float], None]) -> None:
        self.said: list[str] = []
        self.paused: list[float] = []
        self._asked, self._llm, self._then = texts, llm, pause
        tables: Any = Root(folder)
        super().__init__(
            tables, TokenizerSettings(), Budget(0, 0.0), str(folder / "spool"), Cost, self.said.append, self._wait
        )

    def fulfilled(self) -> list[str]:
        """Run them to the end; what is missing then."""
        self.fulfil(STAGE, "type_label", self._llm, self.missing)
        return cast(Missing, self.missing()).texts

    def missing(self) -> DataFrame:
        keys = request_rows(self._asked, self._llm).column("key").to_pylist()
        known = {row["key"] for row in spooled(self._spool) if row["status"] == "ok"}
        left = [text for text, key in zip(self._asked, keys, strict=True) if key not in known]
        return cast(DataFrame, Missing(left))

    def not_outstanding(self, stage: str, pending: DataFrame) -> DataFrame:
        assert not self.outstanding(stage)
        return pending

    def _submit(self, stage: str, task: str, llm: LlmSettings, free: DataFrame) -> tuple[Cost, bool]:
        rows = request_rows(cast(Missing, free).texts, llm)
        sending = Sending(llm, self._spool, stage, "run-1", None, 8.0, RetryPolicy(), None, None)
        jobs = jobs_of(sending, rows_of(iter([rows])))
        self.work.intend(stage, llm, files_of(sending, self.work.store.folder, EXPECTED, jobs))
        return Cost(), False

    def _wait(self, seconds: float) -> None:
        self.paused.append(seconds)
        self._then(seconds)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(key=os.environ["FAKE_KEY"]) as running:
        yield running


def settings(server: FakeServer, **changes: Any) -> LlmSettings:
    prices = {"price_input": 20_000.0, "price_output": 80_000.0}  # dear, so that cents tell
    plain = {"teacher": "openai_batch", "api_key_env": "FAKE_KEY", "batch_poll_s": 30.0, "batch_wait_s": 3_600}
    return settings_for(server, **{**plain, **prices, **changes})


def test_a_refused_file_is_sent_again_after_a_while(tmp_path: Path, server: FakeServer) -> None:
    server.change(batch_refuses="token_limit_exceeded")
    rounds = Rounds(tmp_path, settings(server), ["a", "b"], lambda _: server.change(batch_refuses=None))
    assert rounds.fulfilled() == [] and rounds.paused == [30.0] and rounds.refused == {}
    assert [one["batch"]["status"] for one in server.batches()] == ["failed", "completed"]
    assert rounds.said[0].endswith(" failed: 0 answered; refused for the moment: token_limit_exceeded: refused")
    assert rounds.said[1] == "stage: what was refused is sent again in 30 s"


def test_what_is_refused_again_waits_for_the_next_run_and_says_why(tmp_path: Path, server: FakeServer) -> None:
    server.change(batch_refuses="token_limit_exceeded")
    rounds = Rounds(tmp_path, settings(server), ["a", "b"], lambda _: None)
    assert rounds.fulfilled() == ["a", "b"] and len(server.batches()) == 2
    assert rounds.paused == [30.0] and rounds.refused == {STAGE: "rate_limited"}
    hasty = Rounds(tmp_path, settings(server, batch_wait_s=0), ["a", "b"], lambda _: None)
    assert hasty.fulfilled() == ["a", "b"] and len(server.batches()) == 3 and hasty.paused == []


def test_while_batches_run_their_stage_tells_what_is_spent(tmp_path: Path, server: FakeServer) -> None:
    """Two files, of which the first ends at once; the second one when the run has looked at it once more."""
    server.change(batch_looks=-1)

    def look(_: float) -> None:
        server.change(batch_looks=2)

    class Uneven(Rounds):
        def _submit(self, stage: str, task: str, llm: LlmSettings, free: DataFrame) -> tuple[Cost, bool]:
            made = super()._submit(stage, task, llm, free)
            first, _ = self.outstanding(stage)
            server.change(batch_looks=1)
            self.work.look(first)
            server.change(batch_looks=-1)
            return made

    rounds = Uneven(tmp_path, settings(server, batch_requests=1), ["a", "b"], look)
    assert rounds.fulfilled() == []
    usage = server.requests()[0]["usage"]
    spent = (usage["prompt_tokens"] * 20_000 + usage["completion_tokens"] * 80_000) / 2 / 1e6
    assert spent > 0.1 and f"stage: 1 batches outstanding, 0 of 1 done, {spent:,.2f} USD spent" in rounds.said


def test_results_that_are_gone_end_the_run_with_what_to_do(tmp_path: Path, server: FakeServer) -> None:
    llm = settings(server, batch_wait_s=0)
    server.change(batch_looks=-1)
    assert Rounds(tmp_path, llm, ["a", "b"], lambda _: None).fulfilled() == ["a", "b"]
    server.change(batch_looks=1)
    later = Rounds(tmp_path, llm, ["a", "b"], lambda _: None)
    (intent,) = later.outstanding()
    output = later.work.look(intent).batch
    assert output is not None and output.output_file_id is not None
    BatchClient(intent.endpoint).delete_file(output.output_file_id)
    for _ in range(2):
        with pytest.raises(
            ServiceRefused, match=r"batch batch_0001 \(HTTP 404.*jobs/ledger.py batches --cancel"
        ) as stop:
            later.fulfilled()
        assert stop.value.exit_status == 6 and "llm.model" not in str(stop.value)
    assert "given up" in later.work.cancel(intent)
    assert later.fulfilled() == [] and len(server.batches()) == 2, "sent anew"
