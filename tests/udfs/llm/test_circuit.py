"""When refused requests are faults of their rows, and when they stop a stage."""

from __future__ import annotations

import pytest

from udfs.llm.circuit import BAD_REQUESTS_BEFORE_OPENING, FORBIDDEN_BEFORE_OPENING, Circuit, circuit_of
from udfs.llm.teacher import ErrorKind, Reply, failed

REFUSED = failed(ErrorKind.BAD_REQUEST, "unknown parameter")
FORBIDDEN = failed(ErrorKind.FORBIDDEN, "HTTP 403")
OK = Reply("ok", text="x")


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


def sent_by(circuit: Circuit, count: int) -> list[int]:
    """So many tries, sent at once."""
    return [circuit.asked() for _ in range(count)]


def test_a_key_that_may_do_nothing_opens_at_once_and_blames_no_row() -> None:
    for count, passing in ((1, 0), (4, 1), (60, 29)):
        circuit = Circuit()
        states = [circuit.judge(FORBIDDEN, number).status for number in sent_by(circuit, count)]
        assert states == ["passing"] * passing + ["fatal"] * (count - passing), "half of what was sent"


def test_what_is_forbidden_among_answers_is_a_fault_of_its_row() -> None:
    """A firewall answers so to what one prompt says, whenever it is asked: no run waits for it, and none stops."""
    circuit = Circuit()
    first = sent_by(circuit, 40)
    assert [circuit.judge(FORBIDDEN, number).status for number in first[:4]] == ["passing"] * 4, "nothing is known yet"
    circuit.judge(OK, first[4])
    assert circuit.judge(FORBIDDEN, first[5]).status == "lasting"
    for _ in range(100):
        flagged, *answered = sent_by(circuit, 3)
        assert circuit.judge(FORBIDDEN, flagged).status == "lasting"
        for number in answered:
            circuit.judge(OK, number)
    assert circuit.opened_by is None


def test_the_few_that_are_left_of_an_earlier_run_are_faults_of_their_rows() -> None:
    circuit = Circuit()
    circuit.prove()
    numbers = sent_by(circuit, FORBIDDEN_BEFORE_OPENING - 1)
    assert {circuit.judge(FORBIDDEN, number).status for number in numbers} == {"lasting"}
    assert circuit.opened_by is None


def test_refusals_that_come_back_before_the_answers_open_nothing() -> None:
    circuit = Circuit()
    circuit.prove()
    numbers = sent_by(circuit, 256)
    assert {circuit.judge(FORBIDDEN, number).status for number in numbers[:50]} == {"lasting"}
    for number in numbers[50:]:
        circuit.judge(OK, number)
    assert circuit.judge(FORBIDDEN, circuit.asked()).status == "lasting" and circuit.opened_by is None


def test_a_key_that_is_taken_back_is_noticed_though_earlier_calls_are_still_answered() -> None:
    circuit = Circuit(max_error_share=1.0)
    before = sent_by(circuit, 200)
    circuit.judge(OK, before.pop())
    states = []
    while circuit.opened_by is None:
        states.append(circuit.judge(FORBIDDEN, circuit.asked()).status)
        circuit.judge(OK, before.pop())
    assert states == ["lasting"] * (FORBIDDEN_BEFORE_OPENING - 1) + ["fatal"]
    circuit.judge(OK, before.pop())
    assert circuit.judge(FORBIDDEN, circuit.asked()).status == "fatal", "what was under way blames no row either"


def test_what_is_forbidden_once_somebody_else_was_stopped_blames_no_row() -> None:
    circuit = Circuit()
    circuit.judge(OK, circuit.asked())
    circuit.open(failed(ErrorKind.FORBIDDEN, "HTTP 403"))
    assert circuit.judge(FORBIDDEN, circuit.asked()).status == "fatal"
