"""Calls through Spark and the ledger: money and budgets, the prefix cache, and a key that is written nowhere."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark import TaskContext
from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.runtime import ledger, ledger_frames
from jobs.runtime.errors import BudgetReached, ServiceRefused
from jobs.runtime.ledger import Ledger, Serving
from jobs.runtime.ledger_frames import settled_requests
from jobs.runtime.refusals import refusal
from jobs.runtime.runner import Runner
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import Tables
from tests.fake_server.client import FakeServer
from tests.roots import make_runner, prose
from udfs.llm.spool import list_segments
from udfs.settings import LlmSettings, TokenizerSettings

pytestmark = pytest.mark.spark
DOCUMENTS, DRAWS = 6, 3


def asked(spark: SparkSession) -> DataFrame:
    """Three answers to each of six documents of some thousand tokens."""
    given = []
    for number in range(DOCUMENTS):
        text = prose(f"{number} harbour", 120)
        for draw in range(DRAWS):
            variables = {
                "setting": "single",
                "document_type": "report",
                "documents": [{"doc_id": f"d{number}", "text": text}],
                "instruction": f"Say what grew, version {draw}.",
                "path": [{"field": "tasks", "value": "extract the facts"}],
            }
            given.append((f"in-{number}-{draw}", f"d{number}", json.dumps(variables)))
    return spark.createDataFrame(given, "input_id string, document string, variables string").repartition(5)


def runner_for(spark: SparkSession, root: str, server: FakeServer, run_id: str, *more: str) -> Runner:
    """A runner whose teacher is the server."""
    endpoint = [f"llm.base_url={server.base_url}", "llm.teacher=openai", "llm.model=fake", "llm.api_key_env=FAKE_KEY"]
    prices = ["llm.price_input=1", "llm.price_output=4", "llm.price_cached=0.1", "llm.max_tokens=500"]
    return make_runner(spark, root, [*endpoint, *prices, *more], run_id)


def share_cached(log: list[dict[str, Any]]) -> float:
    """Share of prompt tokens that the server found in its prefix cache, over the later calls on each document."""
    later = [entry["usage"] for entry in log if entry["usage"]["prompt_tokens_details"]["cached_tokens"]]
    assert len(later) == DOCUMENTS * (DRAWS - 1)
    document = len(prose("0 harbour", 120)) // 4
    return min(usage["prompt_tokens_details"]["cached_tokens"] for usage in later) / document


def test_a_budget_stops_and_a_second_run_pays_for_the_rest_alone(spark: SparkSession, root: str) -> None:
    with FakeServer(key=os.environ["FAKE_KEY"], latency=0.02) as server:
        first = runner_for(spark, root, server, "run-1", "llm.budget_calls=7")
        with pytest.raises(BudgetReached, match="budget_calls: 7 requests were sent") as stopped:
            first.ledger.fulfil("samples", "answer", asked(spark))
        first.ledger.close()
        assert stopped.value.exit_status == 3 and len(server.requests()) == 7
        second = runner_for(spark, root, server, "run-2")
        answer = second.ledger.fulfil("samples", "answer", asked(spark))
        log = server.requests()
        assert answer.replies.count() == len(log) == DOCUMENTS * DRAWS, "7 of them were served from the ledger"
        cost = answer.cost
        assert (cost.calls, cost.served) == (len(log) - 7, 7)
        usage = [entry["usage"] for entry in log[7:]]
        cached = sum(u["prompt_tokens_details"]["cached_tokens"] for u in usage)
        fresh = sum(u["prompt_tokens"] for u in usage) - cached
        paid = (fresh + 0.1 * cached + 4 * sum(u["completion_tokens"] for u in usage)) / 1e6
        assert cost.tokens_cached == cached and cost.money == pytest.approx(paid)
        assert cost.saved_cache == pytest.approx(0.9 * cached / 1e6) and (cost.saved_ledger or 0) > 0

        third = runner_for(spark, root, server, "run-3", "llm.budget_usd=0.000001")
        served = third.ledger.fulfil("samples", "answer", asked(spark)).cost
        assert (served.calls, served.served, served.money) == (0, DOCUMENTS * DRAWS, 0.0)
        second.ledger.close()


def test_later_calls_on_a_document_find_it_cached_and_the_key_is_nowhere(
    spark: SparkSession, root: str, capfd: pytest.CaptureFixture[str]
) -> None:
    key = os.environ["FAKE_KEY"]
    with FakeServer(key=key, latency=0.02) as server:
        runner = runner_for(spark, root, server, "run-1")
        answer = runner.ledger.fulfil("samples", "answer", asked(spark))
        assert share_cached(server.requests()) >= 0.8
        assert {entry["cache_key"] for entry in server.requests()} == {f"d{n}" for n in range(DOCUMENTS)}
        metered = sum(e["usage"]["prompt_tokens_details"]["cached_tokens"] for e in server.requests())
        assert answer.cost.tokens_cached == metered
        server.change(key="another")  # from now on the server repeats our key in its refusals
        with pytest.raises(ServiceRefused, match="FAKE_KEY") as refused:
            runner.ledger.fulfil("meta_records", "type_label", _labels(spark))
        runner.ledger.close()
    told = "".join(json.dumps(row.asDict()) for row in runner.tables.read("llm_calls").collect())
    assert key not in told + str(refused.value) + repr(refused.value.__cause__) + "".join(capfd.readouterr())
    for file in Path(root).rglob("*"):
        assert not file.is_file() or key.encode() not in file.read_bytes(), file


def _labels(spark: SparkSession) -> DataFrame:
    variables = json.dumps({"examples": ["a"], "taken": []})
    return spark.createDataFrame([("x", None, variables)], "input_id string, document string, variables string")


def test_a_job_that_fails_leaves_its_replies_in_the_spool_and_the_ledger(
    spark: SparkSession, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are there at once, the files stay for what tasks may still write, and the next run takes both for one."""
    (ended := tmp_path / "ended").mkdir()
    sending, tasks = ledger.send, spark.sparkContext.defaultParallelism

    def dying(*given: Any, **named: Any) -> Any:
        act = sending(*given, **named)

        def run(batches: Any) -> Any:
            yield from act(batches)
            (ended / str(TaskContext.get().partitionId())).touch()  # type: ignore[union-attr]
            waits = time.monotonic() + 60
            while len(list(ended.iterdir())) < tasks and time.monotonic() < waits:
                time.sleep(0.01)  # the first to die has the others stopped, be they in the midst of a call
            raise RuntimeError("the task died after its last reply")

        return run

    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        first = runner_for(spark, root, server, "run-1")
        with monkeypatch.context() as patched, pytest.raises(Exception, match="died after its last reply"):
            patched.setattr(ledger, "send", dying)
            first.ledger.fulfil("samples", "answer", asked(spark))
        first.ledger.close()
        answered = len(server.requests())
        assert answered and list_segments(f"{root}/_spool")
        assert first.tables.read("llm_calls").count() == answered
        second = runner_for(spark, root, server, "run-2")
        second.ledger.fold()
        assert not list_segments(f"{root}/_spool") and second.tables.read("llm_calls").count() == answered
        assert second.ledger.fulfil("samples", "answer", asked(spark)).replies.count() == DOCUMENTS * DRAWS
        second.ledger.close()
        assert len({call["hash"] for call in server.requests()}) == len(server.requests()) == DOCUMENTS * DRAWS


def test_few_keys_are_looked_for_and_found_as_by_a_join(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers of several runs, corrections, failures, other tasks; and what nobody asked yet."""

    def call(number: int, key: str, status: str, **other: Any) -> dict[str, Any]:
        text, empty = '{"label": "Essay"}', dict.fromkeys(sql.columns("llm_calls").names)
        told = {"id": f"call-{number}", "parent_ids": [], "stage": "types", "task": "type_label", "teacher": "openai"}
        return {**empty, **told, "run_id": "run-1", "key": key, "status": status, "text": text, **other}

    calls = [
        call(1, "plain", "ok"),
        call(2, "twice", "ok", run_id="run-2"),
        call(3, "twice", "lasting", error_kind="refusal", text=None),
        call(4, "corrected", "ok", text="no json"),
        call(5, "turn", "ok", parent_key="corrected", run_id="run-3"),
        call(6, "to correct", "ok", text="no json either"),
        call(7, "failed", "lasting", error_kind="content_filter", text=None),
        call(8, "waits", "passing", error_kind="server", text=None),
        call(9, "other task", "ok", task="meta"),
        call(10, "not asked", "ok", run_id="run-4"),
        call(11, "nameless", "ok", run_id=None),
    ]
    made = spark.createDataFrame([tuple(row.values()) for row in calls], sql.columns("llm_calls"))
    keys = ["plain", "twice", "corrected", "to correct", "failed", "waits", "other task", "new", "turn", "nameless"]
    asked = spark.createDataFrame([(f"input {key}", key) for key in keys], "input_id string, key string")

    def found(few: bool, calls: DataFrame = made) -> dict[str, dict[str, Any]]:
        rows = settled_requests(asked, calls, "type_label", False, few).collect()
        return {row["key"]: row.asDict(recursive=True) for row in rows}

    assert found(few=True) == found(few=False)
    told = {key: (row["status"], row["reason"], row["further"]) for key, row in found(few=True).items()}
    assert told["plain"] == told["twice"] == told["corrected"] == told["nameless"] == ("ok", None, None)
    assert told["failed"] == ("lasting", "llm:content_filter", None) and told["to correct"][2] == "correction"
    assert {told[key] for key in ("waits", "other task", "new", "turn")} == {(None, None, None)}
    assert {row["status"] for row in found(few=True, calls=made.limit(0)).values()} == {None}

    folder = str(tmp_path / "llm_calls")
    for run in range(1, 5):
        made.where(f"coalesce(run_id, 'run-4') = 'run-{run}'").coalesce(1).write.format("delta").mode("append").save(
            folder
        )
    stored = spark.read.format("delta").load(folder)
    assert found(few=True, calls=stored) == found(few=True)
    one = settled_requests(asked.where("key = 'turn' OR key = 'corrected'"), stored, "type_label", False, few=True)
    read = {row[0] for row in spark.read.parquet(*one.inputFiles()).select("run_id").distinct().collect()}
    assert len(stored.inputFiles()) == 4 and read == {"run-1", "run-3"}, "files of other runs are read again"
    monkeypatch.setattr(ledger_frames, "NAMED_RUNS", 1)
    assert found(few=True, calls=stored) == found(few=False)


def test_calls_kept_in_another_root_bear_the_id_of_their_run_and_change_nothing_of_it(root: str) -> None:
    """A preview asks under its own id; the root whose ledger it uses is held under another one, and writes under it."""
    lent = Tables(MagicMock(), StorageSettings(root=root), "holder", fence=lambda: None)
    own = Tables(MagicMock(), StorageSettings(root=f"{root}/_preview"), "preview")
    made = Ledger(own, LlmSettings(), TokenizerSettings(), Serving(tables=lent))
    assert (lent.run_id, own.run_id) == ("holder", "preview")
    used = made._tables
    assert (used.run_id, used.state, used.fence) == ("preview", root, lent.fence)
    lent._versions["llm_calls"] = 7
    assert used.version("llm_calls") == 7, "what one of the two writes, the other knows of"


def test_a_fault_of_the_offline_teacher_blames_no_service() -> None:
    told = refusal("samples", LlmSettings(), "too_many_errors", "51 of the last 60 tries failed")
    assert "offline teacher" in told and "api.openai.com" not in told and "OPENAI_API_KEY" not in told
    served = LlmSettings(teacher="openai", base_url="http://mine/v1", api_key_env="MINE")
    assert "MINE" in refusal("samples", served, "authentication", "HTTP 401")
    assert "http://mine/v1" in refusal("samples", served, "quota", "HTTP 429")
