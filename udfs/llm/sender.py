"""Sending: request rows go in, a window of calls stays full, small outcome rows come out.

Every finished call is durable in the spool before its outcome is reported. It knows no table and no ledger;
what was answered before must not be among its rows.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import groupby
from queue import Empty, SimpleQueue
from threading import Semaphore
from typing import Any

import pyarrow as pa

from udfs.llm.admission import Admission, Unlimited
from udfs.llm.caller import Caller, CallRules, Job, Origin
from udfs.llm.calls import CallRow
from udfs.llm.circuit import circuit_of
from udfs.llm.context import MOST_CHARS_PER_TOKEN, too_long
from udfs.llm.follow_ups import Following
from udfs.llm.loop import background_loop
from udfs.llm.outcome import OUTCOME_SCHEMA, Outcome, best_call, settle
from udfs.llm.requests import reply_limit
from udfs.llm.retry import RetryPolicy
from udfs.llm.schemas import json_schema
from udfs.llm.shared_admission import SharedAdmission
from udfs.llm.spool import SpoolWriter, list_segments, read_segment
from udfs.llm.tasks import task_named
from udfs.llm.teacher import ErrorKind, Message, Request, Teacher
from udfs.llm.teachers import teacher_of
from udfs.llm.wire import Address
from udfs.settings import LlmSettings, TokenizerSettings

Batches = Iterator[pa.RecordBatch]
OUTCOMES_PER_BATCH = 64
# Calls on one document follow each other in one slot, so that each finds the prefix the last one cached.
LONGEST_CHAIN = 64


@dataclass(frozen=True)
class Sending:
    """All that a sending task is told."""

    settings: LlmSettings
    spool: str
    stage: str
    run_id: str
    tokenizer: TokenizerSettings | None
    chars_per_token: float
    policy: RetryPolicy
    teacher: Teacher | None
    coordinator: Address | None
    follow_ups: tuple[Following, ...] = ()
    proven: bool = False

    def obstacle(self, request: Request) -> str | None:
        """Why a request does not fit the context, None when it does."""
        return too_long(
            request.messages, reply_limit(request.parameters), self.settings, self.tokenizer, self.chars_per_token
        )


def send(
    settings: LlmSettings,
    spool: str,
    stage: str,
    run_id: str,
    *,
    tokenizer: TokenizerSettings | None = None,
    chars_per_token: float = MOST_CHARS_PER_TOKEN,
    policy: RetryPolicy | None = None,
    teacher: Teacher | None = None,
    coordinator: Address | None = None,
    follow_ups: tuple[Following, ...] = (),
    proven: bool = False,
) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: REQUEST_DDL rows in, OUTCOME_DDL rows out.

    Nullable columns `further` and `known_text` ask for the further call after a recorded reply alone. Rows that
    follow each other with the same `document` are called one after the other; others overlap, up to
    `settings.concurrency` at once whatever the Arrow batches. `teacher` overrides the settings' teacher and must be
    picklable where Spark is used. `coordinator` keeps the limits of all tasks; without one there are
    none. Behind each answer that leaves something to ask, `follow_ups` are called on the same document, in their
    order; their calls are recorded, their outcomes not told. `proven` says that such requests were answered before, so
    that one which is refused as malformed is to blame itself. Raises SpoolUnavailable when replies cannot be kept.
    """
    policy = policy or RetryPolicy()
    sending = Sending(
        settings, spool, stage, run_id, tokenizer, chars_per_token, policy, teacher, coordinator, follow_ups, proven
    )

    def run(batches: Batches) -> Batches:
        return run_sending(sending, batches)

    return run


def run_sending(sending: Sending, batches: Batches) -> Batches:
    """One task attempt: see `send`."""
    partition = partition_id()
    known = _answered_before(sending, partition)
    raises_limit = sending.settings.raised_max_tokens > 0
    with SpoolWriter(sending.spool, sending.stage, sending.run_id, partition) as spool:
        window = _Window(sending, spool)
        try:
            for chain in _chains(batches):
                window.submit([_served(job, known, raises_limit) for job in jobs_of(sending, chain)])
                yield from window.finished(at_least=OUTCOMES_PER_BATCH)
            window.wait()
            yield from window.finished(at_least=1)
        finally:
            window.close()  # only a closed or failed task has calls left here


def partition_id() -> int:
    """Number of the Spark partition at work, 0 outside Spark."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return 0 if context is None else context.partitionId()


def _chains(batches: Batches) -> Iterator[list[dict[str, Any]]]:
    """Rows that follow each other with one document, at most LONGEST_CHAIN; without one each stands alone."""
    for document, rows in groupby(rows_of(batches), key=lambda row: row["document"]):
        chain: list[dict[str, Any]] = []
        for row in rows:
            chain.append(row)
            if document is None or len(chain) == LONGEST_CHAIN:
                yield chain
                chain = []
        if chain:
            yield chain


def rows_of(batches: Batches) -> Iterator[dict[str, Any]]:
    """Rows one at a time: a batch of long prompts must not lie in memory twice."""
    for batch in batches:
        for index in range(batch.num_rows):
            yield batch.slice(index, 1).to_pylist()[0]


def jobs_of(sending: Sending, rows: Iterable[dict[str, Any]]) -> Iterator[Job]:
    """Jobs from request rows."""
    for row in rows:
        messages = tuple(Message(role=turn["role"], content=turn["content"]) for turn in row["messages"])
        request = Request(
            key=row["key"],
            task=row["task"],
            variables=json.loads(row["variables"]),
            messages=messages,
            parameters=json.loads(row["parameters"]),
            reply_schema=json_schema(task_named(row["task"]).reply),
            document=row["document"],
        )
        further, known_text = row.get("further"), row.get("known_text")
        too_long = sending.obstacle(request)
        yield Job(request, row["prompt_sha"], further, known_text, too_long, sending.follow_ups)


Known = dict[str, list[CallRow]]


def _answered_before(sending: Sending, partition: int) -> Known:
    """Calls that earlier attempts of this task made, by the key of the request they belong to.

    A retried task gets the rows of the attempt that died; what that one had answered lies in the spool. Rows
    can move between partitions when a whole stage is recomputed, so then every segment of the run is read.
    """
    mine = f"{sending.run_id}~"
    segments = [s for s in list_segments(sending.spool, sending.stage) if s.name.startswith(mine)]
    known: Known = {}
    if any(segment.partition == partition for segment in segments):
        for segment in segments:
            for call in read_segment(segment):
                known.setdefault(call["parent_key"] or call["key"], []).append(call)
    return known


def _served(job: Job, known: Known, raises_limit: bool) -> Job | Outcome:
    """The outcome that recorded calls already settle, else the job with what is left of it."""
    calls = known.get(job.request.key)
    if not calls:
        return job
    root = best_call(call for call in calls if call["parent_key"] is None)
    corrected = best_call(call for call in calls if call["parent_key"] is not None)
    if root is None and job.further is not None and corrected is not None:  # the first call lies in the ledger
        cut_off = job.further == "longer"
        told: Any = {"status": "lasting" if cut_off else "ok", "error_kind": ErrorKind.LENGTH if cut_off else None}
        recalled: Any = {**corrected, **told, "text": job.known_text}
        root = recalled
    settled = settle(job.request.key, job.request.task, root, corrected, raises_limit)
    if settled.outcome is not None:
        return settled.outcome
    return job if settled.further is None else replace(job, further=settled.further, known_text=settled.known_text)


class _Window:
    """Calls in flight on the loop's thread, and their outcomes on the way back to the task's own."""

    def __init__(self, sending: Sending, spool: SpoolWriter) -> None:
        settings = sending.settings
        self._loop = background_loop()
        self._slots = Semaphore(settings.concurrency)
        self._admission: Admission = Unlimited()
        if sending.coordinator is not None:
            self._admission = SharedAdmission(sending.coordinator, sending.stage, settings.concurrency)
        rules = CallRules(
            self._admission,
            circuit_of(sending.run_id, sending.stage, settings.max_error_share, sending.proven),
            sending.policy,
            settings.raised_max_tokens,
            sending.obstacle,
        )
        origin = Origin(sending.stage, sending.run_id, settings.teacher)
        self._caller = Caller(sending.teacher or teacher_of(settings), rules, origin, spool.append)
        self._arrived: SimpleQueue[Outcome | BaseException] = SimpleQueue()
        self._ready: list[Outcome] = []
        self._chains: set[Future[None]] = set()

    def submit(self, jobs: list[Job | Outcome]) -> None:
        """Start a chain of calls as soon as a slot is free; outcomes that are known pass straight through."""
        self._ready += [job for job in jobs if isinstance(job, Outcome)]
        to_call = [job for job in jobs if isinstance(job, Job)]
        if to_call:
            self._slots.acquire()
            chain = asyncio.run_coroutine_threadsafe(self._call_in_turn(to_call), self._loop)
            self._chains.add(chain)
            chain.add_done_callback(self._chains.discard)

    async def _call_in_turn(self, jobs: list[Job]) -> None:
        """Calls on one document, one after the other; the slot is free before the records are durable."""
        settled = []
        try:
            for job in jobs:
                settled.append(await self._caller.settle(job))
        except BaseException as error:
            self._arrived.put(error)
            raise
        finally:
            self._slots.release()
        for outcome, kept in settled:
            try:
                for record in kept:
                    await asyncio.wrap_future(record)
            except BaseException as error:
                self._arrived.put(error)
                raise
            self._arrived.put(outcome)

    def finished(self, at_least: int) -> Batches:
        """Outcomes that are ready, as one batch when there are enough of them. Raises what a call raised."""
        while True:
            try:
                arrived = self._arrived.get_nowait()
            except Empty:
                break
            if isinstance(arrived, BaseException):
                raise arrived
            self._ready.append(arrived)
        if len(self._ready) >= at_least:
            rows = [
                {"key": o.key, "status": o.status, "error_kind": o.error_kind, "error": o.error} for o in self._ready
            ]
            self._ready = []
            yield pa.RecordBatch.from_pylist(rows, schema=OUTCOME_SCHEMA)

    def wait(self) -> None:
        """Until every chain has ended."""
        for chain in list(self._chains):
            chain.exception()

    def close(self) -> None:
        """Give up what is still in flight, and the leave to send."""
        for chain in list(self._chains):
            chain.cancel()
        self._loop.call_soon_threadsafe(self._admission.close)
