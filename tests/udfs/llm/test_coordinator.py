"""One limit and one budget for all tasks: what the coordinator lets through, by the log of a real server."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import GOOD, Scripted, in_batches, outcomes, request_rows, settings_for, spooled
from tests.udfs.llm.windows import most_in_any_window
from udfs.llm.admission import NotAdmitted
from udfs.llm.budget import Budget
from udfs.llm.circuit import FORBIDDEN_BEFORE_OPENING
from udfs.llm.coordinator import Coordinator, Progress
from udfs.llm.requests import make_request
from udfs.llm.sender import send
from udfs.llm.shared_admission import SharedAdmission
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.llm.wire import Address
from udfs.settings import LlmSettings

REPOSITORY = Path(__file__).parents[3]
TASK = textwrap.dedent(
    """
    import json, sys
    from tests.udfs.llm.support import outcomes, request_rows
    from udfs.llm.sender import send
    from udfs.llm.wire import Address
    from udfs.settings import LlmSettings
    given = json.loads(sys.argv[1])
    settings = LlmSettings.model_validate(given["settings"])
    host, port, secret = given["address"]
    address = Address(host, port, bytes.fromhex(secret))
    run = send(settings, given["spool"], "stage", "killed", coordinator=address)
    outcomes(run(iter([request_rows(given["texts"], settings)])))
    """
)


@contextmanager
def coordinating(settings: LlmSettings) -> Iterator[Coordinator]:
    """A coordinator on this machine."""
    budget = Budget(settings.budget_calls, settings.budget_usd)
    coordinator = Coordinator("127.0.0.1", 0, budget, settings.of, lambda line: None)
    try:
        yield coordinator
    finally:
        coordinator.close()


def send_from_two(settings: LlmSettings, address: Address, spool: Path, rows: int) -> list[dict[str, Any]]:
    """Outcomes of two tasks that send at the same time, each over a connection of its own."""

    def task(name: str) -> list[dict[str, Any]]:
        texts = request_rows([f"{name} {number}" for number in range(rows)], settings)
        run = send(settings, str(spool), "stage", f"{name}-{spool.name}", coordinator=address)
        return list(outcomes(run(iter(in_batches(texts, 64)))).values())

    with ThreadPoolExecutor(2) as pool:
        return [row for found in pool.map(task, ("one", "two")) for row in found]


def start_task(settings: LlmSettings, address: Address, spool: Path, rows: int) -> subprocess.Popen[str]:
    """A sending task in a process of its own, to be killed."""
    given = {
        "settings": settings.model_dump(mode="json"),
        "address": [address.host, address.port, address.secret.hex()],
        "texts": [str(number) for number in range(rows)],
        "spool": str(spool),
    }
    return subprocess.Popen([sys.executable, "-c", TASK, json.dumps(given)], cwd=REPOSITORY, text=True)


@pytest.mark.parametrize(
    ("limit", "window", "least"),
    [
        ("requests", 5.0, 0.8),  # a busy machine holds replies up, but never lets a request too many through
        pytest.param("requests", 60.0, 0.9, marks=pytest.mark.faults),
        pytest.param("tokens", 60.0, 0.9, marks=pytest.mark.faults),
    ],
)
def test_one_limit_for_two_tasks_is_used_and_never_passed(
    tmp_path: Path, limit: str, window: float, least: float
) -> None:
    a_second = {"requests": 60, "tokens": 15_000}  # less than half of what 2 × 8 calls of 0.05 s could come to
    allowed = int(a_second[limit] * window)
    with FakeServer(lifetime=300, latency=0.05) as server:
        changes: dict[str, Any] = {f"{limit}_per_minute": allowed, "rate_window_s": window}
        settings = settings_for(server, api_key_env="", concurrency=8, **changes)
        with coordinating(settings) as coordinator:
            rows = send_from_two(settings, coordinator.address, tmp_path, int(60 * window * 0.8))
        assert {row["status"] for row in rows} == {"ok"}
        log = server.requests()
    most = dict(zip(("requests", "tokens"), most_in_any_window(log, window), strict=True))[limit]
    whole = {"requests": len(log), "tokens": sum(entry["usage"]["total_tokens"] for entry in log)}[limit]
    took = max(entry["start"] for entry in log) - min(entry["start"] for entry in log)
    used = whole / (allowed * took / window)
    print(f"{limit}: {used:.3f} of the limit over {took / window:.1f} windows; {most} of {allowed} at most in any")
    assert most <= allowed and used >= least


def test_a_budget_holds_where_a_server_does_not_meter(tmp_path: Path) -> None:
    """What was expected of a reply is what it counts for: no usage is not no cost."""
    with FakeServer(lifetime=60, unmetered=True) as server:
        prices = {"price_input": 1.0, "price_output": 2.0}
        settings = settings_for(
            server, api_key_env="", concurrency=4, max_tokens=200, budget_usd=0.01, tokens_per_minute=10**6, **prices
        )
        with coordinating(settings) as coordinator:
            rows = send_from_two(settings, coordinator.address, tmp_path, 60)
            spent = coordinator.budget.spent
        log = server.requests()
    assert 0 < len(log) < 120 and 0 < spent <= 0.01
    assert {row["error_kind"] for row in rows if row["status"] != "ok"} == {"budget"}


def told_of(coordinator: Coordinator, answered: int) -> Progress | None:
    """Progress once so many answers have arrived: the last one is told while its sender goes its way."""
    until = time.monotonic() + 10
    while (told := coordinator.progress("stage")) is None or told.answered < answered:
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return told


def test_what_the_ledger_and_the_cache_saved_is_told(tmp_path: Path) -> None:
    """The second draw on a long text finds its prompt cached: it costs less than its tokens would."""
    with FakeServer() as server:
        prices = {"price_input": 10.0, "price_output": 10.0, "price_cached": 1.0}
        settings = settings_for(server, api_key_env="", concurrency=1, **prices)
        with coordinating(settings) as coordinator:
            coordinator.expect("stage", 2, served=7, saved=1.25)
            draws = [settings.model_copy(update={"seed": seed}) for seed in (1, 2)]
            texts = [request_rows(["rice " * 4_000], draw) for draw in draws]
            run = send(settings, str(tmp_path), "stage", tmp_path.name, coordinator=coordinator.address)
            assert [row["status"] for row in outcomes(run(iter(texts))).values()] == ["ok", "ok"]
            told = told_of(coordinator, answered=2)
    assert told is not None and (told.served, told.saved_ledger, told.answered) == (7, 1.25, 2)
    assert told.tokens_cached > 4_000
    assert told.saved_cache == pytest.approx(told.tokens_cached * 9.0 / 1e6)
    assert told.usd == pytest.approx((told.tokens_in + told.tokens_out) * 10.0 / 1e6 - told.saved_cache)


def test_limits_are_taken_from_headers(tmp_path: Path) -> None:
    with FakeServer(lifetime=60, grants={"requests": 60}) as server:
        settings = settings_for(server, api_key_env="", concurrency=2, rate_window_s=2.0)
        with coordinating(settings) as coordinator:
            run = send(settings, str(tmp_path), "stage", tmp_path.name, coordinator=coordinator.address)
            outcomes(run(iter([request_rows([str(n) for n in range(90)], settings)])))
        log = server.requests()
    assert most_in_any_window(log[2:], 2.0)[0] <= 60, "the first two went before any reply had told"
    assert max(entry["start"] for entry in log) - min(entry["start"] for entry in log) >= 2.0


@pytest.mark.parametrize(("budget", "least"), [({"budget_calls": 40}, 40), ({"budget_usd": 0.01}, 1)])
def test_a_budget_stops_all_tasks_and_keeps_what_was_in_flight(
    tmp_path: Path, budget: dict[str, Any], least: int
) -> None:
    with FakeServer(lifetime=60, latency=0.05) as server:
        prices = {"price_input": 1.0, "price_output": 2.0}
        settings = settings_for(server, api_key_env="", concurrency=4, max_tokens=200, **prices, **budget)
        with coordinating(settings) as coordinator:
            rows = send_from_two(settings, coordinator.address, tmp_path, 60)
            spent, told = coordinator.budget.spent, coordinator.progress("stage")
            assert coordinator.progress("another") is None
        log = server.requests()
    stopped = [row for row in rows if row["error_kind"] == "budget"]
    answered = [row for row in rows if row["status"] == "ok"]
    assert len(answered) + len(stopped) == 120 and len(log) == len(answered) == len(spooled(str(tmp_path)))
    assert least <= len(answered) < 120
    assert told is not None and told.answered == len(answered) and told.usd == pytest.approx(spent)
    assert all(next(iter(budget)) in row["error"] for row in stopped)
    if "budget_calls" in budget:
        assert len(answered) == 40
    else:
        usage = [entry["usage"] for entry in log]
        paid = sum(u["prompt_tokens"] * 1.0 + u["completion_tokens"] * 2.0 for u in usage) / 1e6
        assert spent == pytest.approx(paid) and paid <= 0.01
        assert 0.01 - paid <= 8 * paid / len(log), "within one call of each worker"


def test_a_circuit_that_opened_in_one_task_stops_the_other(tmp_path: Path) -> None:
    request = make_request("type_label", {"examples": ["x"], "taken": []}, LlmSettings())

    async def two_tasks(address: Address) -> Reply:
        one, other = (SharedAdmission(address, "stage", 4) for _ in range(2))
        one.leave(await one.enter(request), failed(ErrorKind.QUOTA, "no money left", seconds=0.1))
        await asyncio.sleep(0.05)
        with pytest.raises(NotAdmitted) as refused:
            await other.enter(request)
        one.close()
        other.close()
        return refused.value.reply

    with coordinating(LlmSettings()) as coordinator:
        reply = asyncio.run(two_tasks(coordinator.address))
    assert (reply.status, reply.error_kind, reply.error) == ("fatal", "quota", "no money left")


def test_a_key_that_was_taken_back_is_noticed_for_all_tasks_together() -> None:
    """By none of them alone, and though calls that were sent before are still answered."""
    request = make_request("type_label", {"examples": ["x"], "taken": []}, LlmSettings())
    forbidden = failed(ErrorKind.FORBIDDEN, "HTTP 403: forbidden", seconds=0.1)

    async def many_tasks(address: Address) -> Reply:
        tasks = [SharedAdmission(address, "stage", 4) for _ in range(FORBIDDEN_BEFORE_OPENING)]
        earlier = [await task.enter(request) for task in tasks]
        for task in tasks[1:]:
            task.leave(await task.enter(request), forbidden)
        for task, permit in zip(tasks, earlier, strict=True):
            task.leave(permit, Reply("ok", text=GOOD, tokens_in=1, tokens_out=1, seconds=0.1))
        await asyncio.sleep(0.05)
        tasks[0].leave(await tasks[0].enter(request), forbidden)
        await asyncio.sleep(0.05)
        with pytest.raises(NotAdmitted) as refused:
            await tasks[1].enter(request)
        for task in tasks:
            task.close()
        return refused.value.reply

    with coordinating(LlmSettings(max_error_share=1.0)) as coordinator:
        coordinator.expect("stage", 100, proven=True)
        reply = asyncio.run(many_tasks(coordinator.address))
    assert (reply.status, reply.error_kind) == ("fatal", "forbidden")


def test_a_task_that_was_killed_gives_its_place_back(tmp_path: Path) -> None:
    with FakeServer(lifetime=60, latency=30.0) as server:
        settings = settings_for(server, api_key_env="", concurrency=4, budget_calls=10)
        with coordinating(settings) as coordinator:
            task = start_task(settings, coordinator.address, tmp_path, 4)
            while len(server.requests()) < 4:
                time.sleep(0.05)
            assert coordinator.budget.in_flight == 4
            task.kill()
            task.communicate()
            deadline = time.monotonic() + 10
            while coordinator.budget.in_flight:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert coordinator.budget.sent == 4, "they were sent, and count"


def test_nothing_is_sent_once_the_coordinator_is_gone(tmp_path: Path) -> None:
    settings = LlmSettings(concurrency=2)
    with coordinating(settings) as coordinator:

        async def script(request: Request) -> Reply:
            if len(teacher.asked) == 10:
                coordinator.close()
            await asyncio.sleep(0.01)
            return Reply("ok", text=GOOD, tokens_in=1, tokens_out=1)

        teacher = Scripted(script)
        run = send(settings, str(tmp_path), "s", tmp_path.name, teacher=teacher, coordinator=coordinator.address)
        found = outcomes(run(iter(in_batches(request_rows([str(n) for n in range(200)]), 8))))
    assert len(found) == 200 and len(teacher.asked) <= 10 + 2
    lost = [row for row in found.values() if row["status"] == "fatal"]
    assert {row["error_kind"] for row in lost} == {"not_admitted"} and "is gone" in lost[0]["error"]
    assert len(spooled(str(tmp_path))) == len(teacher.asked), "what was in flight is kept"


def test_a_coordinator_that_cannot_be_reached_and_one_that_does_not_know_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udfs.llm.shared_admission.BETWEEN_S", 0.01)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Address("127.0.0.1", free.getsockname()[1], b"s")
    request = make_request("type_label", {"examples": ["x"], "taken": []}, LlmSettings())

    async def refused(address: Address) -> Reply:
        admission = SharedAdmission(address, "stage", 4)
        with pytest.raises(NotAdmitted) as caught:
            await asyncio.wait_for(admission.enter(request), 10)
        admission.close()
        return caught.value.reply

    async def left_open(address: Address) -> None:
        await SharedAdmission(address, "stage", 4).enter(request)

    with coordinating(LlmSettings()) as coordinator:
        asyncio.run(left_open(coordinator.address))
        for address in (nobody, replace(coordinator.address, secret=b"guessed")):
            reply = asyncio.run(refused(address))
            assert (reply.status, reply.error_kind) == ("fatal", ErrorKind.NOT_ADMITTED)
        assert "guessed" not in repr(address) and coordinator.address.secret.hex() not in repr(coordinator.address)
