"""The coordinator of a run's calls: all tasks ask it before they send, so that there is one limit and one budget.

It runs in the driver, in a thread with a loop of its own, and speaks lines of JSON over TCP with whoever can prove that
it knows the run's secret. Should it be gone, nobody sends any more.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event, Thread

import orjson

from udfs.llm.budget import Budget
from udfs.llm.circuit import Circuit
from udfs.llm.expectation import Expectation
from udfs.llm.gate import Gate, Permit
from udfs.llm.prices import Price, price_of
from udfs.llm.progress import Progress
from udfs.llm.teacher import ErrorKind, Limits, Reply, failed
from udfs.llm.wire import LONGEST_LINE, SILENCE_S, Address, proof
from udfs.settings import LlmSettings

START_S = 30.0
REPORT_S = 30.0  # between two lines of progress
_MAYBE_BILLED = frozenset({ErrorKind.TIMEOUT, ErrorKind.CONNECTION})


@dataclass
class _Stage:
    """What is known of a stage's calls."""

    name: str
    gate: Gate[_Ask]
    circuit: Circuit
    price: Price | None
    expectation: Expectation = field(default_factory=Expectation)
    progress: Progress = field(default_factory=Progress)


@dataclass(eq=False)
class _Client:
    """One task at the other end of a connection."""

    writer: StreamWriter
    stage: _Stage
    room: int
    open: dict[int, _Open] = field(default_factory=dict)
    granted: list[int] = field(default_factory=list)
    refused: list[tuple[int, str, str, str]] = field(default_factory=list)
    gone: bool = False


@dataclass
class _Ask:
    """A request that waits for its permit."""

    client: _Client
    number: int
    chars: int
    max_tokens: int


@dataclass
class _Open:
    """A try under way, and what it was expected to come to."""

    permit: Permit
    sent: int  # its number among the tries of its stage
    chars: int
    tokens: int
    usd: float


class Coordinator:
    """`settings_of(stage)` gives the endpoint of a stage; the budget is of all stages together.

    Made on `host` (the driver's address, as executors see it); `say` gets lines of progress. Raises OSError when it
    cannot listen there.
    """

    def __init__(
        self,
        host: str,
        port: int,
        budget: Budget,
        settings_of: Callable[[str], LlmSettings],
        say: Callable[[str], None],
    ) -> None:
        self.budget = budget
        self._settings_of, self._say = settings_of, say
        self._secret = secrets.token_bytes(32)
        self._gates: dict[tuple[str, str], Gate[_Ask]] = {}
        self._stages: dict[str, _Stage] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._listening = _listen(host, port)
        self.address = Address(host, self._listening.getsockname()[1], self._secret)
        self._loop = asyncio.new_event_loop()
        started = Event()
        self._thread = Thread(target=self._run, args=(started,), name="longloom-coordinator", daemon=True)
        self._thread.start()
        if not started.wait(START_S):
            raise OSError(f"the coordinator of calls did not start on {host}")

    def expect(self, stage: str, calls: int, served: int = 0, saved: float = 0.0, proven: bool = False) -> None:
        """So many further calls are about to be made for a stage; the ledger served others, which had cost `saved`.

        `proven` where it holds answers to requests with the same parameters.
        """

        def note() -> None:
            if proven:
                self._stage(stage).circuit.prove()
            progress = self._stage(stage).progress
            progress.expected = progress.answered + calls
            progress.served += served
            progress.saved_ledger += saved

        self._loop.call_soon_threadsafe(note)

    def progress(self, stage: str) -> Progress | None:
        """How far the calls of a stage are at this moment; None before its first."""
        found = self._stages.get(stage)
        return None if found is None else replace(found.progress)

    def close(self) -> None:
        """Stop listening and end; may be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    # -- on the loop's thread -----------------------------------------------------------------------------

    def _run(self, started: Event) -> None:
        asyncio.set_event_loop(self._loop)
        serving = asyncio.start_server(self._serve, sock=self._listening, limit=LONGEST_LINE)
        server = self._loop.run_until_complete(serving)
        self._loop.call_later(REPORT_S, self._report, {})
        self._loop.call_soon(started.set)
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0.01))  # for the connections to close, or clients would wait
        self._loop.close()

    def _stage(self, name: str) -> _Stage:
        if name not in self._stages:
            llm = self._settings_of(name)
            gate = self._gates.setdefault(
                (llm.base_url, llm.model), Gate(llm.requests_per_minute, llm.tokens_per_minute, llm.rate_window_s)
            )
            self._stages[name] = _Stage(name, gate, Circuit(llm.max_error_share), price_of(llm))
        return self._stages[name]

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """One client, from its proof to its end; what it leaves open counts as sent."""
        client = None
        try:
            client = await self._welcome(reader, writer)
            if client is not None:
                await self._listen_to(client, reader)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # a client that died, one that is none of ours, or the end of the run
        finally:
            if client is not None:
                self._lose(client)
            writer.close()

    async def _welcome(self, reader: StreamReader, writer: StreamWriter) -> _Client | None:
        nonce = secrets.token_hex(16)
        writer.write(orjson.dumps({"nonce": nonce}) + b"\n")
        hello = orjson.loads(await asyncio.wait_for(reader.readline(), SILENCE_S))
        if not hmac.compare_digest(str(hello["proof"]), proof(self._secret, nonce)):
            return None
        client = _Client(writer, self._stage(str(hello["stage"])), int(hello["room"]))
        client.stage.gate.open_calls.most += client.room
        writer.write(b"{}\n")
        return client

    async def _listen_to(self, client: _Client, reader: StreamReader) -> None:
        while line := await asyncio.wait_for(reader.readline(), SILENCE_S):
            message = orjson.loads(line)
            if not message:
                client.writer.write(b"{}\n")
                continue
            now = self._loop.time()
            if "limits" in message:
                client.stage.gate.told(Limits(*message["limits"]))
            for done in message.get("done", ()):
                self._ended(now, client, *done)
            for number, chars, max_tokens in message.get("ask", ()):
                client.stage.gate.waiting.append(_Ask(client, number, chars, max_tokens))
            self._let_through()

    def _ended(
        self,
        now: float,
        client: _Client,
        number: int,
        kind: str | None,
        error: str | None,
        seconds: float | None,
        metered: tuple[int | None, int | None, int | None],
        retry_after: float | None,
    ) -> None:
        """One try has come to an end."""
        was, stage = client.open.pop(number), client.stage
        tokens_in, tokens_out, cached = metered
        fault = None if kind is None else ErrorKind(kind)
        stage.expectation.learn(was.chars, tokens_in, tokens_out)
        if tokens_in is not None or (fault is not None and fault not in _MAYBE_BILLED):
            tokens = (tokens_in or 0) + (tokens_out or 0)
            usd = stage.price.cost(tokens_in or 0, tokens_out or 0, cached or 0) if stage.price else 0.0
        else:
            tokens, usd = was.tokens, was.usd  # worked on, perhaps, by a server that did not say for how much
        # A request that was refused counts against the minute's tokens all the same at some servers.
        stage.gate.leave(now, was.permit, stage.name, fault, seconds, max(tokens, 1), retry_after)
        self.budget.leave(was.usd, usd)
        again = fault == ErrorKind.RATE_LIMITED  # whether it is tried again is decided by who sends
        stage.circuit.judge(Reply("ok") if fault is None else failed(fault, error or ""), was.sent, again)
        progress = stage.progress
        progress.answered += fault is None
        progress.tokens_in += tokens_in or 0
        progress.tokens_out += tokens_out or 0
        progress.tokens_cached += cached or 0
        progress.usd += usd
        if stage.price is not None and cached:
            progress.saved_cache += stage.price.cost(tokens_in or 0, tokens_out or 0) - usd

    def _lose(self, client: _Client) -> None:
        """A client is gone: its calls are no longer open, and nobody will tell what they came to."""
        client.gone = True
        stage, now = client.stage, self._loop.time()
        for was in client.open.values():
            stage.gate.leave(now, was.permit, stage.name, None, None, None)
            self.budget.leave(was.usd, was.usd)
        client.open.clear()
        stage.gate.open_calls.most -= client.room
        self._let_through()

    def _let_through(self) -> None:
        """Answer whoever waits and can be answered now."""
        served: set[_Client] = set()
        for number, gate in enumerate(self._gates.values()):
            timer = self._timers.pop(number, None)
            if timer is not None:
                timer.cancel()
            while gate.waiting:
                ask = gate.waiting[0]
                wait = 0.0 if ask.client.gone else self._answer(gate, ask)
                if wait is None:
                    break  # until a call ends
                if wait > 0:
                    self._timers[number] = self._loop.call_later(wait, self._let_through)
                    break
                gate.waiting.popleft()
                served.add(ask.client)
        for client in served:
            if not client.gone:
                client.writer.write(orjson.dumps({"go": client.granted, "no": client.refused}) + b"\n")
                client.granted, client.refused = [], []

    def _answer(self, gate: Gate[_Ask], ask: _Ask) -> float | None:
        """0 when the request was let through or refused, else seconds to wait; None: until another call ends."""
        client, stage, now = ask.client, ask.client.stage, self._loop.time()
        opened_by = stage.circuit.opened_by
        if opened_by is not None:
            client.refused.append((ask.number, opened_by.status, str(opened_by.error_kind), opened_by.error or ""))
            return 0.0
        tokens_in = stage.expectation.tokens_in(ask.chars)
        tokens_out = stage.expectation.tokens_out(ask.max_tokens)
        usd = stage.price.cost(tokens_in, tokens_out) if stage.price else 0.0
        verdict = self.budget.verdict(usd)
        if verdict == "stop":
            client.refused.append((ask.number, "passing", str(ErrorKind.BUDGET), self.budget.used_up or ""))
            return 0.0
        ready = None if verdict == "wait" else gate.ready_at(now, tokens_in + tokens_out)
        if ready is None:
            return None
        if ready > now:
            return ready - now
        permit = gate.enter(now, tokens_in + tokens_out)
        sent = stage.circuit.asked()
        self.budget.enter(usd)
        client.open[ask.number] = _Open(permit, sent, ask.chars, tokens_in + tokens_out, usd)
        client.granted.append(ask.number)
        return 0.0

    def _report(self, before: dict[str, int]) -> None:
        """A line for every stage whose calls went on since the last one."""
        for stage in self._stages.values():
            if stage.progress.answered > before.get(stage.name, 0):
                self._say(stage.progress.line(stage.name, stage.price))
        answered = {stage.name: stage.progress.answered for stage in self._stages.values()}
        self._loop.call_later(REPORT_S, self._report, answered)


def _listen(host: str, port: int) -> socket.socket:
    """A socket on the host's address, or on all of this machine where that is a name from outside (containers)."""
    for place in (host, ""):
        with suppress(OSError):
            return socket.create_server((place, port))
    raise OSError(f"nothing can listen on port {port} of {host}; choose another llm.coordinator_port")
