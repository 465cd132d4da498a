"""Lines of a batch that are forbidden: faults of their rows, or of the key, by their share of the whole batch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.batch_support import batch_settings, take_in, write
from udfs.llm.batch.client import BatchClient
from udfs.llm.batch.store import BatchStore
from udfs.llm.batch.work import BatchWork, Collected
from udfs.llm.calls import CallRow
from udfs.llm.circuit import FORBIDDEN_BEFORE_OPENING

MANY = 2 * FORBIDDEN_BEFORE_OPENING


def collected(
    folder: Path, provider: FakeServer, lines: int, forbidden: int, known: bool
) -> tuple[Collected, Counter[str]]:
    """What came of a batch whose last lines are forbidden, and how many of its rows have which status.

    `known` says that the ledger holds an answer to such a request.
    """

    class Refused(BatchClient):
        def lines(self, file_id: str) -> Iterator[bytes]:
            told = list(super().lines(file_id))
            ours = [line for line in told if b"nobody-asked-for-this" not in line]
            yield from ours[: lines - forbidden]
            body = {"error": {"message": "Forbidden", "code": None}}
            for line in ours[lines - forbidden :]:
                response = {"status_code": 403, "request_id": "r", "body": body}
                yield json.dumps({"custom_id": json.loads(line)["custom_id"], "response": response}).encode()

    llm, ledger, spool = batch_settings(provider), dict[str, CallRow](), str(folder / "spool")
    work = BatchWork(BatchStore(str(folder / "b")), spool, "run-1", Refused, lambda stage, parameters: known)
    work.intend("stage", llm, write(folder, llm, [f"text {number}" for number in range(lines)]))
    (found,) = take_in(work, ledger, spool)
    assert len(ledger) == lines
    return found, Counter(row["status"] for row in ledger.values() if row["error_kind"] == "forbidden")


@pytest.mark.parametrize(
    ("lines", "forbidden", "known", "status"),
    [
        (200, 8, False, "lasting"),
        (200, 99, False, "lasting"),
        (200, 100, False, "fatal"),
        (FORBIDDEN_BEFORE_OPENING, FORBIDDEN_BEFORE_OPENING - 1, False, "lasting"),
        (FORBIDDEN_BEFORE_OPENING - 1, FORBIDDEN_BEFORE_OPENING - 1, True, "lasting"),
        (MANY, MANY, True, "fatal"),
        (1, 1, False, "fatal"),
    ],
)
def test_what_is_forbidden_is_judged_by_its_share_of_the_batch(
    tmp_path: Path, provider: FakeServer, lines: int, forbidden: int, known: bool, status: str
) -> None:
    """All lines alike: those that a key taken back has ruined blame no row, and those of a firewall stop no run."""
    found, states = collected(tmp_path, provider, lines, forbidden, known)
    assert states == {status: forbidden} and found.failed["forbidden"] == forbidden
    assert (found.fatal is not None) == (status == "fatal")
    if found.fatal is not None:
        assert (found.fatal.error_kind, found.fatal.error) == ("forbidden", "HTTP 403: Forbidden")
