"""What a run would ask and cost: the arithmetic, the sample, and prompts rendered and held against the ledger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import sql
from jobs.runtime import synthesis
from jobs.runtime.errors import ServiceRefused
from jobs.runtime.estimates import (
    REDRAWS,
    Measured,
    Range,
    StagePlan,
    planned,
    reply_tokens,
    share_seen,
    total,
    tries_per_success,
)
from jobs.runtime.history import History
from jobs.runtime.ledger import Ledger
from jobs.runtime.ledger_files import calls_of, import_calls
from jobs.runtime.opening import opened
from jobs.runtime.planning import Planner
from jobs.runtime.plans import Plan, compared, comparison_lines, make_plan
from jobs.runtime.rendered import ledger_measures, rendered
from jobs.runtime.sampling import Sample, choose, sample
from jobs.runtime.settings import Settings, load_settings
from jobs.runtime.sources import find_inputs
from jobs.runtime.summary import Summary
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.fake_server.client import FakeServer
from tests.roots import BY_NAME, make_runner, prose, write_conversations, write_documents
from udfs.llm.context import TOKENS_PER_MESSAGE
from udfs.llm.prices import Price
from udfs.llm.requests import make_request
from udfs.llm.teacher import Request
from udfs.readers import InputFile
from udfs.settings import LlmSettings
from udfs.tokens import count_tokens

PRICE = Price(2.0, 10.0, 1.0)
sizes = st.lists(st.integers(1, 1000), min_size=1, max_size=30)


def ordered(value: Range) -> bool:
    return 0 <= value.low <= value.expected <= value.high


@given(st.floats(0, 1e6), st.floats(0, 3), st.floats(0, 1e4), st.integers(1, 1000))
def test_low_stays_below_expected_below_high(calls: float, doubt: float, spread: float, seen: int) -> None:
    measured = Measured(seen, 100.0, 50.0, spread, 0.1)
    plan = planned("x", "answer", Range.about(calls, doubt), Range.exactly(100), measured, 4096, PRICE, "")
    assert all(ordered(value) for value in (plan.calls, plan.tokens_in, plan.tokens_out))
    assert plan.money is not None and ordered(plan.money)
    assert ordered(total([plan, plan]).calls)


def test_money_is_unknown_rather_than_nothing() -> None:
    calls = Range.exactly(10)
    unknown = planned("a", "meta", calls, Range.exactly(100), None, 4096, None, "")
    known = planned("b", "meta", calls, Range.exactly(100), Measured(50, 100.0, 40.0, 0.0, 0.0), 4096, PRICE, "")
    assert unknown.money is None and unknown.as_dict()["money"] is None
    assert known.money is not None and known.money.low == pytest.approx(10 * (100 * 2 + 38 * 10) / 1e6)
    assert total([known, unknown]).money is None
    assert total([known, StagePlan("c")]).money == known.money, "a stage that asks nothing costs nothing"


@pytest.mark.parametrize(("teacher", "share"), [("openai", 1.0), ("openai_batch", 0.5)])
def test_planned_and_actual_are_told_at_the_same_price(teacher: str, share: float) -> None:
    """Ten calls that were made just as they were planned, of a plan that was made before the teacher was chosen."""
    llm = LlmSettings.model_validate({"teacher": teacher, "model": "m", "price_input": 2.0, "price_output": 10.0})
    measured = Measured(50, 100.0, 40.0, 0.0, 0.0)
    plan = planned("samples", "answer", Range.exactly(10), Range.exactly(100), measured, 4096, PRICE, "").as_dict()
    tokens = {"tokens_in": 1000, "tokens_out": 400, "tokens_cached": 0}
    billed = {f"{name}_billed": share * count for name, count in tokens.items()}
    told = compared(plan, {"calls": 10, **tokens, **billed}, llm)
    money, spent = told["planned"]["money"], told["actual"]["money"]
    assert spent == pytest.approx(share * (1000 * 2 + 400 * 10) / 1e6)
    assert money["low"] <= spent <= money["high"] and money["expected"] == pytest.approx(spent, rel=0.05)
    assert told["planned"]["calls"] == plan["calls"] and plan["money"]["expected"] == pytest.approx(0.006, rel=0.05)
    (line,) = list(comparison_lines([told]))[1:]
    assert line.rstrip().endswith(f"/ {spent:.4g}") and f"  {money['expected']:.4g} (" in line
    unknown = compared({**plan, "money": None}, None, llm)
    assert unknown["planned"]["money"] is None and unknown["actual"] == {
        "calls": 0,
        **dict.fromkeys(tokens, 0),
        "money": 0,
    }


def test_a_run_that_ends_keeps_what_was_planned_beside_what_was_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """In `stage_runs`, where SQL and the report look for it."""
    told = [{"stage": "samples", "planned": {}, "actual": {}}]
    monkeypatch.setattr(synthesis, "against_plan", lambda runner, history: told)
    monkeypatch.setattr(synthesis, "drop_scratch", lambda state: None)
    runner, lineage = MagicMock(summary=Summary()), MagicMock()
    Synthesis(MagicMock(), Settings(), (), Choices())._close(runner, lineage, "FINISHED")
    names = [called[0] for called in runner.history.method_calls]
    assert names == ["record", "flush"] and runner.summary.plan == told
    assert runner.history.record.call_args.args[0].detail["plan"] == told


def test_measured_replies_take_the_place_of_assumed_ones() -> None:
    assumed = reply_tokens("answer", None, 4096)
    assert reply_tokens("answer", Measured(4, 100.0, 50.0, 1.0, 0.0), 4096) == assumed, "four calls are too few"
    assert reply_tokens("answer", Measured(5, 100.0, 50.0, 1.0, 0.0), 4096).expected == 50
    assert reply_tokens("answer", None, 300).high == 300, "no reply is longer than llm.max_tokens"


@given(st.integers(5, 10_000).flatmap(lambda among: st.tuples(st.integers(0, among), st.just(among))))
def test_a_share_that_was_seen_takes_the_place_of_an_assumed_one(counts: tuple[int, int]) -> None:
    seen, among = counts
    share = share_seen(seen, among, REDRAWS)
    assert ordered(share) and share.high <= 1 and share.expected == seen / among
    assert share.high > 0 and share.low < 1, "never so sure of none, or of all"
    assert share_seen(2, 4, REDRAWS) == REDRAWS
    assert not seen or ordered(tries_per_success(share)), "few of many leave no doubt below what is expected"


@given(sizes, st.integers(1, 2000), st.integers(0, 5))
def test_whole_files_are_read_up_to_a_budget(numbers: list[int], budget: int, seed: int) -> None:
    files = [InputFile(f"f{i}", size, 0, "documents", "jsonl") for i, size in enumerate(numbers)]
    chosen, scale = choose(files, budget, seed)
    read = sum(file.size for file in chosen)
    assert chosen and (read <= budget or len(chosen) == 1)
    assert scale == pytest.approx(sum(numbers) / read)
    assert (chosen, scale) == choose(files[::-1], budget, seed), "whatever the order of the listing"


def write_corpus(folder: Path) -> list[list[str]]:
    """Three long conversations and a short one, four documents; the conversations as written."""
    talks = [[f"Report on {topic}. {prose(topic, 12)}", prose(topic, 2)] for topic in ("rice", "tides", "moss")]
    talks.append(["too short", "indeed"])
    write_conversations(folder / "talks.jsonl", talks)
    write_documents(folder / "docs.jsonl", [prose(topic, 10) for topic in ("basalt", "quartz", "opal", "jade")])
    return talks


def settings_given(folder: Path, *more: str) -> list[str]:
    return [
        f"inputs.conversations=['{folder}/talks.jsonl']",
        f"inputs.documents=['{folder}/docs.jsonl']",
        "filter={min_conversation_tokens: 50, min_document_tokens: 50, max_pair_document_tokens: 3000,"
        " max_document_tokens: 6000}",
        "types.k=2",
        "targets={single: 3, multi: 1}",
        "llm={teacher: openai, model: gpt-4o-mini, api_key_env: '', base_url: 'http://127.0.0.1:9/v1'}",
        *more,
    ]


def call(request: Request, tokens: int) -> dict[str, Any]:
    """A ledger row whose provider metered twice what our tokenizer counts."""
    known = {
        "id": request.key, "key": request.key, "parent_ids": [], "stage": "meta_records", "task": "meta",
        "status": "ok", "text": "{}", "tokens_in": 2 * tokens, "tokens_out": 70, "run_id": "earlier",
        "parameters": json.dumps(dict(request.parameters)),
    }  # fmt: skip
    return {name: known.get(name) for name in sql.columns("llm_calls").names}


def counted(request: Request, settings: Settings) -> int:
    texts = [message["content"] for message in request.messages]
    return sum(count_tokens(texts, settings.tokenizer)) + len(texts) * TOKENS_PER_MESSAGE


@pytest.mark.spark
def test_requests_are_counted_and_held_against_the_ledger(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """Against the same prompts rendered in plain Python."""
    talks = write_corpus(tmp_path)
    runner = make_runner(spark, root, settings_given(tmp_path))
    files = find_inputs(runner.settings.inputs)
    taken = sample(runner, BY_NAME, "conversations", files, 10**9)
    assert (taken.files, taken.files_read, taken.scale) == (1, 1, 1.0)
    reasons = [row["reject_reason"] for row in taken.long.select("reject_reason").collect()]
    assert sorted(map(str, reasons)) == ["None", "None", "None", "too_short"]
    stage, kept = BY_NAME["meta_records"], taken.kept
    assert stage.ask is not None
    asked = stage.ask(kept, taken.records, meta=runner.settings.meta)
    weights = kept.select(F.col("id").alias("input_id"), "weight")
    llm = runner.settings.llm
    requests = [make_request("meta", {"user": user, "assistant": reply}, llm) for user, reply in talks[:3]]
    counts = [counted(request, runner.settings) for request in requests]
    told = rendered(runner, llm, "meta", asked, weights)
    assert told.calls() == Range.exactly(3) and told.tokens().expected == pytest.approx(sum(counts) / 3, rel=0.005)

    rows = [call(request, count) for request, count in zip(requests[:2], counts[:2], strict=True)]
    runner.tables.append(spark.createDataFrame(rows, sql.columns("llm_calls")), "llm_calls", {})
    told = rendered(runner, llm, "meta", asked, weights)
    assert told.calls() == Range.exactly(1), "two are in the ledger"
    assert told.tokens().expected == pytest.approx(2 * counts[2], rel=0.01), "as the provider meters"
    (measured,) = ledger_measures(runner, ["meta_records"]).values()
    assert (measured.calls, measured.tokens_in, measured.tokens_out) == (2, sum(counts[:2]), 70)


@pytest.mark.spark
@pytest.mark.faults
def test_a_plan_is_made_without_a_call_and_kept(spark: SparkSession, root: str, tmp_path: Path) -> None:
    """Nothing answers at the address, so a call would fail."""
    write_corpus(tmp_path)
    settings = load_settings(None, settings_given(tmp_path), root)
    plan = make_plan(spark, settings, STAGES, 10**9)
    stages = {stage.stage: stage for stage in plan.stages}
    assert stages["meta_records"].calls == Range.exactly(3) and stages["document_labels"].calls == Range.exactly(4)
    assert stages["document_types"].calls.low == 2 and stages["samples"].calls.low == 4
    assert stages["samples"].tokens_in.low > 4 * 150, "the documents stand in the prompts"
    assert all(ordered(stage.tokens_in) and stage.money is not None for stage in plan.stages)
    assert not tables_at(spark, root).exists("llm_calls") and not tables_at(spark, root).exists("source_files")
    judging = make_plan(
        spark, load_settings(None, settings_given(tmp_path, "evidence.answerability=true"), root), STAGES, 10**9
    )
    judged, plain = next(one for one in judging.stages if one.stage == "samples"), stages["samples"]
    assert judged.calls.low == pytest.approx(1.6 * plain.calls.low), "a call behind each answer that there may be"
    assert judged.calls.high == 2 * plain.calls.high and judged.tokens_in.low > 1.5 * plain.tokens_in.low
    drawing = make_plan(
        spark, load_settings(None, settings_given(tmp_path, "evidence.second_draw=true"), root), STAGES, 10**9
    )
    drawn = next(one for one in drawing.stages if one.stage == "samples")
    assert drawn.calls.low == plain.calls.low and drawn.calls.high == pytest.approx(1.4 * plain.calls.high)
    assert drawn.tokens_out.expected == pytest.approx(1.1 * plain.tokens_out.expected), "as long as answers"
    assert any("second draws per answer" in line for line in drawing.lines())
    unknown = make_plan(spark, load_settings(None, settings_given(tmp_path, "llm.model=nobody"), root), STAGES, 10**9)
    assert unknown.as_dict()["total"]["money"] is None and any("nobody" in line for line in unknown.lines())
    kept = History(tables_at(spark, root)).last("plan")
    assert kept is not None and kept.detail == json.loads(json.dumps(unknown.as_dict())), "the newest stays in the root"


@pytest.mark.spark
@pytest.mark.faults
def test_a_mode_that_was_found_is_kept_after_a_crash_and_by_a_plan(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run dies when its first stage that asks has been answered; meanwhile the server does with strict schemas no
    more, so that asking it again would give every request another key."""
    write_corpus(tmp_path)
    root, taker = str(tmp_path / "root"), str(tmp_path / "taker")
    fulfil = Ledger.fulfil

    def die(ledger: Ledger, *given: Any, **more: Any) -> Any:
        fulfil(ledger, *given, **more)
        raise ServiceRefused("killed")

    with FakeServer() as server:
        given = settings_given(tmp_path, "llm.json_mode=auto", f"llm.base_url={server.base_url}")
        settings = load_settings(None, given, root)
        first = make_plan(spark, settings, STAGES, 10**9)
        assert not server.requests(), "a plan makes no call"
        assert any("json_mode is auto" in line for line in first.warnings), first.warnings
        run = Synthesis(spark, settings, STAGES, Choices(until="meta_records"))
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "fulfil", die)
            assert run.run() == 6
        asked = len(server.requests())
        assert asked == 1 + 3 and History(tables_at(spark, root)).last("meta_records") is None
        server.change(schema="refused")
        assert Synthesis(spark, settings, STAGES, Choices(until="meta_records")).run() == 0
        assert tables_at(spark, root).kept("meta_records").count() == 3
        require_no_calls(make_plan(spark, settings, STAGES, 10**9))
        other = load_settings(None, given, taker)
        with opened(spark, other, print, may_be_new=True) as runner:
            assert import_calls(runner, calls_of(spark, root)) == 3
        require_no_calls(make_plan(spark, other, STAGES, 10**9))
        assert len(server.requests()) == asked, "the endpoint was asked once what it can do, and once for each record"


def require_no_calls(plan: Plan) -> None:
    """What the first stage asks is in the ledger, and nothing is said of other settings."""
    assert plan.stages[0].stage == "meta_records" and plan.stages[0].calls == Range.exactly(0)
    assert not [line for line in plan.warnings if "json_mode" in line or "counted as if" in line], plan.warnings


@pytest.mark.spark
def test_second_draws_are_planned_by_how_answers_failed(spark: SparkSession, root: str) -> None:
    """On a root that never made one, and on one that did; a failed call and an honest no are no reason."""
    reasons = ["ungrounded", "no_evidence", "unanswerable", "llm:refusal", *[None] * 4]
    known = [{"id": str(n), "reject_reason": reason} for n, reason in enumerate(reasons)]
    runner = make_runner(spark, root)
    wanted = sql.columns("samples")
    rows = [{name: row.get(name) for name in wanted.names} for row in known]
    rows += [{**rows[-1], "id": "drawn", "draw": 2}, {**rows[-1], "id": "one", "draw": 1}]
    older = spark.createDataFrame(rows[:-2], wanted).drop("draw", "other_call")
    older.write.format("delta").save(runner.tables.location("samples"))
    runner.tables.refresh("samples")
    nothing = Sample(older, older, older, 0, 0, 1.0)
    planner = Planner(runner, BY_NAME, tables_at(spark, f"{root}/_preview"), nothing, nothing)
    assert planner._redraws().expected == 2 / 8
    runner.tables.append(spark.createDataFrame(rows[-2:], wanted), "samples", {})
    assert planner._redraws().expected == 3 / 10
