"""The life of a batch: intent, upload, batch, results, end; every step can be repeated after a kill.

An intent is durable before anything is sent, an id before it is needed, and results before the batch is closed. A step
that may have been made already is looked for at the provider before it is made again. What rows of a table follow from
results is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from openai.types import Batch

from udfs.llm.batch.client import BatchClient, ProviderFault
from udfs.llm.batch.lines import read_result
from udfs.llm.batch.store import INPUT, BatchFile, BatchStore, Endpoint, Intent
from udfs.llm.caller import Called, Origin, last_word, record_of
from udfs.llm.circuit import COMMONEST, WINDOW, Circuit
from udfs.llm.faults import scrub
from udfs.llm.outcome import outcome_of_reply
from udfs.llm.spool import segment_writer
from udfs.llm.teacher import ErrorKind, Reply, failed, status_of
from udfs.llm.teachers import BATCH
from udfs.settings import LlmSettings

UNDER_WAY = frozenset({"validating", "in_progress", "finalizing", "cancelling"})
# Why a provider refuses a whole file; nothing of it ran. Other codes mean that it cannot be taken as it is.
_REFUSED = {
    "token_limit_exceeded": ErrorKind.RATE_LIMITED,  # of tokens that may be enqueued at once
    "billing_hard_limit_reached": ErrorKind.QUOTA,
    "insufficient_quota": ErrorKind.QUOTA,
    "model_not_found": ErrorKind.NOT_FOUND,
    "server_error": ErrorKind.SERVER,
}


_Replied = tuple[dict[str, Any], Reply]  # a call of a batch, as its store tells it, and what came of it


class ResultsGone(ProviderFault):
    """A batch ended and the provider does not have a file of its results any more; the next look finds no more."""


@dataclass
class Collected:
    """What came of a batch, by line; `tokens` are in, out, cached.

    `refused` says why the whole file was refused for the moment, `fatal` why nothing further may be sent.
    """

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    not_run: int = 0
    unknown: int = 0
    tokens: tuple[int, int, int] = (0, 0, 0)
    refused: Reply | None = None
    fatal: Reply | None = None

    def line(self) -> str:
        """The counts, in words."""
        told = [f"{self.answered:,} answered"]
        told += [f"{count:,} {kind}" for kind, count in self.failed.most_common()]
        told += [f"{self.not_run:,} not run"] * bool(self.not_run)
        told += [f"{self.unknown:,} of no request of ours, ignored"] * bool(self.unknown)
        reason = f"; {self.refused.error}" if self.refused is not None else ""
        return ", ".join(told) + reason


@dataclass(frozen=True)
class Standing:
    """How an intent stands: `state` is the provider's, "not sent" before there is a batch, "closed" at the end."""

    intent: Intent
    state: str
    done: int = 0
    batch: Batch | None = None
    fault: Reply | None = None  # why it could not be asked or sent, when the reason passes

    @property
    def outstanding(self) -> bool:
        """Whether results are still to come."""
        return self.state in UNDER_WAY or self.state == "not sent"


class BatchWork:
    """Works on the batches of one root. Methods raise ProviderFault for what does not pass by itself.

    `answered` tells whether the ledger holds an answer to a request of a stage with these parameters.
    """

    def __init__(
        self,
        store: BatchStore,
        spool: str,
        run_id: str,
        client_of: Callable[[Endpoint], BatchClient] = BatchClient,
        answered: Callable[[str, str], bool] = lambda stage, parameters: False,
    ) -> None:
        self.store, self._spool, self._run_id = store, spool, run_id
        self._client_of, self._answered = client_of, answered
        self._clients: dict[str, BatchClient] = {}
        self._fresh: set[str] = set()  # intents of which nothing can be at the provider yet

    def intend(self, stage: str, llm: LlmSettings, files: Iterable[BatchFile]) -> list[Intent]:
        """Make intents of files, durable; nothing is sent yet."""
        endpoint, now = Endpoint.of(llm), time.time()
        intents = [
            Intent(
                file=file,
                stage=stage,
                run_id=self._run_id,
                endpoint=endpoint,
                max_error_share=llm.max_error_share,
                made=now,
            )
            for file in files
        ]
        self._fresh |= {intent.name for intent in intents}
        return [self.store.save(intent) for intent in intents]

    def look(self, intent: Intent) -> Standing:
        """How an intent stands now; one that is not sent yet is sent first."""
        if intent.closed:
            return Standing(intent, "closed")
        try:
            intent = self._sent(intent)
            if intent.batch_id is None:
                return Standing(intent, "lost")
            batch = self._client(intent).get(intent.batch_id)
        except ProviderFault as fault:
            if fault.reply.status != "passing":
                raise
            known = self._known(intent)
            return Standing(known, "in_progress" if known.batch_id else "not sent", fault=fault.reply)
        done = batch.request_counts.completed + batch.request_counts.failed if batch.request_counts else 0
        return Standing(intent, batch.status, done, batch)

    def collect(self, standing: Standing) -> Collected | None:
        """Put the results of an ended batch into the spool; None when the provider cannot give them now.

        Raises ResultsGone when it cannot give them ever, besides what all methods raise.
        """
        batch, intent = standing.batch, standing.intent
        if batch is None:
            return Collected()
        try:
            collected = self._results(batch, intent)
        except ProviderFault as fault:
            if fault.reply.error_kind == ErrorKind.NOT_FOUND:
                raise ResultsGone(fault.reply) from None
            if fault.reply.status != "passing":
                raise
            return None
        if batch.status == "failed":
            reason = _refused(batch, self._client(intent).key)
            if reason.status == "passing":
                collected.refused = reason
            else:
                collected.fatal = collected.fatal or reason
        return collected

    def close(self, intent: Intent) -> None:
        """Its results are in the ledger: say so durably, then remove its files, here and at the provider."""
        closed = self.store.save(intent.model_copy(update={"closed": True}))
        self._remove_files(closed)
        self.store.drop(intent.name)

    def state(self, intent: Intent) -> str:
        """How a batch stands, in words; nothing is sent or collected."""
        if intent.batch_id is None:
            return "not sent"
        batch = self._client(intent).get(intent.batch_id)
        counts = batch.request_counts
        done = f", {counts.completed + counts.failed:,} done" if counts else ""
        return f"{batch.status}{done}"

    def cancel(self, intent: Intent) -> str:
        """Ask for the end of a batch, or give up one that was never made or whose results are gone; what became of it.

        Of one that is given up all that the provider still has goes into the spool first.
        """
        known = intent if intent.batch_id else self._found(intent)
        if known.batch_id is None:
            self._remove_files(known)
            self.store.drop(intent.name)
            return "given up, it was not sent"
        try:
            batch = self._client(known).get(known.batch_id)
            if batch.status in UNDER_WAY - {"cancelling"}:
                batch = self._client(known).cancel(known.batch_id)
        except ProviderFault as fault:
            if fault.reply.error_kind != ErrorKind.NOT_FOUND:
                raise
            self.store.drop(intent.name)
            return "given up, the provider does not know it any more"
        gone = self._gone(batch, known) if batch.status not in UNDER_WAY else []
        if not gone:
            return f"{batch.status}; the next run collects what ran"
        self._results(batch, known, without=gone)
        self.close(known)
        return f"given up, the provider does not have {' and '.join(gone)} any more"

    def end(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    # -- sending ----------------------------------------------------------------------------------------

    def _sent(self, intent: Intent) -> Intent:
        """The intent with its batch; the steps that are missing are made. Without an id when its requests are gone."""
        if intent.batch_id is None and intent.name not in self._fresh:
            intent = self._found(intent)
        if intent.batch_id is None:
            if intent.file_id is None:
                if not self.store.has_input(intent.name):
                    return intent
                with self.store.open_input(intent.name) as content:
                    file_id = self._client(intent).upload(intent.name, content)
                intent = self.store.save(intent.model_copy(update={"file_id": file_id}))
            self._fresh.discard(intent.name)  # from here on a batch may exist that we do not know of
            batch_id = self._client(intent).create(str(intent.file_id), intent.name)
            intent = self.store.save(intent.model_copy(update={"batch_id": batch_id}))
        self.store.drop_file(intent.name, INPUT)
        return intent

    def _found(self, intent: Intent) -> Intent:
        """The intent with what the provider has of it."""
        client = self._client(intent)
        batch = client.find(intent.name, intent.made)
        if batch is not None:
            return self.store.save(intent.model_copy(update={"batch_id": batch.id, "file_id": batch.input_file_id}))
        if intent.file_id is None:
            file_id = client.find_file(intent.name, intent.made)
            if file_id is not None:
                return self.store.save(intent.model_copy(update={"file_id": file_id}))
        return intent

    def _known(self, intent: Intent) -> Intent:
        """The intent as the store has it now."""
        return next((one for one in self.store.intents(intent.stage) if one.name == intent.name), intent)

    def _client(self, intent: Intent) -> BatchClient:
        key = intent.endpoint.model_dump_json()
        if key not in self._clients:
            self._clients[key] = self._client_of(intent.endpoint)
        return self._clients[key]

    # -- results ----------------------------------------------------------------------------------------

    def _gone(self, batch: Batch, intent: Intent) -> list[str]:
        """The files with results of an ended batch that the provider does not have any more."""
        client = self._client(intent)
        return [file_id for file_id in _result_files(batch) if not client.has_file(file_id)]

    def _results(self, batch: Batch, intent: Intent, without: Collection[str] = ()) -> Collected:
        """Every line with a result becomes a call in the spool. A repetition makes the same rows, with the same ids."""
        calls = {call["key"]: call for call in self.store.calls(intent.name)}
        collected, circuit = Collected(), Circuit(max_error_share=1.0)
        # A batch of nothing but refusals does not say whether the settings are wrong or the rows. One call speaks for
        # all: they have the same parameters, further ones but for their limit.
        one = next((call for call in calls.values() if call["parent_key"] is None), None)
        if one is not None and self._answered(intent.stage, one["parameters"]):
            circuit.prove()
        sentences: dict[str, str] = {}
        forbidden: list[_Replied] = []
        with segment_writer(self._spool, intent.stage, f"{self._run_id}~batch~{intent.name}") as write:
            for call, reply in self._replies(batch, intent, without, calls, collected):
                if reply.error_kind == ErrorKind.FORBIDDEN:
                    forbidden.append((call, reply))
                else:
                    reply = circuit.judge(_as_last_word(call, reply))
                    write(self._record(call, reply, intent))
                    _count(collected, reply, sentences)
            for call, reply in _judged_together(forbidden, collected, circuit):
                write(self._record(call, reply, intent))
                _count(collected, reply, sentences)
        collected.fatal = circuit.opened_by or _too_many(collected, sentences, intent.max_error_share)
        return collected

    def _replies(
        self, batch: Batch, intent: Intent, without: Collection[str], calls: dict[str, Any], collected: Collected
    ) -> Iterator[_Replied]:
        """The reply to each of `calls` that ran, which is taken out of them; other lines are only counted."""
        client = self._client(intent)
        for file_id in (one for one in _result_files(batch) if one not in without):
            for line in client.lines(file_id):
                result = read_result(line, client.key) if line.strip() else None
                if result is None or result.key not in calls:
                    collected.unknown += bool(line.strip())
                elif result.reply is None:
                    collected.not_run += 1
                else:
                    yield calls.pop(result.key), result.reply

    def _record(self, call: dict[str, Any], reply: Reply, intent: Intent) -> bytes:
        """The record of a call, as a line of the spool."""
        parameters = orjson.loads(call["parameters"])
        called = Called(call["key"], call["parent_key"], call["task"], call["prompt_sha"], parameters)
        name = hashlib.sha256(f"{call['key']}\nbatch {intent.name}".encode()).hexdigest()
        row = record_of(Origin(intent.stage, self._run_id, BATCH), called, reply, name)
        return orjson.dumps({name: value for name, value in row.items() if value is not None}) + b"\n"

    def _remove_files(self, intent: Intent) -> None:
        """Prompts and replies need not lie at the provider any longer; one that keeps them is no fault of the run."""
        try:
            client = self._client(intent)
            batch = client.get(str(intent.batch_id)) if intent.batch_id else None
            ids = (batch.input_file_id, batch.output_file_id, batch.error_file_id) if batch else (intent.file_id,)
            for file_id in filter(None, ids):
                _delete(client, file_id)
        except ProviderFault:
            pass


def _delete(client: BatchClient, file_id: str) -> None:
    """Remove a file that may be gone already."""
    try:
        client.delete_file(file_id)
    except ProviderFault as fault:
        if fault.reply.error_kind != ErrorKind.NOT_FOUND:
            raise


def _result_files(batch: Batch) -> list[str]:
    """Answers first: whether a malformed request is a fault of its row depends on whether others got through."""
    return [file_id for file_id in (batch.output_file_id, batch.error_file_id) if file_id]


def _as_last_word(call: dict[str, Any], reply: Reply) -> Reply:
    """A reply as it counts where it is one to a further call."""
    root = call["parent_key"]
    return reply if root is None else last_word(reply, outcome_of_reply(root, reply, call["task"]))


def _judged_together(forbidden: list[_Replied], collected: Collected, circuit: Circuit) -> list[_Replied]:
    """The forbidden calls of a batch as they count: by their share of all that ran, which is known at its end alone.

    Error lines stand together, so that no answer is among them: one by one they would look like a key taken back.
    """
    ran = collected.answered + collected.failed.total() + len(forbidden)
    status = circuit.of_forbidden(len(forbidden), ran)
    judged = [(call, replace(reply, status=status)) for call, reply in forbidden]
    if judged and status == "fatal":
        circuit.open(judged[0][1])
    return judged


def _count(collected: Collected, reply: Reply, sentences: dict[str, str]) -> None:
    found = (reply.tokens_in or 0, reply.tokens_out or 0, reply.tokens_cached or 0)
    tokens_in, tokens_out, cached = (have + more for have, more in zip(collected.tokens, found, strict=True))
    collected.tokens = tokens_in, tokens_out, cached
    if reply.error_kind is None:
        collected.answered += 1
    else:
        collected.failed[reply.error_kind] += 1
        sentences[reply.error_kind] = reply.error or ""


def _too_many(collected: Collected, sentences: dict[str, str], most_share: float) -> Reply | None:
    """Why sending stops, when too many lines failed: as online, of a hundred at least."""
    errors = collected.failed.total()
    lines = collected.answered + errors
    if most_share >= 1 or errors <= most_share * max(lines, WINDOW):
        return None
    told = ", ".join(f"{n} × {kind} ({sentences[kind]})" for kind, n in collected.failed.most_common(COMMONEST))
    return failed(ErrorKind.TOO_MANY_ERRORS, f"{errors:,} of {lines:,} requests of a batch failed: {told}")


def _refused(batch: Batch, key: str | None) -> Reply:
    """Why a file was refused as a whole: passing when it may be taken later as it is, else fatal."""
    errors = (batch.errors.data if batch.errors else None) or []
    codes = [error.code or "" for error in errors]
    kind = next((_REFUSED[code] for code in codes if code in _REFUSED), ErrorKind.BAD_REQUEST)
    told = "; ".join(f"{error.code}: {error.message}" for error in errors[:COMMONEST]) or "without a reason"
    if status_of(kind) == "passing":
        return failed(kind, scrub(f"refused for the moment: {told}", key))
    return Reply("fatal", error_kind=kind, error=scrub(f"batch {batch.id} was refused: {told}", key))
