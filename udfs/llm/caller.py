"""One request from start to end: tries, the reply, the correction turn, and a record of every finished call.

It knows nothing of Spark, windows or files: records go to whoever keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from udfs.llm.calls import CallRow
from udfs.llm.circuit import Circuit
from udfs.llm.outcome import Outcome, outcome_of_reply
from udfs.llm.parse import parse_reply
from udfs.llm.requests import correction
from udfs.llm.retry import RetryPolicy
from udfs.llm.teacher import ErrorKind, Reply, Request, Teacher, failed
from udfs.llm.text import canonical_json, encodable

Record = Callable[[CallRow], "Future[None]"]


@dataclass(frozen=True)
class Job:
    """A request with what its record needs, and the text already known when only a correction is wanted.

    `too_long` says why the request must not be sent at all.
    """

    request: Request
    prompt_sha: str
    known_text: str | None = None
    too_long: str | None = None


@dataclass(frozen=True)
class Origin:
    """What every record of a stage says about where it comes from."""

    stage: str
    run_id: str
    teacher: str


class Caller:
    """Answers jobs through one teacher; `settle` may be awaited many times at once."""

    def __init__(self, teacher: Teacher, circuit: Circuit, policy: RetryPolicy, origin: Origin, record: Record) -> None:
        self._teacher, self._circuit, self._policy = teacher, circuit, policy
        self._origin, self._record = origin, record

    async def settle(self, job: Job) -> tuple[Outcome, list[Future[None]]]:
        """The outcome of a job, and the futures that resolve when its records are durable."""
        request = job.request
        kept: list[Future[None]] = []
        text = job.known_text
        if text is None:
            held_back = self._held_back(request)
            if held_back is not None:
                return held_back, kept
            reply = await self._first_reply(job)
            kept.append(self._record(self._row(job, request, reply, parent_key=None)))
            outcome = outcome_of_reply(request.key, reply, request.task)
            if reply.status != "ok" or outcome.status == "ok" or reply.text is None:
                return outcome, kept
            text = reply.text
        return await self._corrected(job, text, kept)

    async def _first_reply(self, job: Job) -> Reply:
        if job.too_long is not None:
            return failed(ErrorKind.CONTEXT_TOO_LONG, job.too_long)
        return await self._ask(job.request)

    async def _corrected(self, job: Job, text: str, kept: list[Future[None]]) -> tuple[Outcome, list[Future[None]]]:
        """The one further turn after a text that cannot be read."""
        request = job.request
        held_back = self._held_back(request)
        if held_back is not None:
            return held_back, kept
        problem = parse_reply(text, request.task).error or "the reply could not be read"
        turn = correction(request, text, problem)
        reply = await self._ask(turn)
        outcome = outcome_of_reply(request.key, reply, request.task)
        if reply.status == "ok" and outcome.status != "ok":
            reply = replace(reply, status="lasting", error_kind=ErrorKind.BAD_JSON, error=outcome.error)
        kept.append(self._record(self._row(job, turn, reply, parent_key=request.key)))
        return outcome, kept

    def _held_back(self, request: Request) -> Outcome | None:
        """The outcome of a request that must not be sent because the circuit is open."""
        opened_by = self._circuit.opened_by
        if opened_by is None:
            return None
        return Outcome(request.key, "fatal", opened_by.error_kind, opened_by.error)

    async def _ask(self, request: Request) -> Reply:
        """The reply after as many tries as the policy grants; only the last one counts."""
        attempt = 1
        while True:
            reply = self._circuit.judge(await self._one_try(request))
            wait = self._policy.wait_before(attempt, reply, request.key)
            if wait is None or self._circuit.opened_by is not None:
                return reply
            await asyncio.sleep(wait)
            attempt += 1

    async def _one_try(self, request: Request) -> Reply:
        """One call; a teacher that raises against its contract costs a row, not the task."""
        try:
            return await self._teacher.complete(request)
        except Exception as error:
            return failed(ErrorKind.SERVER, f"the teacher raised {type(error).__name__}: {error}")

    def _row(self, job: Job, request: Request, reply: Reply, parent_key: str | None) -> CallRow:
        """The record of a finished call."""
        return CallRow(
            id=None,
            key=request.key,
            parent_key=parent_key,
            stage=self._origin.stage,
            task=request.task,
            run_id=self._origin.run_id,
            teacher=self._origin.teacher,
            model=reply.model or str(request.parameters.get("model")),
            status=reply.status,
            error_kind=reply.error_kind,
            error=None if reply.error is None else encodable(reply.error),
            text=None if reply.text is None else encodable(reply.text),
            finish_reason=reply.finish_reason,
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            tokens_cached=reply.tokens_cached,
            seconds=reply.seconds,
            prompt_sha=job.prompt_sha,
            parameters=canonical_json(dict(request.parameters)),
        )
