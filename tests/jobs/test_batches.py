"""Batch mode through Spark and the ledger: the same rows at half the price, whatever comes between."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

from jobs.runtime.batch_list import batch_lines
from jobs.runtime.errors import BatchesOutstanding, BudgetReached, ServiceRefused, SettingsFault
from jobs.runtime.forgetting import forget
from jobs.runtime.ledger import Fulfilled
from jobs.runtime.recipes import differences
from jobs.runtime.runner import Runner
from jobs.runtime.summary import StageTally
from jobs.stages import STAGES
from tests.fake_server.client import FakeServer
from tests.roots import BY_NAME, make_runner, prose
from udfs.llm.batch.client import BatchClient
from udfs.llm.follow_ups import Following
from udfs.settings import EvidenceSettings

pytestmark = pytest.mark.spark
LABELS = 24


def labels(spark: SparkSession, *texts: str) -> DataFrame:
    """One request per text."""
    given = [(text, None, json.dumps({"examples": [text], "taken": []})) for text in texts]
    return spark.createDataFrame(given, "input_id string, document string, variables string").repartition(3)


def runner_for(spark: SparkSession, root: str, server: FakeServer, run_id: str, *more: str) -> Runner:
    """A runner that asks the server by batch files."""
    endpoint = [f"llm.base_url={server.base_url}", "llm.model=fake", "llm.api_key_env=FAKE_KEY"]
    mode = ["llm.teacher=openai_batch", "llm.batch_poll_s=0.05", "llm.batch_wait_s=60", "llm.batch_requests=5"]
    prices = ["llm.price_input=1", "llm.price_output=4", "llm.price_cached=1", "llm.max_tokens=200"]
    return make_runner(spark, root, [*endpoint, *mode, *prices, *more], run_id)


def ask(runner: Runner, inputs: DataFrame) -> Fulfilled:
    try:
        return runner.ledger.fulfil("meta_records", "type_label", inputs)
    finally:
        runner.ledger.close()


def told(answer: Fulfilled) -> list[tuple[Any, ...]]:
    """Replies as rows see them; the call's id is the ledger's own."""
    columns = ("input_id", "status", "reason", "text", "teacher", "model", "prompt_sha")
    return sorted((tuple(row) for row in answer.replies.select(*columns).collect()), key=lambda row: row[0])


def waits(answer: Fulfilled) -> Counter[str]:
    return Counter() if answer.waiting is None else Counter(row["reason"] for row in answer.waiting.collect())


def most_runs(server: FakeServer) -> int:
    """How often the request that was run most was run."""
    return max(Counter(entry["hash"] for entry in server.requests()).values())


def test_batches_bring_the_rows_of_an_online_run_at_half_the_price(spark: SparkSession, root: str) -> None:
    """Some replies need a correction, some fail for good, some for the moment, some lines expire."""
    texts = [f"text {number}" for number in range(LABELS)]
    texts += ["[[fault:bad_schema]] a", "[[fault:never_schema]] b", "[[fault:refusal]] c", "[[fault:server_500*1]] d"]
    with FakeServer(key=os.environ["FAKE_KEY"], batch_expires=0.3, batch_looks=2) as server:
        batch = runner_for(spark, f"{root}/batch", server, "run-1")
        by_batch = ask(batch, labels(spark, *texts))
        log, batches = server.requests(), server.batches()
        assert all(entry["batch"] for entry in log), "nothing went out call by call"
        assert all(len(one["custom_ids"]) <= 5 for one in batches) and len(batches) > 6
        assert Counter(entry["fault"] for entry in log if entry["fault"]) == {
            "bad_schema": 2, "never_schema": 2, "refusal": 1, "server_500": 1,
        }  # fmt: skip
        assert waits(by_batch) == Counter()
        usage = [entry["usage"] for entry in log if entry.get("usage")]
        tokens = sum(u["prompt_tokens"] for u in usage) + 4 * sum(u["completion_tokens"] for u in usage)
        assert by_batch.cost.money == pytest.approx(tokens / 1e6 / 2)
        assert batch.ledger.batches.outstanding() == [] and list(Path(root, "batch", "_batches").iterdir()) == []

        online = runner_for(spark, f"{root}/online", server, "run-1", "llm.teacher=openai")
        by_call = ask(online, labels(spark, *texts))
        assert told(by_batch) == told(by_call) and {row[4] for row in told(by_batch)} == {"openai"}
        assert by_call.cost.money == pytest.approx(2 * (by_batch.cost.money or 0.0), rel=0.05)

        # One setting changed: the ledger serves what was bought either way, and no recipe differs.
        before = len(server.requests())
        switched = runner_for(spark, f"{root}/batch", server, "run-2", "llm.teacher=openai")
        again = ask(switched, labels(spark, *texts))
        assert told(again) == told(by_batch) and (again.cost.calls, len(server.requests())) == (0, before)
        assert again.cost.saved_ledger == pytest.approx(by_batch.cost.money)
        back = ask(runner_for(spark, f"{root}/online", server, "run-2"), labels(spark, *texts))
        assert told(back) == told(by_batch) and back.cost.calls == 0
        stage = BY_NAME["meta_records"]
        assert list(differences(batch.recipe(stage), switched.recipe(stage))) == []


def test_outstanding_batches_wait_for_the_next_run_and_nothing_is_asked_twice(spark: SparkSession, root: str) -> None:
    first_texts = [f"text {number}" for number in range(8)]
    with FakeServer(key=os.environ["FAKE_KEY"], batch_looks=-1) as server:
        sender = runner_for(spark, root, server, "run-1", "llm.batch_wait_s=0", "llm.budget_usd=1")
        first = ask(sender, labels(spark, *first_texts))
        assert sender.ledger._budget.verdict(2.0) == "stop", "nobody waits for what this run does not wait for"
        assert waits(first) == {"llm:batch_outstanding": 8} and first.replies.isEmpty() and first.cost.calls == 0
        fit = runner_for(spark, root, server, "run-fit", "llm.batch_wait_s=0")
        with pytest.raises(BatchesOutstanding) as stopped:
            fit._teacher(BY_NAME["meta_records"], StageTally("meta_records"))("type_label", labels(spark, *first_texts))
        assert stopped.value.exit_status == 4
        with pytest.raises(BatchesOutstanding, match=r"document_types is fitted once.*of meta_records"):
            fit._fit(BY_NAME["document_types"], StageTally("document_types"), None)
        fit.ahead = lambda stage: {"document_labels"}
        fit._require_all_collected(BY_NAME["classifier"])  # whatever runs beside it
        with pytest.raises(SettingsFault, match="batches --cancel"):
            forget(fit, STAGES, ["x"], [])
        made = len(server.batches())

        # More rows, and call by call: what lies in a batch is left there, the rest is sent.
        online = ask(
            runner_for(spark, root, server, "run-2", "llm.teacher=openai"), labels(spark, *first_texts, "one more")
        )
        assert waits(online) == {"llm:batch_outstanding": 8} and [row[0] for row in told(online)] == ["one more"]
        assert len(server.batches()) == made and len(server.requests()) == 1

        server.change(batch_looks=1)
        second = ask(runner_for(spark, root, server, "run-3", "llm.batch_wait_s=0"), labels(spark, *first_texts))
        assert len(told(second)) == 8 and waits(second) == Counter() and len(server.batches()) == made
        assert (second.cost.calls, second.cost.served) == (8, 0) and most_runs(server) == 1


def test_cancelled_batches_give_what_ran_and_the_rest_is_asked_again(spark: SparkSession, root: str) -> None:
    texts = [f"text {number}" for number in range(10)]
    with FakeServer(key=os.environ["FAKE_KEY"], batch_looks=-1) as server:
        runner = runner_for(spark, root, server, "run-1", "llm.batch_wait_s=0")
        ask(runner, labels(spark, *texts))
        listed = list(batch_lines(runner.ledger.batches.work, cancel=False))
        assert len(listed) == 1 + len(server.batches()) and all("in_progress, 0 done" in line for line in listed[1:])
        assert all("cancelled" in line for line in list(batch_lines(runner.ledger.batches.work, cancel=True))[1:])
        server.change(batch_looks=1)
        answer = ask(runner_for(spark, root, server, "run-2"), labels(spark, *texts))
        assert len(told(answer)) == 10 and most_runs(server) == 1 and len(server.requests()) == 10
        assert list(batch_lines(runner.ledger.batches.work, cancel=True)) == ["no batch is outstanding"]


@pytest.mark.faults
def test_results_that_are_gone_are_given_up_and_what_is_left_is_not_asked_again(spark: SparkSession, root: str) -> None:
    texts = ["text 0", "text 1", "[[fault:refusal]] text 2", "[[fault:content_filter_400]] text 3"]
    with FakeServer(key=os.environ["FAKE_KEY"], batch_refuses="token_limit_exceeded") as server:
        refused = ask(runner_for(spark, root, server, "run-1", "llm.batch_wait_s=0"), labels(spark, *texts))
        assert waits(refused) == {"llm:rate_limited": 4}, "the reason of the provider"
        server.change(batch_refuses=None, batch_looks=-1)
        runner = runner_for(spark, root, server, "run-2", "llm.batch_wait_s=0")
        assert waits(ask(runner, labels(spark, *texts))) == {"llm:batch_outstanding": 4}
        server.change(batch_looks=1)
        (intent,) = runner.ledger.batches.outstanding()
        ended = runner.ledger.batches.work.look(intent).batch
        assert ended is not None and ended.output_file_id and ended.error_file_id
        BatchClient(intent.endpoint).delete_file(ended.output_file_id)
        with pytest.raises(ServiceRefused, match="batches --cancel"):
            ask(runner_for(spark, root, server, "run-3"), labels(spark, *texts))
        (_, line) = batch_lines(runner.ledger.batches.work, cancel=True)
        assert "given up" in line and runner.ledger.batches.outstanding() == []
        last = runner_for(spark, root, server, "run-4")
        last.ledger.fold()  # as a run begins
        answer = ask(last, labels(spark, *texts))
        assert Counter(row[1] for row in told(answer)) == {"ok": 2, "lasting": 2} and waits(answer) == Counter()
        again = Counter(entry["hash"] for entry in server.requests())
        assert sorted(again.values()) == [1, 2, 2, 2], "what was in the file that is left ran once"


@pytest.mark.faults
def test_faults_that_stay_and_budgets_end_the_sending(spark: SparkSession, root: str) -> None:
    def nine(word: str) -> DataFrame:
        return labels(spark, *[f"{word} {number}" for number in range(9)])

    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        half = [f"[[fault:server_503]] {number}" if number % 2 else f"fine {number}" for number in range(12)]
        answer = ask(runner_for(spark, root, server, "run-1"), labels(spark, *half))
        assert waits(answer) == {"llm:server": 6} and len(told(answer)) == 6
        assert 2 <= most_runs(server) <= 3, "asked again, and not for ever"

        sent = len(server.requests())
        with pytest.raises(BudgetReached, match="budget_calls") as stopped:
            ask(
                runner_for(spark, root, server, "run-2", "llm.budget_calls=4"),
                labels(spark, *[f"b {n}" for n in range(9)]),
            )
        assert stopped.value.exit_status == 3 and len(server.requests()) == sent + 4
        with pytest.raises(BudgetReached, match="budget_usd"):
            ask(
                runner_for(spark, root, server, "run-3", "llm.budget_usd=0.0012"),
                labels(spark, *[f"c {n}" for n in range(9)]),
            )
        usage = [entry["usage"] for entry in server.requests()[sent + 4 :]]
        paid = sum(u["prompt_tokens"] + 4 * u["completion_tokens"] for u in usage) / 2e6
        assert 0 < paid <= 0.0012 and len(usage) < 9, "expected cost is held back"

        server.change(batches=False)
        with pytest.raises(ServiceRefused, match="openai needs none") as refused:
            ask(runner_for(spark, root, server, "run-4"), labels(spark, "d"))
        assert os.environ["FAKE_KEY"] not in str(refused.value)
        server.change(batches=True)
        assert len(told(ask(runner_for(spark, root, server, "run-5"), labels(spark, "d")))) == 1


def answering(spark: SparkSession, first: str = "") -> DataFrame:
    """Two answers to one document; `first` is added to the wish of the first."""
    held = [{"doc_id": "d", "text": prose("harbour", 30)}]
    given = [
        {"setting": "single", "document_type": "report", "documents": held, "instruction": f"Say {wish}.", "path": []}
        for wish in (f"what grew{first}", "what was measured")
    ]
    rows = [(f"in-{number}", "d", json.dumps(one)) for number, one in enumerate(given)]
    return spark.createDataFrame(rows, "input_id string, document string, variables string")


@pytest.mark.faults
def test_follow_ups_are_a_batch_behind_that_of_the_answers(spark: SparkSession, root: str) -> None:
    columns = ("input_id", "text", "further_text")

    def judged(runner: Runner) -> tuple[Fulfilled, list[tuple[Any, ...]]]:
        answer = runner.ledger.fulfil("samples", "answer", answering(spark), (Following("answerability"),))
        runner.ledger.close()
        return answer, sorted(tuple(row) for row in answer.replies.select(*columns).collect())

    with FakeServer(key=os.environ["FAKE_KEY"], batch_looks=2) as server:
        for number in (1, 2):  # the answers wait, then their verdicts
            sent, _ = judged(runner_for(spark, f"{root}/b", server, f"run-{number}", "llm.batch_wait_s=0"))
            assert waits(sent) == {"llm:batch_outstanding": 2} and sent.replies.isEmpty()
            assert len(server.batches()) == number
        batch, by_batch = judged(runner_for(spark, f"{root}/b", server, "run-3"))
        assert waits(batch) == Counter() and Counter(entry["task"] for entry in server.requests()) == {
            "answer": 2, "answerability": 2,
        }  # fmt: skip
        online, by_call = judged(runner_for(spark, f"{root}/o", server, "run-1", "llm.teacher=openai"))
        assert by_batch == by_call and all(json.loads(row[2])["with_document"] for row in by_call)
        assert (online.cost.calls, online.cost.served, online.cost.saved_ledger) == (4, 0, 0.0)
        switched, again = judged(runner_for(spark, f"{root}/b", server, "run-4", "llm.teacher=openai"))
        assert again == by_call and (switched.cost.calls, switched.cost.served) == (0, 4)


@pytest.mark.faults
def test_second_draws_are_a_batch_behind_that_of_the_answers(spark: SparkSession, root: str) -> None:
    """Of two answers one fails the gates: its second draw is in a batch of its own, and judged behind that."""
    columns = ("input_id", "draw", "text", "further_text")
    wanted = (Following("answer", EvidenceSettings(), redraws=True), Following("answerability"))
    inputs = answering(spark, " [[ungrounded:1]]")

    def drawn(runner: Runner) -> tuple[Fulfilled, list[tuple[Any, ...]]]:
        answer = runner.ledger.fulfil("samples", "answer", inputs, wanted)
        runner.ledger.close()
        return answer, sorted(tuple(row) for row in answer.replies.select(*columns).collect())

    with FakeServer(key=os.environ["FAKE_KEY"], batch_looks=2) as server:
        waiting = []
        for number in (1, 2, 3):
            now = ("llm.seed=1", "llm.batch_wait_s=0")
            sent, _ = drawn(runner_for(spark, f"{root}/b", server, f"run-{number}", *now))
            waiting.append(waits(sent)["llm:batch_outstanding"])
        # The answers; the second draw, and the verdict on the other answer; the verdict on the second draw.
        assert [len(one["custom_ids"]) for one in server.batches()] == [2, 1, 1, 1]
        assert waiting == [2, 2, 1]
        batch, by_batch = drawn(runner_for(spark, f"{root}/b", server, "run-4", "llm.seed=1"))
        assert waits(batch) == Counter() and [row[1] for row in by_batch] == [2, 1]
        assert Counter(entry["task"] for entry in server.requests()) == {"answer": 3, "answerability": 2}
        online, by_call = drawn(runner_for(spark, f"{root}/o", server, "run-1", "llm.seed=1", "llm.teacher=openai"))
        assert by_call == by_batch and online.cost.calls == 5
