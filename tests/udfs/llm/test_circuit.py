"""When refused requests are faults of their rows, and when they stop a stage."""

from __future__ import annotations

import pytest

from udfs.llm.circuit import BAD_REQUESTS_BEFORE_OPENING, FORBIDDEN_BEFORE_OPENING, Circuit, circuit_of
from udfs.llm.teacher import ErrorKind, Reply, failed

REFUSED = failed(ErrorKind.BAD_REQUEST, "unknown parameter")


@pytest.mark.parametrize(("sent", "opens_at"), [(8, 8), (60, 30), (256, 128)])
def test_half_of_what_was_sent_must_be_refused(sent: int, opens_at: int) -> None:
    """Refusals come back first: a few of them among many that are still under way say nothing about the settings."""
    circuit = Circuit()
    for _ in range(sent):
        circuit.asked()
    states = [circuit.judge(REFUSED).status for _ in range(opens_at)]
    assert states == ["passing"] * (opens_at - 1) + ["fatal"]
    assert circuit.opened_by is not None


def test_few_refusals_never_open_it_and_blame_their_rows_after_one_answer() -> None:
    circuit = Circuit()
    for _ in range(256):
        circuit.asked()
    assert {circuit.judge(REFUSED).status for _ in range(2 * BAD_REQUESTS_BEFORE_OPENING)} == {"passing"}
    circuit.judge(Reply("ok", text="x"))
    assert circuit.judge(REFUSED).status == "lasting" and circuit.opened_by is None


def test_an_answer_in_the_ledger_counts_as_one() -> None:
    assert circuit_of("run", "stage").judge(REFUSED).status == "passing"
    assert circuit_of("run", "stage", proven=True).judge(REFUSED).status == "lasting"
    assert circuit_of("run", "stage").judge(REFUSED).status == "lasting", "it is not forgotten"


def test_what_is_forbidden_after_answers_waits_and_a_row_of_it_opens() -> None:
    """A firewall judges what one prompt says; a key that was taken back is refused every time."""
    forbidden = failed(ErrorKind.FORBIDDEN, "HTTP 403")
    assert Circuit().judge(forbidden).status == "fatal", "nothing was answered yet"
    circuit = Circuit()
    for _ in range(3):
        circuit.judge(Reply("ok", text="x"))
        states = [circuit.judge(forbidden).status for _ in range(FORBIDDEN_BEFORE_OPENING - 1)]
        assert set(states) == {"passing"} and circuit.opened_by is None
    assert circuit.judge(forbidden).status == "fatal" and circuit.opened_by is not None
