"""Batches one by one: files within limits, results in any order, every step killed once, no request run twice."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.batch_support import batch_settings, lines, take_in, work_on, write
from tests.udfs.llm.support import KEY, request_rows, spooled
from udfs.llm.batch.client import BatchClient, ProviderFault
from udfs.llm.batch.lines import read_result
from udfs.llm.batch.store import BatchStore, Intent
from udfs.llm.batch.work import BatchWork, Collected
from udfs.llm.calls import CallRow
from udfs.llm.requests import prompt_sha
from udfs.llm.spool import SpoolUnavailable
from udfs.llm.teacher import ErrorKind, failed
from udfs.settings import LlmSettings


def test_files_stay_within_both_limits_and_hold_every_request_once(tmp_path: Path, server: FakeServer) -> None:
    texts = [f"text {number} " + "x" * (40 * number) for number in range(20)]
    store = BatchStore(str(tmp_path / "b"))
    by_count = write(tmp_path, batch_settings(server, batch_requests=6), texts)
    assert [file.requests for file in by_count] == [6, 6, 6, 2]
    by_size = write(tmp_path, batch_settings(server, batch_bytes=9_000), texts)
    assert all(file.size <= 9_000 for file in by_size) and len(by_size) > 3
    for files in (by_count, by_size):
        keys = [line["custom_id"] for file in files for line in lines(store, file)]
        assert len(keys) == len(set(keys)) == 20
    line = lines(store, by_count[0])[0]
    assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
    assert "prompt_cache_key" not in line["body"] and line["body"]["model"] == "fake-1"
    assert KEY not in json.dumps(line)
    chars = sum(len(message["content"]) for message in line["body"]["messages"])
    assert 0 < by_count[0].expected_usd < 6 * (chars + 1_000) * 10 / 1e6


def test_files_stay_within_a_limit_of_prompt_tokens(tmp_path: Path, server: FakeServer) -> None:
    texts = [f"text {number} " + "x" * (90 * number) for number in range(20)] + ["y" * 30_000]
    limit = 4_000
    files = write(tmp_path, batch_settings(server, batch_tokens=limit), texts)
    held = [lines(BatchStore(str(tmp_path / "b")), file) for file in files]
    tokens = [
        [sum(len(message["content"]) for message in line["body"]["messages"]) / 3 for line in file] for file in held
    ]
    assert [len(file) for file in held][-1] == 1 and sum(tokens[-1]) > limit, "too many by itself: alone"
    assert len(files) > 3 and all(sum(file) <= limit for file in tokens[:-1])
    assert all(sum(file) + after[0] > limit for file, after in itertools.pairwise(tokens)), (
        "and no file more than needed"
    )
    assert len({line["custom_id"] for file in held for line in file}) == 21
    assert len(write(tmp_path, batch_settings(server), texts)) == 1, "without a limit, as ever"


def test_what_does_not_fit_is_recorded_and_never_sent(tmp_path: Path, server: FakeServer) -> None:
    llm = batch_settings(server, context_tokens=5_000, batch_bytes=60_000)
    files = write(tmp_path, llm, ["fits", "words " * 40_000, "x" * 58_000])
    assert [file.requests for file in files] == [1]
    rows = spooled(str(tmp_path / "spool"))
    assert {row["error_kind"] for row in rows} == {"context_too_long"} and {row["status"] for row in rows} == {
        "lasting"
    }
    again = write(tmp_path, llm, ["words " * 40_000])
    assert not again and len({row["id"] for row in spooled(str(tmp_path / "spool"))}) == len(rows), "a repeated task"


def test_a_correction_is_a_call_of_its_own(tmp_path: Path, provider: FakeServer) -> None:
    llm = batch_settings(provider)
    rows = request_rows(["one"], llm)
    (key,) = rows.column("key").to_pylist()
    (file,) = write(tmp_path, llm, ["one"], {key: "no json"})
    work = work_on(tmp_path)
    (call,) = work.store.calls(file.name)
    assert call["parent_key"] == key and call["key"] != key
    (line,) = lines(work.store, file)
    assert line["custom_id"] == call["key"] and [m["role"] for m in line["body"]["messages"]][2:] == [
        "assistant",
        "user",
    ]
    work.intend("stage", llm, [file])
    ledger: dict[str, CallRow] = {}
    take_in(work, ledger, str(tmp_path / "spool"))
    (row,) = ledger.values()
    assert row["prompt_sha"] == prompt_sha("correction")
    assert (row["key"], row["parent_key"], row["status"], row["teacher"]) == (call["key"], key, "ok", "openai_batch")


FAULTS = (
    ("fine", "ok", None),
    ("[[fault:rate_limited]]", "passing", "rate_limited"),
    ("[[fault:server_503]]", "passing", "server"),
    ("[[fault:content_filter_400]]", "lasting", "content_filter"),
    ("[[fault:context_too_long]]", "lasting", "context_too_long"),
    ("[[fault:bad_request]]", "lasting", "bad_request"),
    ("[[fault:length]]", "lasting", "length"),
    ("[[fault:refusal]]", "lasting", "refusal"),
    ("[[fault:empty_choices]]", "lasting", "empty"),
    ("[[fault:tool_call]]", "lasting", "tool_call"),
)


def test_faults_of_lines_are_typed_as_online(tmp_path: Path, provider: FakeServer) -> None:
    llm = batch_settings(provider)
    texts = [f"{text} {number}" for number, (text, _, _) in enumerate(FAULTS)]
    work, ledger = work_on(tmp_path), dict[str, CallRow]()
    work.intend("stage", llm, write(tmp_path, llm, texts))
    (collected,) = take_in(work, ledger, str(tmp_path / "spool"))
    keys = request_rows(texts, llm).column("key").to_pylist()
    found = {row["key"]: (row["status"], row["error_kind"]) for row in ledger.values()}
    assert [found[key] for key in keys] == [(status, kind) for _, status, kind in FAULTS]
    assert (collected.answered, collected.failed.total(), collected.unknown) == (1, len(FAULTS) - 1, 1)
    assert collected.fatal is None, "of ten lines nine may fail by chance"


def test_requests_refused_as_malformed_blame_their_rows_once_such_were_answered(
    tmp_path: Path, provider: FakeServer
) -> None:
    """A batch of nothing else must not come again for ever: what the ledger holds says that the settings are right."""
    llm = batch_settings(provider)
    for known, status in ((False, "passing"), (True, "lasting")):
        folder, ledger = tmp_path / str(known), dict[str, CallRow]()
        work = BatchWork(
            BatchStore(str(folder / "b")), str(folder / "spool"), "run-1", answered=lambda stage, _, known=known: known
        )
        work.intend("stage", llm, write(folder, llm, ["[[fault:bad_request]] x"]))
        (collected,) = take_in(work, ledger, str(folder / "spool"))
        assert [row["status"] for row in ledger.values()] == [status] and collected.fatal is None


def test_a_batch_of_failures_stops_and_says_why(tmp_path: Path, provider: FakeServer) -> None:
    llm = batch_settings(provider)
    work, spool = work_on(tmp_path), str(tmp_path / "spool")
    for fault, kind in (("server_500", "too_many_errors"), ("bad_request", "bad_request"), ("quota", "quota")):
        work.intend("stage", llm, write(tmp_path, llm, [f"[[fault:{fault}]] {number}" for number in range(60)]))
        (collected,) = take_in(work, {}, spool)
        assert collected.fatal is not None and collected.fatal.error_kind == kind, fault
    provider.change(batch_refuses="model_not_found")
    work.intend("stage", llm, write(tmp_path, llm, ["x"]))
    (collected,) = take_in(work, {}, spool)
    assert collected.fatal is not None and (collected.fatal.error_kind, collected.fatal.status) == (
        "not_found",
        "fatal",
    )
    provider.change(batch_refuses="token_limit_exceeded")
    work.intend("stage", llm, write(tmp_path, llm, ["x"]))
    (collected,) = take_in(work, {}, spool)
    assert collected.fatal is None, "too much is enqueued: it is taken later"
    assert collected.refused is not None and collected.refused.error_kind == "rate_limited"
    assert collected.line() == "0 answered; refused for the moment: token_limit_exceeded: refused"


def test_lines_that_are_none_are_passed_over() -> None:
    assert read_result(b"{torn") is None and read_result(b"[1]") is None and read_result(b'{"custom_id": 7}') is None
    nothing = read_result(b'{"custom_id": "a"}')
    assert nothing is not None and nothing.reply is not None and nothing.reply.error_kind == "server"
    strange = read_result(b'{"custom_id": "a", "response": {"status_code": 200, "body": [1]}}')
    assert strange is not None and strange.reply is not None and strange.reply.status == "passing"
    told = read_result(json.dumps({"custom_id": "a", "error": {"code": "x", "message": f"key {KEY}"}}).encode(), KEY)
    assert told is not None and told.reply is not None and KEY not in str(told.reply.error)


def test_expired_lines_alone_are_left_over(tmp_path: Path, provider: FakeServer) -> None:
    provider.change(batch_expires=0.5)
    llm = batch_settings(provider)
    work, ledger = work_on(tmp_path), dict[str, CallRow]()
    work.intend("stage", llm, write(tmp_path, llm, [f"text {number}" for number in range(30)]))
    (collected,) = take_in(work, ledger, str(tmp_path / "spool"))
    assert collected.answered == len(ledger) and collected.not_run == 30 - len(ledger) and 5 < len(ledger) < 25
    assert work.store.intents() == [], "it is over, and what did not run is in nobody's hands"


def test_a_batch_can_be_cancelled_before_and_after_it_was_made(tmp_path: Path, provider: FakeServer) -> None:
    provider.change(batch_looks=-1)
    llm = batch_settings(provider)
    work, ledger, spool = work_on(tmp_path), dict[str, CallRow](), str(tmp_path / "spool")
    made, unsent = work.intend("stage", llm, write(tmp_path, llm, ["a", "b", "c", "d"]) + write(tmp_path, llm, ["e"]))
    made = work.look(made).intent
    assert "given up" in work.cancel(unsent) and "cancelled" in work.cancel(made)
    (collected,) = take_in(work, ledger, spool)
    assert collected.answered + collected.not_run == 4 and len(provider.batches()) == 1
    gone = work.store.save(made.model_copy(update={"batch_id": "batch_9999"}))
    assert "does not know it" in work.cancel(gone) and work.store.intents() == []


def test_a_batch_that_is_refused_when_it_is_made_stays_outstanding(tmp_path: Path, provider: FakeServer) -> None:
    class Full(BatchClient):
        def create(self, file_id: str, name: str) -> str:
            raise ProviderFault(failed(ErrorKind.RATE_LIMITED, "HTTP 429: enqueued token limit reached"))

    llm, work = batch_settings(provider), work_on(tmp_path, client=Full)
    (intent,) = work.intend("stage", llm, write(tmp_path, llm, ["x"]))
    standing = work.look(intent)
    assert standing.outstanding and standing.fault is not None and "token limit" in str(standing.fault.error)
    assert work_on(tmp_path).look(standing.intent).batch is not None, "the next look tries again"


def test_an_endpoint_without_batches_and_a_wrong_key_are_told(tmp_path: Path, provider: FakeServer) -> None:
    llm = batch_settings(provider)
    work = work_on(tmp_path)
    (intent,) = work.intend("stage", llm, write(tmp_path, llm, ["x"]))
    provider.change(batches=False)
    with pytest.raises(ProviderFault) as refused:
        work.look(intent)
    assert refused.value.reply.error_kind == "not_found"
    provider.change(batches=True, key="another")
    with pytest.raises(ProviderFault) as refused:
        work.look(intent)
    assert refused.value.reply.error_kind == "authentication" and KEY not in str(refused.value.reply)
    for file in (tmp_path / "b").iterdir():
        assert KEY.encode() not in file.read_bytes()


def test_a_damaged_intent_is_named(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.json").write_text("{")
    with pytest.raises(SpoolUnavailable, match=r"x\.json"):
        BatchStore(str(tmp_path / "b")).intents()


def test_a_batch_that_was_made_without_our_hearing_of_it_is_found(tmp_path: Path, provider: FakeServer) -> None:
    """The provider makes the batch and answers 500: the next look finds it, and makes no second one."""
    provider.change(batch_faults={"create": 1})
    llm = batch_settings(provider)
    work, ledger = work_on(tmp_path), dict[str, CallRow]()
    (intent,) = work.intend("stage", llm, write(tmp_path, llm, ["a", "b"]))
    standing = work.look(intent)
    assert standing.outstanding and standing.state == "not sent" and standing.fault is not None
    (collected,) = take_in(work, ledger, str(tmp_path / "spool"))
    assert collected.answered == 2 and len(provider.batches()) == 1


# --- killed at every step -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a SIGKILL is here: no code of ours may catch it."""


class Counting:
    """Calls a function and is killed before or after the call with a given number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def tick(self) -> None:
        """One point at which the process may die."""
        self.left -= 1
        if self.left == 0:
            raise Killed

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            self.tick()
            made = function(*arguments, **named)
            self.tick()
            return made

        return wrapped


STORE_STEPS = ("save", "drop", "drop_file")
CLIENT_STEPS = ("upload", "create", "find", "find_file", "get", "delete_file", "lines")


def one_run(folder: Path, llm: LlmSettings, texts: list[str], ledger: dict[str, CallRow], kill: Counting) -> None:
    """What a run does: collect, send what is missing and not outstanding, collect."""
    spool = str(folder / "spool")

    class Client(BatchClient):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return kill.around(found) if name in CLIENT_STEPS else found

    class Store(BatchStore):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            return kill.around(found) if name in STORE_STEPS else found

    work = BatchWork(Store(str(folder / "b")), spool, "run-1", Client)
    take_in(work, ledger, spool)
    key_of = dict(zip(texts, request_rows(texts, llm).column("key").to_pylist(), strict=True))
    taken = {row["key"] for row in ledger.values()}
    taken |= {call["key"] for intent in work.store.intents() for call in work.store.calls(intent.name)}
    missing = [text for text, key in key_of.items() if key not in taken]
    if missing:
        work.store.drop_strays()
        work.intend("stage", llm, write(folder, llm, missing))
    take_in(work, ledger, spool)


def test_killed_at_every_step_no_request_runs_twice(tmp_path: Path, provider: FakeServer) -> None:
    """Every point of a run is killed once, then runs follow until it is done; one server logs it all."""
    for point in itertools.count(1):
        texts, folder, ledger = [f"kill {point} text {n}" for n in range(3)], tmp_path / str(point), {}
        llm, killed = batch_settings(provider, batch_requests=2), False
        kill = Counting(point)
        for _ in range(8):
            try:
                one_run(folder, llm, texts, ledger, kill)
            except Killed:
                killed = True
                continue
            if len(ledger) == len(texts) and not BatchStore(str(folder / "b")).intents():
                break
        runs = Counter(entry["hash"] for entry in provider.requests() if entry.get("batch"))
        assert max(runs.values()) == 1, f"killed at point {point}, a request ran twice"
        assert len(runs) == len(texts) * point and len({row["key"] for row in ledger.values()}) == len(texts)
        assert len(ledger) == len(texts), "a result that was collected twice is one row"
        if not killed:
            break
    assert point > 30, "there were that many points to die at"
    left = [file for file in (tmp_path / str(point) / "b").iterdir() if file.suffix != ".new"]
    assert left == []


def test_an_intent_whose_requests_are_gone_is_given_up(tmp_path: Path, provider: FakeServer) -> None:
    llm = batch_settings(provider)
    (intent,) = work_on(tmp_path).intend("stage", llm, write(tmp_path, llm, ["x"]))
    after = work_on(tmp_path, "run-2")
    after.store.drop_file(intent.name, ".input.jsonl")
    standing = after.look(intent)
    assert standing.state == "lost" and not standing.outstanding and after.collect(standing) == Collected()
    assert isinstance(standing.intent, Intent)
