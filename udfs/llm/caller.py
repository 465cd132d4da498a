"""One request from start to end: tries, the reply, one further call, what follows it, a record of every finished call.

It knows nothing of Spark, windows or files: records go to whoever keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from udfs.llm.admission import Admission, NotAdmitted
from udfs.llm.calls import CallRow
from udfs.llm.circuit import Circuit
from udfs.llm.follow_ups import Following, follow_up, takes_place
from udfs.llm.outcome import FurtherCall, Outcome, further_call, outcome_of_reply
from udfs.llm.parse import parse_reply
from udfs.llm.requests import CORRECTION, correction, longer, prompt_sha
from udfs.llm.retry import RetryPolicy
from udfs.llm.teacher import ErrorKind, Reply, Request, Teacher, failed
from udfs.llm.text import canonical_json, encodable

Record = Callable[[CallRow], "Future[None]"]
Obstacle = Callable[[Request], str | None]


@dataclass(frozen=True)
class Job:
    """A request with what its record needs; `further` says that only this call after `known_text` is wanted.

    `too_long` says why the request must not be sent at all; `follow_ups` are asked behind an answer, in their order.
    """

    request: Request
    prompt_sha: str
    further: FurtherCall | None = None
    known_text: str | None = None
    too_long: str | None = None
    follow_ups: tuple[Following, ...] = ()


@dataclass(frozen=True)
class Origin:
    """What every record of a stage says about where it comes from."""

    stage: str
    run_id: str
    teacher: str


@dataclass(frozen=True)
class Called:
    """What a record says of the call itself; no text of its prompt is in it."""

    key: str
    parent_key: str | None
    task: str
    prompt_sha: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class CallRules:
    """How a stage's calls are made: who admits them, when they are tried again, what stops them.

    `raised_max_tokens` is the limit of the one call after a reply that was cut off (0: none is made); `obstacle` says
    why a further call would not fit the context.
    """

    admission: Admission
    circuit: Circuit
    policy: RetryPolicy
    raised_max_tokens: int
    obstacle: Obstacle


class Caller:
    """Answers jobs through one teacher; `settle` may be awaited many times at once."""

    def __init__(self, teacher: Teacher, rules: CallRules, origin: Origin, record: Record) -> None:
        self._teacher, self._rules = teacher, rules
        self._origin, self._record = origin, record

    async def settle(self, job: Job) -> tuple[Outcome, list[Future[None]]]:
        """The outcome of a job, and the futures that resolve when its records are durable.

        Follow-ups are called at once and recorded; how they end is no part of the outcome.
        """
        outcome, kept = await self._settle(job)
        if outcome.text is not None:
            kept = kept + await self._follow(job.request, outcome.text, job.follow_ups)
        return outcome, kept

    async def _follow(self, request: Request, text: str, follow_ups: tuple[Following, ...]) -> list[Future[None]]:
        """Call what follows an answer, each about the answer that stands; one that did not settle ends the chain."""
        kept: list[Future[None]] = []
        for wanted in follow_ups:
            # In a thread: quotes are looked for in whole documents, and other calls must not wait for it.
            further = await asyncio.to_thread(follow_up, request, text, wanted)
            if further is None:
                continue
            too_long = self._rules.obstacle(further)
            ended, more = await self._settle(Job(further, prompt_sha(further.task), too_long=too_long))
            kept += more
            if ended.status not in ("ok", "lasting"):
                break
            if ended.text is not None and await asyncio.to_thread(takes_place, further, ended.text, wanted):
                request, text = further, ended.text
        return kept

    async def _settle(self, job: Job) -> tuple[Outcome, list[Future[None]]]:
        kept: list[Future[None]] = []
        try:
            step, text = job.further, job.known_text
            if step is None:
                reply = await self._ask(job.request, job.too_long)
                kept.append(self._record(call_row(self._origin, job.prompt_sha, job.request, reply, None)))
                outcome = outcome_of_reply(job.request.key, reply, job.request.task)
                step, text = further_call(outcome, reply.text, self._rules.raised_max_tokens > 0), reply.text
                if step is None:
                    return outcome, kept
            return await self._further(job, step, text or "", kept), kept
        except NotAdmitted as refused:
            reply = refused.reply
            return Outcome(job.request.key, reply.status, reply.error_kind, reply.error), kept

    async def _further(self, job: Job, step: FurtherCall, text: str, kept: list[Future[None]]) -> Outcome:
        """The one further call; its outcome is the last word."""
        request = job.request
        call = further_request(request, step, text, self._rules.raised_max_tokens)
        answered = await self._ask(call, self._rules.obstacle(call))
        outcome = outcome_of_reply(request.key, answered, request.task)
        reply = last_word(answered, outcome)
        if reply is not answered:
            self._rules.circuit.judge(reply)
        words = words_of(step, job.prompt_sha)
        kept.append(self._record(call_row(self._origin, words, call, reply, request.key)))
        return outcome

    async def _ask(self, request: Request, too_long: str | None) -> Reply:
        """The reply after as many tries as the policy grants; only the last one counts. Raises NotAdmitted."""
        if too_long is not None:
            return failed(ErrorKind.CONTEXT_TOO_LONG, too_long)
        circuit, attempt, reply = self._rules.circuit, 1, None
        while True:
            try:
                tried, sent = await self._one_try(request)
            except NotAdmitted:
                if reply is None:
                    raise
                return reply  # the try before it is what is known
            if tried.reworded:
                continue
            reply = tried
            wait = self._rules.policy.wait_before(attempt, reply, request.key)
            reply = circuit.judge(reply, sent, again=wait is not None)
            if wait is None or circuit.opened_by is not None:
                return reply
            await asyncio.sleep(wait)
            attempt += 1

    async def _one_try(self, request: Request) -> tuple[Reply, int]:
        """One call and its number; a teacher that raises, which it must not, costs a row, not the task.

        Raises NotAdmitted.
        """
        opened_by = self._rules.circuit.opened_by
        if opened_by is not None:
            raise NotAdmitted(opened_by)
        try:
            permit = await self._rules.admission.enter(request)
        except NotAdmitted as refused:
            if refused.reply.status == "fatal":
                self._rules.circuit.open(refused.reply)
            raise
        sent = self._rules.circuit.asked()
        try:
            reply = await self._teacher.complete(request)
        except Exception as error:
            reply = failed(ErrorKind.SERVER, f"the teacher raised {type(error).__name__}: {error}")
        self._rules.admission.leave(permit, reply)
        return reply, sent


def words_of(step: FurtherCall | None, task_sha: str) -> str:
    """The hash of the prompt text that a call was worded by: of a correction its own, else the task's."""
    return prompt_sha(CORRECTION) if step == "correction" else task_sha


def further_request(request: Request, step: FurtherCall, text: str, raised_max_tokens: int) -> Request:
    """The one further call after a reply with this text."""
    if step == "longer":
        return longer(request, raised_max_tokens)
    return correction(request, text, parse_reply(text, request.task).error or "the reply could not be read")


def last_word(reply: Reply, outcome: Outcome) -> Reply:
    """The reply of a further call as it counts: a text that still cannot be read is a lasting failure."""
    if reply.status == "ok" and outcome.status != "ok":
        return replace(reply, status="lasting", error_kind=ErrorKind.BAD_JSON, error=outcome.error)
    return reply


def call_row(origin: Origin, prompt_sha: str, request: Request, reply: Reply, parent_key: str | None) -> CallRow:
    """The record of a finished call."""
    called = Called(request.key, parent_key, request.task, prompt_sha, dict(request.parameters))
    return record_of(origin, called, reply)


def record_of(origin: Origin, called: Called, reply: Reply, name: str | None = None) -> CallRow:
    """The record of a call by what is known of it without its prompt; without a `name` the spool gives it one."""
    return CallRow(
        id=name,
        key=called.key,
        parent_key=called.parent_key,
        stage=origin.stage,
        task=called.task,
        run_id=origin.run_id,
        teacher=origin.teacher,
        model=reply.model or str(called.parameters.get("model")),
        status=reply.status,
        error_kind=reply.error_kind,
        error=None if reply.error is None else encodable(reply.error),
        text=None if reply.text is None else encodable(reply.text),
        finish_reason=reply.finish_reason,
        tokens_in=reply.tokens_in,
        tokens_out=reply.tokens_out,
        tokens_cached=reply.tokens_cached,
        seconds=reply.seconds,
        prompt_sha=called.prompt_sha,
        parameters=canonical_json(called.parameters),
    )
