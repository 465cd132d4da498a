"""A plan, a preview and a run against a metering server, held against what it metered; then the run is replayed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.replay import report
from jobs.runtime.errors import SettingsFault
from jobs.runtime.forgetting import forget
from jobs.runtime.ledger_files import export_calls
from jobs.runtime.opening import opened
from jobs.runtime.plans import Plan, make_plan
from jobs.runtime.previewing import preview
from jobs.runtime.replaying import Replay
from jobs.runtime.runs import runs
from jobs.runtime.settings import Settings, load_settings
from jobs.runtime.synthesis import Choices
from jobs.stages import STAGES
from tests.equality import tables_at
from tests.fake_server.client import FakeServer
from tests.small_corpus import fitting, small_corpus, synthesize
from udfs.llm.prices import price_of

pytestmark = [pytest.mark.spark, pytest.mark.end_to_end, pytest.mark.faults, pytest.mark.timeout(3600)]
NEAR = 0.15
BUDGET = 10**9


@dataclass
class World:
    """A corpus, a server that meters, and a root."""

    spark: SparkSession
    folder: Path
    root: Path
    server: FakeServer

    @property
    def given(self) -> list[str]:
        return fitting(
            self.folder,
            "llm.teacher=openai",
            "llm.model=gpt-4o-mini",
            "llm.api_key_env=FAKE_KEY",
            f"llm.base_url={self.server.base_url}",
        )

    @property
    def settings(self) -> Settings:
        return load_settings(None, self.given, str(self.root))

    def plan(self) -> Plan:
        asked = len(self.server.requests())
        made = make_plan(self.spark, self.settings, STAGES, BUDGET)
        assert len(self.server.requests()) == asked, "a plan asks nothing"
        return made

    def replay(self, run: str, name: str) -> Path:
        new = self.root.parent / name
        report(Replay(self.spark, STAGES, tables_at(self.spark, self.root), str(new), print).run(run))
        return new


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("corpus")
    records = small_corpus(folder / "whole")
    records.write_conversations(folder / "conversations-1.parquet", 0, -8)
    records.write_conversations(folder / "later.parquet", -8)
    records.write_documents(folder / "documents-1.jsonl.zst")
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"]) as server:
        yield World(spark, folder, tmp_path_factory.mktemp("roots") / "root", server)


def tokens_in(stages: list[dict[str, Any]]) -> tuple[float, int]:
    """Prompt tokens planned and metered, over the calls that were made."""
    planned = sum(
        one["planned"]["tokens_in"]["expected"] / one["planned"]["calls"]["expected"] * one["actual"]["calls"]
        for one in stages
    )
    return planned, sum(one["actual"]["tokens_in"] for one in stages)


def require_first_plan(world: World, first: Plan) -> None:
    """The plan that knew nothing but the input, against all that the server metered, the preview's calls included."""
    price = price_of(world.settings.llm)
    assert price is not None
    stage_of = {str(stage.task): stage.name for stage in STAGES if stage.task} | {"type_label": "document_types"}
    planned, metered, spent = 0.0, 0, 0.0
    told = {stage.stage: stage for stage in first.stages}
    for request in world.server.requests():
        stage, usage = told[stage_of[request["task"]]], request["usage"]
        planned += stage.tokens_in.expected / stage.calls.expected
        metered += usage["prompt_tokens"]
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        spent += price.cost(usage["prompt_tokens"], usage["completion_tokens"], cached)
    money = first.as_dict()["total"]["money"]
    print(f"first plan: {planned:,.0f} tokens in for {metered:,}; {spent:.4f} USD in {money}")
    assert planned == pytest.approx(metered, rel=NEAR)
    assert money["low"] <= spent <= money["high"]


def test_plan_preview_and_run_agree(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    first = world.plan()
    assert {stage.stage for stage in first.stages if stage.calls.low > 0} == {
        "meta_records", "document_types", "task_rewrites", "document_labels", "instructions", "samples",
    }  # fmt: skip
    assert preview(world.spark, world.settings, STAGES, 20, Choices()) == 0
    said = capsys.readouterr().out
    calls = (world.root / "_preview" / "calls.txt").read_text(encoding="utf-8")
    assert (
        calls.count("----- reply (gpt-4o-mini, ok)") == len(world.server.requests()) and calls.splitlines()[1] in said
    )
    assert not tables_at(world.spark, world.root).exists("meta_records"), "the root's own tables are left alone"
    in_preview = tables_at(world.spark, world.root / "_preview")
    assert in_preview.read("meta_records").count() == 20 and not in_preview.exists("llm_calls")

    second = world.plan()
    assert second.stages[0].calls.expected == first.stages[0].calls.expected - 20, "these are not paid again"
    status, summary = synthesize(world.spark, world.root, world.given)
    assert status == 0 and summary["plan"]
    planned, metered = tokens_in(summary["plan"])
    assert planned == pytest.approx(metered, rel=NEAR)
    money = second.as_dict()["total"]["money"]
    spent = sum(one["actual"]["money"] for one in summary["plan"])
    assert money["low"] <= spent <= money["high"]
    assert spent == pytest.approx(money["expected"], rel=NEAR), "after a preview"
    require_first_plan(world, first)
    hashes = [entry["hash"] for entry in world.server.requests() if entry["answered"]]
    assert len(hashes) == len(set(hashes)), "no request was answered twice"
    assert all(stage.calls.high == 0 for stage in world.plan().stages), "nothing is left to ask"


def test_runs_are_replayed_without_a_call_and_refused_when_something_was_forgotten(world: World) -> None:
    (world.folder / "later.parquet").rename(world.folder / "conversations-2.parquet")
    assert synthesize(world.spark, world.root, world.given)[0] == 0
    first, second = runs(tables_at(world.spark, world.root))
    asked = len(world.server.requests())
    world.replay(first.run_id, "first")
    new = world.replay(second.run_id, "second")
    assert len(world.server.requests()) == asked
    with pytest.raises(SettingsFault, match="holds a root already"):
        world.replay(second.run_id, "second")
    before, after = (tables_at(world.spark, root).read("meta_records").count() for root in (new, world.root))
    assert before == after > 20

    with opened(world.spark, world.settings, print) as runner:
        export_calls(runner, str(world.root.parent / "calls"), ["jsonl"])
        forget(runner, STAGES, [str(world.folder / "conversations-2.parquet")], [])
    assert not (world.root / "_preview").exists(), "the preview held records"
    with pytest.raises(SettingsFault, match=r"conversations-2.parquet: was forgotten on"):
        world.replay(second.run_id, "third")
    secret = os.environ["FAKE_KEY"].encode()
    files = [path for path in world.root.parent.rglob("*") if path.is_file()]
    assert files and not [path for path in files if secret in path.read_bytes()]
