"""Sending without Spark: the window slides, nothing is reported before it is kept, faults end as written."""

from __future__ import annotations

import asyncio
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.udfs.llm.support import (
    GOOD,
    Scripted,
    in_batches,
    outcomes,
    request_rows,
    spooled,
    text_of,
    with_known_text,
)
from udfs.llm.circuit import BAD_REQUESTS_BEFORE_OPENING, FORBIDDEN_BEFORE_OPENING
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import LONGEST_CHAIN, OUTCOMES_PER_BATCH, send
from udfs.llm.spool import SpoolUnavailable
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.settings import LlmSettings

AT_ONCE = RetryPolicy(first_wait=0.001, longest_wait=1.0)


def new_run() -> str:
    """A run id of its own: circuits are kept by run and stage."""
    return f"run-{uuid.uuid4().hex[:8]}"


def sent(teacher: Any, rows: pa.RecordBatch, spool: Path, size: int = 7, **more: Any) -> dict[str, Any]:
    """Outcomes of sending all rows."""
    options = {"policy": AT_ONCE, "settings": LlmSettings(concurrency=4), "run_id": new_run(), **more}
    run = send(options.pop("settings"), str(spool), "stage", teacher=teacher, **options)
    return outcomes(run(iter(in_batches(rows, size))))


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for something that another thread brings about."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def good(_: Request) -> Reply:
    """Answer well."""
    await asyncio.sleep(0)
    return Reply("ok", text=GOOD)


def test_window_slides_across_batches_and_one_slow_call_stalls_nobody(tmp_path: Path) -> None:
    others_done = asyncio.Event()
    done: list[str] = []

    async def script(request: Request) -> Reply:
        if text_of(request) == "0":
            await asyncio.wait_for(others_done.wait(), timeout=20)  # a gather per batch would wait for ever
        await asyncio.sleep(0.005)
        done.append(text_of(request))
        if len(done) == 39:
            others_done.set()
        return Reply("ok", text=GOOD)

    teacher = Scripted(script)
    found = sent(teacher, request_rows([str(n) for n in range(40)]), tmp_path, size=2)
    assert {row["status"] for row in found.values()} == {"ok"} and len(found) == 40
    assert teacher.most_in_flight == 4 and done[-1] == "0" and len(teacher.asked) == 40


def test_rows_are_taken_only_when_a_slot_is_free(tmp_path: Path) -> None:
    taken: list[int] = []
    ahead: list[int] = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number, batch in enumerate(in_batches(request_rows([str(n) for n in range(60)]), 1)):
            taken.append(number)
            yield batch

    async def script(_: Request) -> Reply:
        await asyncio.sleep(0.01)
        ahead.append(len(taken) - len(ahead))
        return Reply("ok", text=GOOD)

    run = send(LlmSettings(concurrency=3), str(tmp_path), "s", new_run(), teacher=Scripted(script), policy=AT_ONCE)
    assert len(outcomes(run(batches()))) == 60
    assert max(ahead) <= 3 + 1


def test_nothing_is_reported_before_it_is_kept(tmp_path: Path) -> None:
    rows = request_rows([str(n) for n in range(300)])
    run = send(LlmSettings(concurrency=16), str(tmp_path), "s", new_run(), teacher=Scripted(good))
    reported = 0
    for batch in run(iter([rows])):
        kept = {row["key"] for row in spooled(str(tmp_path))}
        assert set(batch.column("key").to_pylist()) <= kept
        reported += batch.num_rows
    assert reported == 300


def test_calls_on_one_document_follow_each_other(tmp_path: Path) -> None:
    running: dict[str, int] = {}

    async def script(request: Request) -> Reply:
        document = text_of(request)[0]
        running[document] = running.get(document, 0) + 1
        assert running[document] == 1
        await asyncio.sleep(0.002)
        running[document] -= 1
        return Reply("ok", text=GOOD)

    texts = [f"{document}{number}" for document in "abcde" for number in range(6)]
    teacher = Scripted(script)
    rows = request_rows(texts, documents=[text[0] for text in texts])
    found = sent(teacher, rows, tmp_path, size=4)
    assert {row["status"] for row in found.values()} == {"ok"}
    for document in "abcde":
        assert [text for text in teacher.asked if text[0] == document] == [f"{document}{n}" for n in range(6)]
    assert teacher.most_in_flight == 4


def test_a_document_with_very_many_calls_is_cut_into_chains(tmp_path: Path) -> None:
    async def script(_: Request) -> Reply:
        await asyncio.sleep(0.002)
        return Reply("ok", text=GOOD)

    texts = [str(number) for number in range(2 * LONGEST_CHAIN)]
    teacher = Scripted(script)
    sent(teacher, request_rows(texts, documents=["d"] * len(texts)), tmp_path)
    assert teacher.most_in_flight == 2 and sorted(teacher.asked) == sorted(texts)


def test_passing_faults_are_tried_again_and_then_reported(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        kind, failures = text_of(request).split("*")
        if teacher.asked.count(text_of(request)) <= int(failures):
            return failed(ErrorKind(kind), "passing")
        return Reply("ok", text=GOOD)

    teacher = Scripted(script)
    texts = ["rate_limited*3", "rate_limited*4", "server*2", "server*3", "timeout*1", "timeout*2"]
    found = sent(teacher, request_rows(texts), tmp_path)
    assert [row["status"] for row in found.values()].count("ok") == 3
    failures = {row["error_kind"] for row in found.values() if row["status"] == "passing"}
    assert failures == {"rate_limited", "server", "timeout"}
    assert [teacher.asked.count(text) for text in texts] == [4, 4, 3, 3, 2, 2]
    assert len(spooled(str(tmp_path))) == 6  # a call is recorded once, with what came of it in the end


@pytest.mark.parametrize(("second", "status"), [(GOOD, "ok"), ("still no JSON", "lasting")])
def test_a_reply_that_does_not_fit_gets_one_more_turn(tmp_path: Path, second: str, status: str) -> None:
    async def script(request: Request) -> Reply:
        return Reply("ok", text="no JSON" if len(request.messages) == 2 else second, tokens_in=5)

    teacher = Scripted(script)
    ((key, row),) = sent(teacher, request_rows(["a"]), tmp_path).items()
    assert (row["status"], row["error_kind"]) == (status, None if status == "ok" else "bad_json")
    first, turn = spooled(str(tmp_path))
    assert (first["key"], first["parent_key"], first["status"], first["text"]) == (key, None, "ok", "no JSON")
    assert (turn["parent_key"], turn["status"], turn["text"]) == (key, status, second)
    assert turn["key"] != key and turn["tokens_in"] == 5 and len(teacher.asked) == 2


def test_known_text_asks_for_the_correction_only(tmp_path: Path) -> None:
    lengths: list[int] = []

    async def script(request: Request) -> Reply:
        lengths.append(len(request.messages))
        return Reply("ok", text=GOOD)

    rows = request_rows(["a", "b"])
    key = rows.column("key").to_pylist()[0]
    found = sent(Scripted(script), with_known_text(rows, {key: "old reply"}), tmp_path)
    assert {row["status"] for row in found.values()} == {"ok"}
    assert sorted(lengths) == [2, 4]
    assert [row["parent_key"] for row in spooled(str(tmp_path)) if row["parent_key"]] == [key]


def test_a_fatal_fault_stops_sending_at_once(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        await asyncio.sleep(0.005)
        if int(text_of(request)) == 10:
            return failed(ErrorKind.QUOTA, "no money left")
        return Reply("ok", text=GOOD)

    teacher, run_id = Scripted(script), new_run()
    rows = request_rows([str(n) for n in range(100)])
    found = sent(teacher, rows, tmp_path, run_id=run_id)
    assert len(found) == 100 and len(teacher.asked) <= 10 + 2 * 4
    fatal = [row for row in found.values() if row["status"] == "fatal"]
    assert {(row["error_kind"], row["error"]) for row in fatal} == {("quota", "no money left")}
    assert len(spooled(str(tmp_path))) == len(teacher.asked)  # what was in flight is kept
    other = Scripted(good)  # another task of the same stage, in the same process
    again = sent(other, request_rows(["x", "y"]), tmp_path, run_id=run_id)
    assert {row["status"] for row in again.values()} == {"fatal"} and other.asked == []


def test_requests_that_are_all_refused_stop_the_run_and_reject_no_row(tmp_path: Path) -> None:
    async def script(_: Request) -> Reply:
        return failed(ErrorKind.BAD_REQUEST, "unknown parameter")

    teacher = Scripted(script)
    found = sent(teacher, request_rows([str(n) for n in range(50)]), tmp_path)
    assert {row["status"] for row in found.values()} == {"passing", "fatal"}
    assert BAD_REQUESTS_BEFORE_OPENING <= len(teacher.asked) <= BAD_REQUESTS_BEFORE_OPENING + 4


def test_one_refused_request_among_good_ones_is_a_fault_of_its_row(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        if text_of(request) == "5":
            return failed(ErrorKind.BAD_REQUEST, "odd row")
        return Reply("ok", text=GOOD)

    found = sent(
        Scripted(script),
        request_rows([str(n) for n in range(10)]),
        tmp_path,
        settings=LlmSettings(concurrency=1),
    )
    assert sorted(row["status"] for row in found.values()) == ["lasting"] + ["ok"] * 9


def test_rows_that_a_firewall_does_not_like_are_rejected_and_the_others_go_on(tmp_path: Path) -> None:
    """Its refusals are quick, and come together where the rows are those of one document."""
    few = FORBIDDEN_BEFORE_OPENING - 1

    async def script(request: Request) -> Reply:
        if int(text_of(request)) < 2 * few:
            return failed(ErrorKind.FORBIDDEN, "HTTP 403: forbidden")
        await asyncio.sleep(0.01)
        return Reply("ok", text=GOOD)

    texts = [str(number) for number in (*range(few), *range(100, 140), *range(few, 2 * few))]
    teacher = Scripted(script)
    found = sent(teacher, request_rows(texts), tmp_path, proven=True)
    assert {(row["status"], row["error_kind"]) for row in found.values()} == {("ok", None), ("lasting", "forbidden")}
    assert sum(row["status"] == "lasting" for row in found.values()) == 2 * few and len(teacher.asked) == len(texts)
    alone = sent(Scripted(script), request_rows(texts[:few]), tmp_path, proven=True)
    assert {row["status"] for row in alone.values()} == {"lasting"}, "and a run of nothing else goes on as well"


def test_a_key_that_is_taken_back_stops_the_run_and_costs_few_rows(tmp_path: Path) -> None:
    """Answers to what was sent before still come in meanwhile."""

    async def script(request: Request) -> Reply:
        if len(teacher.asked) > 60:
            return failed(ErrorKind.FORBIDDEN, "HTTP 403: forbidden")
        await asyncio.sleep(0.05 + 0.002 * (int(text_of(request)) % 20))
        return Reply("ok", text=GOOD)

    teacher = Scripted(script)
    settings = LlmSettings(concurrency=20, max_error_share=1.0)
    found = sent(teacher, request_rows([str(number) for number in range(400)]), tmp_path, settings=settings)
    states = [row["status"] for row in found.values()]
    assert states.count("ok") == 60 and states.count("lasting") < FORBIDDEN_BEFORE_OPENING
    assert states.count("fatal") == 400 - 60 - states.count("lasting") and len(teacher.asked) < 60 + 60


def test_what_cannot_fit_is_rejected_unsent(tmp_path: Path) -> None:
    settings = LlmSettings(context_tokens=3_000, max_tokens=1_000, concurrency=2)
    teacher = Scripted(good)
    rows = request_rows(["short", "long " * 4_000], settings)
    found = sent(teacher, rows, tmp_path, settings=settings, chars_per_token=4.0)
    assert teacher.asked == ["short"]
    (rejected,) = [row for row in found.values() if row["status"] == "lasting"]
    assert rejected["error_kind"] == "context_too_long" and "the context holds 3000" in rejected["error"]
    assert {row["status"] for row in spooled(str(tmp_path))} == {"ok", "lasting"}


def test_a_teacher_that_raises_costs_a_row_and_not_the_task(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        if text_of(request) == "1":
            raise ZeroDivisionError("a bug")
        return Reply("ok", text=GOOD)

    found = sent(Scripted(script), request_rows(["0", "1", "2"]), tmp_path)
    assert sorted(row["status"] for row in found.values()) == ["ok", "ok", "passing"]


def test_a_spool_that_cannot_be_written_stops_the_task(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        if len(teacher.asked) == 1:
            shutil.rmtree(tmp_path / "stage")
        await asyncio.sleep(0.01)
        return Reply("ok", text=GOOD)

    teacher = Scripted(script)
    with pytest.raises(SpoolUnavailable, match="cannot be written"):
        sent(teacher, request_rows([str(n) for n in range(200)]), tmp_path)
    assert len(teacher.asked) < 30


def test_a_closed_task_gives_up_what_is_in_flight(tmp_path: Path) -> None:
    async def script(request: Request) -> Reply:
        if int(text_of(request)) >= OUTCOMES_PER_BATCH:
            await asyncio.sleep(600)
        return Reply("ok", text=GOOD)

    def batches() -> Iterator[pa.RecordBatch]:
        rows = request_rows([str(n) for n in range(OUTCOMES_PER_BATCH + 4)])
        yield rows.slice(0, OUTCOMES_PER_BATCH)
        wait_until(lambda: len(spooled(str(tmp_path))) == OUTCOMES_PER_BATCH)
        for number in range(4):  # the first of them finds a whole batch of outcomes waiting
            time.sleep(0.1)
            yield rows.slice(OUTCOMES_PER_BATCH + number, 1)

    teacher = Scripted(script)
    results = send(LlmSettings(concurrency=8), str(tmp_path), "s", new_run(), teacher=teacher)(batches())
    assert next(results).num_rows >= OUTCOMES_PER_BATCH
    wait_until(lambda: teacher.in_flight > 0)
    results.close()  # type: ignore[attr-defined]
    wait_until(lambda: teacher.in_flight == 0)


def test_lone_surrogates_in_a_reply_are_kept_readable(tmp_path: Path) -> None:
    async def script(_: Request) -> Reply:
        return Reply("ok", text='{"label": "a\ud800b"}')

    ((_, row),) = sent(Scripted(script), request_rows(["a"]), tmp_path).items()
    assert row["status"] == "ok"
    (call,) = spooled(str(tmp_path))
    assert pa.array([call["text"]]).to_pylist() == ['{"label": "a?b"}']


def test_second_attempt_sends_only_what_the_first_had_not_finished(tmp_path: Path) -> None:
    async def first_script(request: Request) -> Reply:
        number = int(text_of(request))
        if number % 3 == 1:
            return failed(ErrorKind.CONNECTION, "gone")
        if number % 3 == 2 and len(request.messages) == 2:
            return Reply("ok", text="no JSON")
        if number % 3 == 2:
            return failed(ErrorKind.TIMEOUT, "correction lost")
        return Reply("ok", text=GOOD)

    run_id, rows = new_run(), request_rows([str(n) for n in range(9)])
    sent(Scripted(first_script), rows, tmp_path, run_id=run_id)
    before = len(spooled(str(tmp_path)))
    turns: list[tuple[int, int]] = []

    async def second_script(request: Request) -> Reply:
        turns.append((int(text_of(request)), len(request.messages)))
        return Reply("ok", text=GOOD)

    found = sent(Scripted(second_script), rows, tmp_path, run_id=run_id)
    assert {row["status"] for row in found.values()} == {"ok"} and len(found) == 9
    assert sorted(turns) == sorted([(n, 2) for n in (1, 4, 7)] + [(n, 4) for n in (2, 5, 8)])
    assert len(spooled(str(tmp_path))) == before + 6
    third = Scripted(good)
    sent(third, rows, tmp_path, run_id=run_id)
    assert third.asked == []
    other_run = Scripted(good)
    sent(other_run, rows, tmp_path)  # another run's spool is the ledger's business
    assert len(other_run.asked) == 9


def test_no_rows_no_calls_no_files(tmp_path: Path) -> None:
    assert sent(Scripted(good), request_rows([]), tmp_path) == {}
    assert spooled(str(tmp_path)) == []


def test_order_of_calls_follows_the_rows(tmp_path: Path) -> None:
    teacher = Scripted(good)
    texts = [str(n) for n in range(50)]
    sent(teacher, request_rows(texts), tmp_path, settings=LlmSettings(concurrency=1))
    assert all(int(a) < int(b) for a, b in pairwise(teacher.asked)) and len(teacher.asked) == 50


def test_the_offline_teacher_answers_by_settings_alone(tmp_path: Path) -> None:
    run = send(LlmSettings(), str(tmp_path), "stage", new_run())
    found = outcomes(run(iter([request_rows(["river surveys", "recipes"])])))
    assert {row["status"] for row in found.values()} == {"ok"}
    assert {row["teacher"] for row in spooled(str(tmp_path))} == {"offline"}
