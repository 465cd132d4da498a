"""Calls on one document find its prefix cached, by the meter of the server."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import in_batches, outcomes, settings_for, spooled
from udfs.llm.follow_ups import Following, build_follow_ups
from udfs.llm.requests import build_requests
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import send
from udfs.llm.teacher import ErrorKind, Reply, Request, failed
from udfs.settings import EvidenceSettings, LlmSettings

DOCUMENTS, DRAWS = 5, 3
JUDGED = Following("answerability")
REDRAWN = Following("answer", EvidenceSettings(), redraws=True)


def answers(fault: str) -> pa.RecordBatch:
    """Inputs of three answers to each of five documents, as they lie in a task: sorted by document."""
    rows = []
    for number in range(DOCUMENTS):
        text = " ".join(f"In harbour {number} sample {n} grew by {n * 7 % 13} units that year." for n in range(300))
        for draw in range(DRAWS):
            variables = {
                "setting": "single",
                "document_type": "report",
                "documents": [{"doc_id": f"d{number}", "text": text}],
                "instruction": f"Say what grew, version {draw}. {fault}",
                "path": [{"field": "tasks", "value": "extract the facts"}],
            }
            rows.append({"input_id": f"{number}-{draw}", "document": f"d{number}", "variables": json.dumps(variables)})
    return pa.RecordBatch.from_pylist(rows)


def test_later_calls_on_a_document_and_their_corrections_are_cached(tmp_path: Path) -> None:
    with FakeServer(lifetime=60, latency=0.01) as server:
        settings = settings_for(server, api_key_env="", concurrency=4)
        (rows,) = build_requests("answer", settings)(iter([answers("[[fault:bad_schema]]")]))
        found = outcomes(send(settings, str(tmp_path), "samples", tmp_path.name)(iter(in_batches(rows, 4))))
        log = server.requests()
    assert {row["status"] for row in found.values()} == {"ok"}
    assert len(log) == 2 * DOCUMENTS * DRAWS, "each answer had its correction turn"
    by_document: dict[str, list[tuple[int, int]]] = {}
    for entry in log:
        usage = entry["usage"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        by_document.setdefault(entry["cache_key"], []).append((cached, usage["prompt_tokens"]))
    assert set(by_document) == {f"d{number}" for number in range(DOCUMENTS)}
    document = len(json.loads(rows.column("variables")[0].as_py())["documents"][0]["text"]) // 4
    for calls in by_document.values():
        first, *later = calls
        assert first[0] == 0 and len(later) == 2 * DRAWS - 1
        assert all(cached >= 0.8 * document for cached, _ in later)
    metered = sum(call["tokens_cached"] or 0 for call in spooled(str(tmp_path)))
    assert metered == sum(cached for calls in by_document.values() for cached, _ in calls)
    least = min(cached for calls in by_document.values() for cached, _ in calls[1:])
    print(f"{least / document:.3f} of a document cached, at least")


def test_an_answerability_call_follows_its_answer_and_finds_the_document_cached(tmp_path: Path) -> None:
    with FakeServer(lifetime=60, latency=0.01) as server:
        settings = settings_for(server, api_key_env="", concurrency=4)
        (rows,) = build_requests("answer", settings)(iter([answers("[[fault:bad_schema]]")]))
        run = send(settings, str(tmp_path), "samples", tmp_path.name, follow_ups=(JUDGED,))
        found = outcomes(run(iter(in_batches(rows, 4))))
        log = server.requests()
    assert set(found) == set(rows.column("key").to_pylist()), "outcomes are those of the answers alone"
    assert {row["status"] for row in found.values()} == {"ok"}
    by_document: dict[str, list[str]] = {}
    for entry in log:
        by_document.setdefault(entry["cache_key"], []).append(entry["task"])
    # On each document: an answer, its correction turn, the call behind it and that one's turn, then the next answer.
    assert set(by_document) == {f"d{number}" for number in range(DOCUMENTS)}
    document = len(json.loads(rows.column("variables")[0].as_py())["documents"][0]["text"]) // 4
    for entry in log:
        if entry["task"] == "answerability":
            assert entry["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0.8 * document
    calls = spooled(str(tmp_path))
    judged = [call for call in calls if call["task"] == "answerability" and call["parent_key"] is None]
    assert len(judged) == DOCUMENTS * DRAWS
    # They are found again by who has only the answers: the same keys, made from the rows and the replies.
    replies = {call["parent_key"]: call["text"] for call in calls if call["task"] == "answer" and call["parent_key"]}
    columns = ("input_id", "document", "variables", "parameters")
    told = [{name: row[name] for name in columns} | {"text": replies[row["key"]]} for row in rows.to_pylist()]
    (followed,) = build_follow_ups("answer", JUDGED)(iter([pa.RecordBatch.from_pylist(told)]))
    assert {call["key"] for call in judged} == set(followed.column("key").to_pylist())
    assert not set(followed.column("key").to_pylist()) & set(found)
    assert all(
        tasks == ["answer", "answer", "answerability", "answerability"] * DRAWS for tasks in by_document.values()
    )


def test_nothing_follows_an_answer_that_the_documents_do_not_hold(tmp_path: Path) -> None:
    answered = {"answerable": False, "instruction": "", "response": "", "quotes": []}
    told = {**answers("").to_pylist()[0], "parameters": '{"json_mode": "schema"}', "text": json.dumps(answered)}
    for wanted in (JUDGED, REDRAWN):
        (followed,) = build_follow_ups("answer", wanted)(iter([pa.RecordBatch.from_pylist([told])]))
        assert followed.num_rows == 0
    with pytest.raises(KeyError):
        build_follow_ups("meta", JUDGED)


def test_a_second_draw_follows_an_answer_that_fails_and_is_judged_in_its_place(tmp_path: Path) -> None:
    """The first draws of all but one document fail the gates; of one, both do."""
    with FakeServer(lifetime=60, latency=0.01) as server:
        settings = settings_for(server, api_key_env="", concurrency=4, seed=1)
        given = answers("[[fault:bad_schema]]").to_pylist()
        for row in given:
            seeds = {"d0": "9", "d4": "1,2"}.get(row["document"], "1")
            row["variables"] = row["variables"].replace("[[fault", f"[[ungrounded:{seeds}]] [[fault")
        (rows,) = build_requests("answer", settings)(iter([pa.RecordBatch.from_pylist(given)]))
        run = send(settings, str(tmp_path), "samples", tmp_path.name, follow_ups=(REDRAWN, JUDGED))
        found = outcomes(run(iter(in_batches(rows, 4))))
        log = server.requests()
        again = outcomes(run(iter(in_batches(rows, 4))))  # the attempt after one that died
        assert len(server.requests()) == len(log) and again == found, "and nothing is asked twice"
    assert set(found) == set(rows.column("key").to_pylist()), "outcomes are those of first draws alone"
    by_document: dict[str, list[str]] = {}
    for entry in log:
        by_document.setdefault(entry["cache_key"], []).append(entry["task"])
    # An answer and its correction turn, the second draw and its turn, then what is asked about the one that stands.
    plain = ["answer"] * 2 + ["answerability"] * 2
    assert by_document.pop("d0") == plain * DRAWS
    assert list(by_document.values()) == [["answer", "answer", *plain] * DRAWS] * (DOCUMENTS - 1)
    document = len(json.loads(rows.column("variables")[0].as_py())["documents"][0]["text"]) // 4
    first: set[str] = set()
    for entry in log:
        if entry["cache_key"] in first:
            assert entry["usage"]["prompt_tokens_details"]["cached_tokens"] >= 0.8 * document
        first.add(entry["cache_key"])

    calls = [call for call in spooled(str(tmp_path)) if call["parent_key"] is None]
    seeds = Counter((call["task"], json.loads(call["parameters"])["seed"]) for call in calls)
    assert seeds == {
        ("answer", 1): DOCUMENTS * DRAWS, ("answer", 2): (DOCUMENTS - 1) * DRAWS,
        ("answerability", 1): 2 * DRAWS, ("answerability", 2): (DOCUMENTS - 2) * DRAWS,
    }  # fmt: skip
    # Second draws are found again by who has only the first answers.
    replies = {call["parent_key"]: call["text"] for call in spooled(str(tmp_path)) if call["parent_key"]}
    columns = ("input_id", "document", "variables", "parameters")
    told = [{name: row[name] for name in columns} | {"text": replies[row["key"]]} for row in rows.to_pylist()]
    (followed,) = build_follow_ups("answer", REDRAWN)(iter([pa.RecordBatch.from_pylist(told)]))
    assert set(followed.column("key").to_pylist()) == {
        call["key"] for call in calls if call["task"] == "answer" and call["key"] not in found
    }


def test_a_second_draw_that_is_lost_ends_the_chain(tmp_path: Path) -> None:
    """Nothing is asked about the first answer while the second may still come."""
    asked: list[tuple[str, int]] = []

    class Draws:
        async def complete(self, request: Request) -> Reply:
            seed = request.parameters["seed"]
            asked.append((request.task, seed))
            if seed == 2:
                return failed(ErrorKind.TIMEOUT, "gone")
            text = {"answerable": True, "instruction": "Say.", "response": "Wizards wept.", "quotes": []}
            return Reply("ok", text=json.dumps(text))

    given = answers("").to_pylist()[:1]
    (rows,) = build_requests("answer", LlmSettings(seed=1))(iter([pa.RecordBatch.from_pylist(given)]))
    policy = RetryPolicy(first_wait=0.001, longest_wait=1.0)
    run = send(LlmSettings(), str(tmp_path), "s", "run", teacher=Draws(), policy=policy, follow_ups=(REDRAWN, JUDGED))
    assert [row["status"] for row in outcomes(run(iter([rows]))).values()] == ["ok"]
    assert asked == [("answer", 1), ("answer", 2), ("answer", 2)], "two tries, then it waits"
    assert [(call["task"], call["status"]) for call in spooled(str(tmp_path))] == [
        ("answer", "ok"),
        ("answer", "passing"),
    ]
