"""One request from start to end: each thing that is sent was let in before."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future

import pytest

from tests.udfs.llm.support import GOOD, Scripted
from udfs.llm.admission import NotAdmitted
from udfs.llm.caller import Caller, CallRules, Job, Origin
from udfs.llm.calls import CallRow
from udfs.llm.circuit import Circuit
from udfs.llm.retry import RetryPolicy
from udfs.llm.teacher import ErrorKind, Message, Reply, Request, failed

ASKED = {"examples": ["a tale"], "taken": []}
REQUEST = Request("key", "type_label", ASKED, (Message(role="user", content="Name it."),), {"model": "m"}, {})


class Door:
    """Lets in so many tries and counts them."""

    def __init__(self, tries: int) -> None:
        self.left, self.entered = tries, 0

    async def enter(self, request: Request) -> int:
        """A permit while there are tries left."""
        if not self.left:
            raise NotAdmitted(failed(ErrorKind.BUDGET, "the budget is used up"))
        self.left -= 1
        self.entered += 1
        return self.entered

    def leave(self, permit: int, reply: Reply) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize(("tries", "status", "kept"), [(2, "ok", 1), (1, "passing", 0)])
def test_a_request_that_is_put_otherwise_is_let_in_again(tries: int, status: str, kept: int) -> None:
    """What the server did not take is no reply: nothing is recorded of it, and no row is rejected for it."""
    replies = [failed(ErrorKind.BAD_REQUEST, "unknown field", reworded=True), Reply("ok", text=GOOD)]

    async def script(request: Request) -> Reply:
        return replies.pop(0)

    recorded: list[CallRow] = []

    def record(row: CallRow) -> Future[None]:
        recorded.append(row)
        return Future()

    door, teacher = Door(tries), Scripted(script)
    rules = CallRules(door, Circuit(), RetryPolicy(first_wait=0.0), 0, lambda request: None)
    caller = Caller(teacher, rules, Origin("stage", "run", "openai"), record)
    outcome, _ = asyncio.run(caller.settle(Job(REQUEST, "sha")))
    assert outcome.status == status and len(recorded) == kept
    assert door.entered == len(teacher.asked) == tries
