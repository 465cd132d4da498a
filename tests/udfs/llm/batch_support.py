"""What the tests on batches share: settings, files of requests, and the looks of a ledger without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import request_rows, settings_for, spooled, with_known_text
from udfs.llm.batch.client import BatchClient
from udfs.llm.batch.store import BatchFile, BatchStore
from udfs.llm.batch.work import BatchWork, Collected
from udfs.llm.batch.writing import Expected, files_of
from udfs.llm.calls import CallRow
from udfs.llm.prices import Price
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import Sending, jobs_of, rows_of
from udfs.settings import LlmSettings

EXPECTED = Expected(1 / 3, 100.0, Price(3.0, 10.0, 3.0))


def batch_settings(server: FakeServer, **changes: Any) -> LlmSettings:
    return settings_for(server, teacher="openai_batch", **changes)


def write(folder: Path, llm: LlmSettings, texts: list[str], known: dict[str, str] | None = None) -> list[BatchFile]:
    """Batch files of the requests on these texts."""
    rows = request_rows(texts, llm)
    if known is not None:
        rows = with_known_text(rows, known)
    sending = Sending(llm, str(folder / "spool"), "stage", "run-1", None, 8.0, RetryPolicy(), None, None)
    return list(files_of(sending, str(folder / "b"), EXPECTED, jobs_of(sending, rows_of(iter([rows])))))


def work_on(folder: Path, run_id: str = "run-1", client: Any = BatchClient) -> BatchWork:
    return BatchWork(BatchStore(str(folder / "b")), str(folder / "spool"), run_id, client)


def take_in(work: BatchWork, ledger: dict[str, CallRow], spool: str) -> list[Collected]:
    """Look at every intent once, as the ledger does: results first, then the end of the batch."""
    found = []
    for intent in work.store.intents():
        standing = work.look(intent)
        collected = None if standing.outstanding else work.collect(standing)
        if collected is not None:
            ledger.update({str(row["id"]): row for row in spooled(spool)})
            work.close(standing.intent)
            found.append(collected)
    return found


def lines(store: BatchStore, file: BatchFile) -> list[dict[str, Any]]:
    with store.open_input(file.name) as content:
        return [json.loads(line) for line in content]
