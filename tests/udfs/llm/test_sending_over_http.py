"""Sending over real HTTP: the end state of every fault, kills, secrets, and Spark itself."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from tests.fake_server.client import FakeServer
from tests.udfs.llm.support import (
    KEY,
    KEY_NAME,
    in_batches,
    outcomes,
    request_rows,
    settings_for,
    spooled,
)
from udfs.llm.outcome import OUTCOME_DDL
from udfs.llm.retry import RetryPolicy
from udfs.llm.sender import send
from udfs.settings import LlmSettings

AT_ONCE = RetryPolicy(first_wait=0.01, longest_wait=1.0)
REPOSITORY = Path(__file__).parents[3]
# fault of the first try or of every try -> status, kind, calls the server sees
END_STATES = {
    "[[fault:rate_limited*3]]": ("ok", None, 4),
    "[[fault:rate_limited_bare]]": ("passing", "rate_limited", 4),
    "[[fault:rate_limited_date*1]]": ("passing", "rate_limited", 1),  # asks for more than the longest wait
    "[[fault:server_500*2]]": ("ok", None, 3),
    "[[fault:server_502]]": ("passing", "server", 3),
    "[[fault:server_503*1]]": ("ok", None, 2),
    "[[fault:server_504*1]]": ("ok", None, 2),
    "[[fault:bad_body*1]]": ("ok", None, 2),
    "[[fault:disconnect*1]]": ("ok", None, 2),
    "[[fault:reset]]": ("passing", "connection", 3),
    "[[fault:disconnect]]": ("passing", "connection", 3),
    "[[fault:slow]]": ("passing", "timeout", 2),
    "[[fault:slow*1]]": ("ok", None, 2),  # the late reply to the first try is nobody's
    "[[fault:drip]]": ("passing", "timeout", 2),
    "[[fault:length]]": ("lasting", "length", 1),  # never the same request again
    "[[fault:content_filter_400]]": ("lasting", "content_filter", 1),
    "[[fault:bad_request]]": ("passing", "bad_request", 1),  # of its row only once another request got through
    "[[fault:authentication]]": ("fatal", "authentication", 1),
    "[[fault:quota]]": ("fatal", "quota", 1),
    "[[fault:model_not_found]]": ("fatal", "not_found", 1),
    "[[fault:content_filter]]": ("lasting", "content_filter", 1),
    "[[fault:refusal]]": ("lasting", "refusal", 1),
    "[[fault:empty_choices]]": ("lasting", "empty", 1),
    "[[fault:empty_text]]": ("lasting", "empty", 1),
    "[[fault:tool_call]]": ("lasting", "tool_call", 1),
    "[[fault:context_too_long]]": ("lasting", "context_too_long", 1),
    "[[fault:too_large]]": ("lasting", "context_too_long", 1),
    "[[fault:payment]]": ("fatal", "quota", 1),
    "[[fault:redirect]]": ("fatal", "not_found", 1),  # and the key goes nowhere else
    "[[fault:repairable]]": ("ok", None, 1),  # by the library
    "[[fault:bad_schema]]": ("ok", None, 2),  # the correction turn
    "[[fault:never_schema]]": ("lasting", "bad_json", 2),
    "nothing wrong": ("ok", None, 1),
}


@pytest.mark.parametrize("text", END_STATES)
def test_end_state_of_every_fault(server: FakeServer, settings: LlmSettings, tmp_path: Path, text: str) -> None:
    impatient = settings.model_copy(update={"timeout_s": 0.5})
    before = len(server.requests())
    run = send(impatient, str(tmp_path), "stage", f"ends-{tmp_path.name}", policy=AT_ONCE)
    ((_, row),) = outcomes(run(iter([request_rows([f"{text} {tmp_path.name}"], impatient)]))).items()
    expected_status, expected_kind, calls = END_STATES[text]
    assert (row["status"], row["error_kind"]) == (expected_status, expected_kind)
    assert len(server.requests()) - before == calls


@pytest.mark.parametrize(
    ("text", "state", "calls"),
    [
        ("[[fault:cut_off]]", ("ok", None), 2),
        ("[[fault:length]]", ("lasting", "length"), 2),
        ("[[fault:never_schema]]", ("lasting", "bad_json"), 2),
    ],
)
def test_a_reply_that_was_cut_off_is_asked_for_once_with_more_room(
    server: FakeServer, settings: LlmSettings, tmp_path: Path, text: str, state: tuple[str, str | None], calls: int
) -> None:
    roomy = settings.model_copy(update={"raised_max_tokens": 8_192})
    before = len(server.requests())
    rows = request_rows([f"{text} {tmp_path.name}"], roomy)
    ((key, row),) = outcomes(send(roomy, str(tmp_path), "stage", tmp_path.name)(iter([rows]))).items()
    assert (row["status"], row["error_kind"]) == state
    sent = server.requests()[before:]
    assert len(sent) == calls and len({entry["hash"] for entry in sent}) == calls
    assert [call["parent_key"] for call in spooled(str(tmp_path))] == [None, key]
    again = outcomes(send(roomy, str(tmp_path), "stage", tmp_path.name)(iter([rows])))
    assert again[key]["status"] == state[0] and len(server.requests()) - before == calls, "served from the spool"


def test_a_connection_with_a_reply_that_nobody_asked_for_is_not_used_again(
    server: FakeServer, settings: LlmSettings, tmp_path: Path
) -> None:
    one_by_one = settings.model_copy(update={"concurrency": 1})
    texts = ["[[fault:duplicate]] rivers", "tides and more tides", "glaciers and more glaciers"]
    rows = request_rows(texts, one_by_one)

    def slowly() -> Iterator[pa.RecordBatch]:
        for number in range(3):
            yield rows.slice(number, 1)
            time.sleep(0.5)  # the second copy arrives while the connection is idle

    run = send(one_by_one, str(tmp_path), "stage", tmp_path.name, policy=AT_ONCE)
    assert {row["status"] for row in outcomes(run(slowly())).values()} == {"ok"}
    told = {call["key"]: call["text"] for call in spooled(str(tmp_path))}
    keys = rows.column("key").to_pylist()
    assert "Tides" in str(told[keys[1]]) and "Glaciers" in str(told[keys[2]])


WORDS = ("tides", "glaciers", "basalt", "harvest")


@pytest.mark.parametrize("latency", [0.2, 0.012])
def test_a_reply_that_comes_twice_is_not_taken_for_another_one(tmp_path: Path, latency: float) -> None:
    """The second copy arrives 20 ms later, when the next request is under way, or the one after that."""
    with FakeServer(lifetime=60, latency=latency) as server:
        one_by_one = settings_for(server, api_key_env="", concurrency=1)
        texts = ["rivers and rivers [[fault:duplicate]] rivers", *(f"{word} and more {word}" for word in WORDS)]
        rows = request_rows(texts, one_by_one)
        run = send(one_by_one, str(tmp_path), "stage", tmp_path.name, policy=AT_ONCE)
        assert {row["status"] for row in outcomes(run(iter([rows]))).values()} == {"ok"}
        assert len(server.requests()) <= len(texts) + 1, "at most one was asked again"
    told = {call["key"]: str(call["text"]) for call in spooled(str(tmp_path)) if call["status"] == "ok"}
    for key, word in zip(rows.column("key").to_pylist(), ["rivers", *WORDS], strict=True):
        assert word.capitalize() in told[key]


def test_most_tries_failing_stops_a_stage_and_names_the_commonest_errors(tmp_path: Path) -> None:
    rates = {"server_503": 0.3, "disconnect": 0.2, "refusal": 0.1}
    with FakeServer(lifetime=60, faults=rates, times=9) as server:
        settings = settings_for(server, api_key_env="", concurrency=16)
        rows = request_rows([str(number) for number in range(1_000)], settings)
        found = outcomes(send(settings, str(tmp_path), "stage", "breaker", policy=AT_ONCE)(iter([rows])))
        sent = len(server.requests())
    stopped = [row for row in found.values() if row["status"] == "fatal"]
    assert len(found) == 1_000 and sent < 200
    assert {row["error_kind"] for row in stopped} == {"too_many_errors"}
    (sentence,) = {row["error"] for row in stopped}
    assert sentence.startswith("51 of the last ") and " tries failed: " in sentence
    assert all(kind in sentence for kind in ("× server (HTTP 503: Overloaded)", "× connection (", "× refusal ("))


@pytest.mark.parametrize(
    ("path", "more", "state"),
    [
        ("openai/deployments/gpt", {"key_header": "api-key", "query": {"api-version": "2024-10-21"}}, ("ok", None)),
        ("openai/deployments/gpt", {"key_header": "api-key"}, ("fatal", "not_found")),
        ("openai/deployments/gpt", {"query": {"api-version": "2024-10-21"}}, ("fatal", "authentication")),
        ("serving-endpoints", {}, ("ok", None)),
        ("serving-endpoints", {"key_header": "api-key"}, ("fatal", "authentication")),
    ],
)
def test_addresses_of_azure_and_databricks(
    server: FakeServer,
    settings: LlmSettings,
    tmp_path: Path,
    path: str,
    more: dict[str, object],
    state: tuple[str, str],
) -> None:
    there = settings.model_copy(update={"base_url": f"http://127.0.0.1:{server.port}/{path}", **more})
    rows = request_rows([f"at {path} {tmp_path.name}"], there)
    ((_, row),) = outcomes(send(there, str(tmp_path), "stage", tmp_path.name)(iter([rows]))).items()
    assert (row["status"], row["error_kind"]) == state, row


def test_a_tenth_of_the_tries_failing_stops_nothing(tmp_path: Path) -> None:
    with FakeServer(lifetime=60, faults={"server_503": 0.1, "refusal": 0.1}) as server:
        settings = settings_for(server, api_key_env="", concurrency=16)
        rows = request_rows([str(number) for number in range(400)], settings)
        found = outcomes(send(settings, str(tmp_path), "stage", "tenth", policy=AT_ONCE)(iter([rows])))
    assert {row["status"] for row in found.values()} == {"ok", "lasting"}


def test_key_is_in_no_spool_outcome_or_request(
    settings: LlmSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = request_rows(["a", "b"], settings)
    run = send(settings, str(tmp_path), "stage", "secrets")
    good = outcomes(run(iter([rows])))
    monkeypatch.setenv(KEY_NAME, f"{KEY}-but-wrong")
    fatal = outcomes(send(settings, str(tmp_path), "stage2", "secrets")(iter([rows])))
    assert {row["status"] for row in good.values()} == {"ok"}
    assert {row["status"] for row in fatal.values()} == {"fatal"}
    everything = repr(good) + repr(fatal) + repr(rows.to_pylist())
    everything += "".join(file.read_text() for file in tmp_path.rglob("*.jsonl"))
    assert KEY not in everything and "***" in everything


def test_killed_sender_pays_again_only_for_calls_in_flight(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import sys
        from tests.udfs.llm.support import request_rows, in_batches
        from udfs.llm.sender import send
        from udfs.settings import LlmSettings
        settings = LlmSettings.model_validate_json(sys.argv[1])
        rows = request_rows([str(number) for number in range(400)], settings)
        for _ in send(settings, {str(tmp_path)!r}, "stage", "killed")(iter(in_batches(rows, 16))):
            pass
        """
    )
    with FakeServer(lifetime=120, latency=0.05, slow_share=0.1) as server:
        settings = settings_for(server, api_key_env="", concurrency=16)
        process = subprocess.Popen([sys.executable, "-c", program, settings.model_dump_json()], cwd=REPOSITORY)
        while len(spooled(str(tmp_path))) < 60 and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = len(spooled(str(tmp_path)))
        answered = sum(entry["answered"] for entry in server.requests())
        assert 60 <= kept < 400
        rows = request_rows([str(number) for number in range(400)], settings)
        found = outcomes(send(settings, str(tmp_path), "stage", "killed")(iter(in_batches(rows, 16))))
        log = server.requests()
    assert len(found) == 400 and {row["status"] for row in found.values()} == {"ok"}
    twice = [count for count in Counter(e["hash"] for e in log if e["answered"]).values() if count > 1]
    assert len(twice) <= answered - kept <= 16 and max(twice, default=2) == 2
    keys = [row["key"] for row in spooled(str(tmp_path))]
    assert len(keys) == len(set(keys)) == 400


def test_drawn_faults_end_as_drawn(tmp_path: Path) -> None:
    rates = {"server_500": 0.15, "disconnect": 0.1, "refusal": 0.1, "bad_schema": 0.1}
    with FakeServer(lifetime=60, faults=rates, seed=5) as server:
        settings = settings_for(server, api_key_env="", concurrency=16)
        rows = request_rows([str(number) for number in range(200)], settings)
        run = send(settings, str(tmp_path), "stage", "drawn", policy=AT_ONCE)
        found = outcomes(run(iter(in_batches(rows, 50))))
        log = server.requests()
    statuses = Counter((row["status"], row["error_kind"]) for row in found.values())
    refused = sum(entry["fault"] == "refusal" for entry in log)
    assert set(statuses) == {("ok", None), ("lasting", "refusal")}
    assert statuses["lasting", "refusal"] == refused > 5
    assert sum(entry["fault"] == "server_500" for entry in log) > 10


@pytest.mark.spark
def test_sending_in_spark(spark: SparkSession, tmp_path: Path) -> None:
    with FakeServer(lifetime=120, latency=0.02) as open_server:
        settings = settings_for(open_server, api_key_env="", concurrency=8)
        rows = request_rows([f"{n} [[fault:server_500*1]]" for n in range(60)], settings)
        frame = spark.createDataFrame(pa.Table.from_batches([rows])).repartition(2)
        sent = frame.mapInArrow(send(settings, str(tmp_path), "stage", "spark", policy=AT_ONCE), OUTCOME_DDL)
        found = sent.collect()
        log = open_server.requests()
    assert sorted(row["key"] for row in found) == sorted(rows.column("key").to_pylist())
    assert {row["status"] for row in found} == {"ok"}
    assert len(log) == 120 and len(spooled(str(tmp_path))) == 60
    assert len({file.name for file in (tmp_path / "stage").iterdir()}) == 2
