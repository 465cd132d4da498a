"""Calls: CPU of a call beside the openai package's own client, throughput through Spark, memory over many calls.

The server is another process that answers with a fixed body; CPU seconds are the client's own.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import openai
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.benchmarks.processes import running
from tests.benchmarks.timing import interleaved, ratio, say, scaled
from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import GOOD, outcomes, request_rows, settings_for
from udfs.llm.budget import Budget
from udfs.llm.coordinator import Coordinator
from udfs.llm.openai_teacher import OpenAITeacher, wire_body
from udfs.llm.outcome import OUTCOME_DDL
from udfs.llm.requests import make_request
from udfs.llm.sender import send
from udfs.llm.teacher import Reply, Request

pytestmark = pytest.mark.bench
PROMPT = "The harbour report says that sample seven grew. " * 85  # 4 KB
AT_ONCE = 128


def numbered(count: int) -> list[str]:
    """Prompts of one size that differ."""
    return [f"{number:07d} {PROMPT}" for number in range(count)]


async def bounded(calls: int, one: Callable[[int], object]) -> None:
    """So many calls, AT_ONCE of them open."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def call(number: int) -> None:
        async with slots:
            await one(number)  # type: ignore[misc]

    await asyncio.gather(*(call(number) for number in range(calls)))


def test_cpu_of_a_call(tmp_path: Path) -> None:
    calls = scaled(4_000, 400)
    with FakeServer(static=GOOD) as server:
        settings = settings_for(server, api_key_env="", concurrency=AT_ONCE)
        requests = [make_request("type_label", {"examples": [text], "taken": []}, settings) for text in numbered(calls)]
        rows = request_rows(numbered(calls), settings)
        coordinator = Coordinator("127.0.0.1", 0, Budget(0, 0), settings.of, lambda line: None)

        def peer() -> None:
            async def run() -> None:
                async with openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0) as client:
                    bodies = [wire_body(request) for request in requests]
                    await bounded(calls, lambda n: client.chat.completions.create(**bodies[n]))

            asyncio.run(run())

        def teacher() -> None:
            async def run() -> None:
                ours = OpenAITeacher(settings)
                await bounded(calls, lambda n: ours.complete(requests[n]))
                await ours.aclose()

            asyncio.run(run())

        def whole(address: object = None) -> None:
            spool = tmp_path / str(time.monotonic_ns())
            run = send(settings, str(spool), "stage", spool.name, coordinator=address)  # type: ignore[arg-type]
            assert {row["status"] for row in outcomes(run(iter([rows]))).values()} == {"ok"}

        found = interleaved(
            {"peer": peer, "teacher": teacher, "send": whole, "limits": lambda: whole(coordinator.address)}
        )
        coordinator.close()
    each = {name: timed.warm_cpu / calls * 1e3 for name, timed in found.items()}
    say("calls", f"{calls} of 4 KB, {AT_ONCE} open; CPU a call: AsyncOpenAI {each['peer']:.3f} ms")
    for name, told in (
        ("teacher", "our client"),
        ("send", "whole task, spool included"),
        ("limits", "with a coordinator, both sides"),
    ):
        say("calls", f"  {told} {each[name]:.3f} ms, {ratio(each['peer'], each[name]):.1f} times less")


@pytest.mark.spark
def test_throughput_through_spark(spark: SparkSession, tmp_path: Path) -> None:
    calls, per_task, latency, slow = scaled(24_000, 2_000), 256, 0.5, 0.1
    with FakeServer(static=GOOD, latency=latency, slow_share=slow) as server:
        settings = settings_for(server, api_key_env="", concurrency=per_task, timeout_s=60.0)
        coordinator = Coordinator("127.0.0.1", 0, Budget(0, 0), settings.of, lambda line: None)
        rows = request_rows([f"{number} harbour" for number in range(calls)], settings)
        frame = spark.createDataFrame(pa.Table.from_batches([rows])).repartition(2).persist()
        frame.count()
        act = send(settings, str(tmp_path), "stage", "spark", coordinator=coordinator.address)
        began = time.monotonic()
        statuses = {row["status"] for row in frame.mapInArrow(act, OUTCOME_DDL).collect()}
        seconds = time.monotonic() - began
        most = server.most_in_flight()
        coordinator.close()
        frame.unpersist()
    assert statuses == {"ok"}
    ceiling = 2 * per_task / (latency * (1 + 9 * slow))
    reached = calls / seconds
    say("calls", f"{calls} through 2 tasks of {per_task}, 0.5 s, a tenth ten times slower: {reached:.0f} a second")
    say(
        "calls",
        f"  {reached / ceiling:.3f} of concurrency / mean latency ({ceiling:.0f} a second); {most} open at most",
    )


class AtOnce:
    """A teacher without a server."""

    async def complete(self, request: Request) -> Reply:
        """Answer well."""
        return Reply("ok", text=GOOD, tokens_in=1_000, tokens_out=5)


@pytest.mark.parametrize("where", ["over HTTP", "without a server"])
def test_memory_over_many_calls(tmp_path: Path, where: str) -> None:
    calls, chunk = scaled(100_000, 5_000), 500
    resident: list[int] = []

    with FakeServer(static=GOOD) as server:
        settings = settings_for(server, api_key_env="", concurrency=AT_ONCE)

        def batches() -> Iterator[pa.RecordBatch]:
            for number in range(calls // chunk):
                resident.append(running()[os.getpid()].resident)
                yield request_rows([f"{number * chunk + n} {PROMPT}" for n in range(chunk)], settings)

        coordinator = Coordinator("127.0.0.1", 0, Budget(0, 0), settings.of, lambda line: None)
        teacher = None if where == "over HTTP" else AtOnce()
        run = send(settings, str(tmp_path), "stage", tmp_path.name, teacher=teacher, coordinator=coordinator.address)
        answered = sum(batch.num_rows for batch in run(batches()))
        coordinator.close()
    assert answered == calls
    early, late = resident[len(resident) // 5], max(resident[-len(resident) // 5 :])
    say(
        "calls",
        f"{calls} calls {where}: {early / 2**20:.0f} MiB after a fifth of them, {late / 2**20:.0f} at the end",
    )
