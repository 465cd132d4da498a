"""A task's side of the coordinator: asks for leave and tells what came of it, many calls in one line.

When the coordinator cannot be reached, or falls silent, nothing is admitted any more: never a call too many, and
never a wait without an end.
"""

from __future__ import annotations

import asyncio
from asyncio import Future, StreamReader, StreamWriter
from dataclasses import replace
from typing import Any

import orjson

from udfs.llm.admission import NotAdmitted
from udfs.llm.requests import reply_limit
from udfs.llm.teacher import ErrorKind, Limits, Reply, Request, failed
from udfs.llm.wire import BEAT_S, LONGEST_LINE, SILENCE_S, Address, proof

GATHER_S = 0.002  # asks and results of so long go in one line
TRIES, BETWEEN_S = 3, 1.0  # to reach the coordinator


class SharedAdmission:
    """Admission by the run's coordinator, for one task; all but the constructor runs on one event loop."""

    def __init__(self, address: Address, stage: str, room: int) -> None:
        self._address, self._stage, self._room = address, stage, room
        self._connecting: asyncio.Task[None] | None = None
        self._writer: StreamWriter | None = None
        self._background: list[asyncio.Task[None]] = []
        self._numbers = 0
        self._waiting: dict[int, Future[int]] = {}
        self._asks: list[tuple[int, int, int]] = []
        self._done: list[tuple[Any, ...]] = []
        self._limits: Limits | None = None
        self._new_limits = self._gathering = False
        self._lost: Reply | None = None

    async def enter(self, request: Request) -> int:
        """See Admission."""
        if self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())
        await asyncio.shield(self._connecting)
        if self._lost is not None:
            raise NotAdmitted(self._lost)
        self._numbers += 1
        number, chars = self._numbers, sum(len(message["content"]) for message in request.messages)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        self._asks.append((number, chars, reply_limit(request.parameters)))
        self._gather()
        return await self._waiting[number]

    def leave(self, permit: int, reply: Reply) -> None:
        """See Admission."""
        if reply.limits is not None and reply.limits != self._limits:
            self._limits, self._new_limits = reply.limits, True
        metered = (reply.tokens_in, reply.tokens_out, reply.tokens_cached)
        self._done.append((permit, reply.error_kind, reply.error, reply.seconds, metered, reply.retry_after))
        self._gather()

    def close(self) -> None:
        """See Admission."""
        self._send()
        for task in self._background:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _connect(self) -> None:
        """Reach the coordinator and prove who we are; what goes wrong is kept in `_lost`."""
        where = f"{self._address.host}:{self._address.port}"
        error: Exception = OSError("no try was made")
        for attempt in range(TRIES):
            try:
                reader, writer = await asyncio.wait_for(self._open(), SILENCE_S)
            except (OSError, TimeoutError, ValueError) as fault:
                error = fault
                await asyncio.sleep(BETWEEN_S if attempt + 1 < TRIES else 0)
                continue
            self._writer = writer
            self._background = [asyncio.ensure_future(self._listen(reader)), asyncio.ensure_future(self._beat())]
            return
        self._lose(f"the coordinator of calls at {where} cannot be reached ({error})")

    async def _open(self) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await asyncio.open_connection(self._address.host, self._address.port, limit=LONGEST_LINE)
        nonce = orjson.loads(await reader.readline())["nonce"]
        hello = {"proof": proof(self._address.secret, nonce), "stage": self._stage, "room": self._room}
        writer.write(orjson.dumps(hello) + b"\n")
        if not await reader.readline():
            writer.close()
            raise OSError("it does not take this run's secret")
        return reader, writer

    async def _listen(self, reader: StreamReader) -> None:
        """Take answers until there are no more."""
        told = "it closed the connection"
        try:
            while line := await asyncio.wait_for(reader.readline(), SILENCE_S):
                message = orjson.loads(line)
                for number in message.get("go", ()):
                    self._answer(number).set_result(number)
                for number, status, kind, sentence in message.get("no", ()):
                    reply = replace(failed(ErrorKind(kind), sentence), status=status)
                    self._answer(number).set_exception(NotAdmitted(reply))
        except TimeoutError:
            told = "it fell silent"
        except (OSError, ValueError) as error:
            told = str(error)
        self._lose(f"the coordinator of calls at {self._address.host}:{self._address.port} is gone ({told})")

    def _answer(self, number: int) -> Future[int]:
        """The future that waits for an answer; one that was given up meanwhile is replaced."""
        future = self._waiting.pop(number)
        return asyncio.get_running_loop().create_future() if future.done() else future

    async def _beat(self) -> None:
        while self._writer is not None and self._lost is None:
            await asyncio.sleep(BEAT_S)
            self._writer.write(b"{}\n")

    def _gather(self) -> None:
        if not self._gathering:
            self._gathering = True
            asyncio.get_running_loop().call_later(GATHER_S, self._send)

    def _send(self) -> None:
        """One line with all that has come together."""
        self._gathering = False
        message: dict[str, Any] = {}
        if self._new_limits:
            message["limits"], self._new_limits = tuple(self._limits or ()), False
        if self._done:
            message["done"], self._done = self._done, []
        if self._asks:
            message["ask"], self._asks = self._asks, []
        if message and self._writer is not None and not self._writer.is_closing():
            try:
                self._writer.write(orjson.dumps(message) + b"\n")
            except (OSError, TypeError) as error:
                self._lose(f"the coordinator of calls cannot be told what was done ({error})")

    def _lose(self, sentence: str) -> None:
        """From here on nothing is admitted."""
        self._lost = replace(failed(ErrorKind.NOT_ADMITTED, sentence), status="fatal")
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(NotAdmitted(self._lost))
