"""What a change costs in calls, and where the key is, by the server's own log of whole runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

import sql
from jobs.report import FILE, gather, open_root, page
from jobs.runtime.errors import GateStop, RecipeChanged
from jobs.runtime.plans import make_plan
from jobs.runtime.replaying import Replay
from jobs.runtime.runs import runs
from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import STAGES
from tests.equality import assert_same_tables, tables_at
from tests.fake_server.client import FakeServer
from tests.fake_server.faults import choose
from tests.faults.corpus import WORDS, teacher, write_corpus
from tests.faults.job import REPOSITORY, Job
from tests.roots import prose, write_conversations

pytestmark = [pytest.mark.spark, pytest.mark.faults, pytest.mark.timeout(3600)]

CONCURRENCY = 2  # calls in flight per task, of which there are two
PARSED = ("meta_records", "samples")  # stages whose function reads the replies
FILTERED = {"content_filter": 0.04}


@dataclass
class World:
    """A corpus, a server, and a root on which one run has ended."""

    spark: SparkSession
    given: list[str]
    root: Path
    server: FakeServer
    said: str
    asked: set[str]  # hashes of its requests

    def tasks(self, since: int = 0) -> Counter[str]:
        """Requests by task, those left out that came before."""
        return Counter(str(request.get("task")) for request in self.server.requests()[since:])

    def synthesize(self, root: Path, *more: str, stages: Sequence[Any] = STAGES, **choices: Any) -> int:
        settings = load_settings(None, [*self.given, *more], str(root))
        return Synthesis(self.spark, settings, stages, Choices(**choices)).run()


@pytest.fixture(scope="module")
def world(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("world")
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"]) as server:
        given = [*write_corpus(folder), *teacher(server.base_url, CONCURRENCY)]
        with Job(folder / "root", given) as job:
            assert job.end() == 0, job.said
        asked = {request["hash"] for request in server.requests()}
        yield World(spark, given, folder / "root", server, job.said, asked)


@pytest.fixture
def root(world: World, tmp_path: Path) -> Path:
    """A copy of the root, to be changed."""
    return Path(shutil.copytree(world.root, tmp_path / "root"))


def test_how_it_is_sent_makes_no_call(world: World, root: Path) -> None:
    sent = len(world.server.requests())
    other = ("llm.concurrency=5", "llm.timeout_s=77", "llm.max_error_share=0.9", "llm.requests_per_minute=6000")
    assert world.synthesize(root, *other) == 0
    assert world.synthesize(root, *other, recompute=("meta_records",)) == 0
    assert len(world.server.requests()) == sent


@pytest.mark.parametrize("name", PARSED)
def test_another_parser_makes_no_call(world: World, root: Path, name: str) -> None:
    """A stage whose code changed has another revision: stored rows are not mixed, and replies are read once more."""
    sent = len(world.server.requests())
    stages = [replace(stage, revision=stage.revision + 1) if stage.name == name else stage for stage in STAGES]
    with pytest.raises(RecipeChanged, match=f"--recompute {name} "):
        world.synthesize(root, stages=stages)
    assert world.synthesize(root, stages=stages, recompute=(name,)) == 0
    assert len(world.server.requests()) == sent
    same = [stage.name for stage in STAGES if stage.name not in (name, "influence")]
    assert_same_tables(tables_at(world.spark, root), tables_at(world.spark, world.root), same)


def test_another_prompt_makes_its_own_calls_and_later_ones(world: World, root: Path, tmp_path: Path) -> None:
    """The file is edited as a user would edit it, in a copy that comes first on the path of driver and workers."""
    shutil.copytree(REPOSITORY / "udfs", tmp_path / "edited/udfs", ignore=shutil.ignore_patterns("__pycache__"))
    prompt = tmp_path / "edited/udfs/llm/prompts/task_rewrite.j2"
    text = prompt.read_text(encoding="utf-8")
    prompt.write_text(text.replace("{% block user %}", "{% block user %}\nWrite plainly.", 1), encoding="utf-8")
    assert prompt.read_text(encoding="utf-8") != text
    edited: dict[str, Any] = {"PYTHONPATH": str(tmp_path / "edited"), "folder": tmp_path}
    before, sent = world.tasks(), len(world.server.requests())
    with Job(root, world.given, **edited) as job:
        assert job.end() == 2 and "--recompute task_rewrites" in job.said, job.said
    assert len(world.server.requests()) == sent
    with Job(root, world.given, "--recompute", "task_rewrites", **edited) as job:
        assert job.end() == 0, job.said
    made = world.tasks(sent)
    assert made.pop("task_rewrite") == before["task_rewrite"], "each of them once"
    assert set(made) <= {"instruction", "answer"}, "what comes later is asked where what it reads has changed"
    sent = len(world.server.requests())
    with Job(root, world.given, "--recompute", "meta_records", **edited) as job:
        assert job.end() == 0, job.said
    assert len(world.server.requests()) == sent, "all of it is in the ledger"


def typed(job: str, *arguments: str) -> str:
    """A job as a user types it; what it printed."""
    command = [sys.executable, "-m", f"jobs.{job}", *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_ledger_taken_elsewhere_answers_everything(world: World, root: Path, tmp_path: Path) -> None:
    """Exported, taken in by a new root, planned, run and replayed by the commands that users type: nothing is sent."""
    sent, out, new = len(world.server.requests()), tmp_path / "calls", tmp_path / "new"
    calls = tables_at(world.spark, root).read("llm_calls").count()
    assert f"{calls:,} calls in {out}/parquet" in typed("ledger", "export", "--root", str(root), "--out", str(out))
    assert f"{calls:,} calls taken in" in typed("ledger", "import", "--root", str(new), "--in", str(out / "parquet"))
    assert "0 calls taken in" in typed("ledger", "import", "--root", str(new), "--from", str(root))
    given = [part for one in world.given for part in ("--set", one)]
    plan = json.loads(typed("plan", "--root", str(new), "--json", *given))
    calls_of = {one["stage"]: one["calls"]["high"] for one in plan["stages"]}
    assert calls_of["meta_records"] == 0 < calls_of["samples"], "what is asked of the input itself is known to be there"
    assert world.synthesize(new) == 0
    assert len(world.server.requests()) == sent
    assert_same_tables(tables_at(world.spark, new), tables_at(world.spark, world.root))
    (run,) = [one for one in runs(tables_at(world.spark, new)) if one.job == "synthesize"]
    said = typed("replay", "--run", run.run_id, "--from", str(new), "--root", str(tmp_path / "replayed"))
    assert len(world.server.requests()) == sent and "equal" in said, said


def test_a_budget_of_two_fifths_of_the_plan(world: World, tmp_path: Path) -> None:
    """Status 3 within a call per worker of it; runs after it pay for the rest alone."""
    root, corpus = tmp_path / "root", [one for one in world.given if not one.startswith("llm=")]
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"], latency=0.05) as server:
        given = [*corpus, *teacher(server.base_url, CONCURRENCY)]
        plan = make_plan(world.spark, load_settings(None, given, str(root)), STAGES, 10**9)
        planned = sum(stage.calls.expected for stage in plan.stages)
        budget = int(0.4 * planned)
        assert budget >= 10 and not server.requests()
        with Job(root, [*given, f"llm.budget_calls={budget}"]) as job:
            assert job.end() == 3, job.said
        assert "budget" in job.said and "Traceback" not in job.said
        sent = len(server.requests())
        assert budget - 2 * CONCURRENCY <= sent <= budget + 2, (budget, sent)
        answered = sum(request["answered"] for request in server.requests())
        assert answered == sent == tables_at(world.spark, root).read("llm_calls").count(), "what was answered is kept"
        with Job(root, given) as job:
            assert job.end() == 0, job.said
        hashes = [request["hash"] for request in server.requests() if request["answered"]]
        assert len(hashes) == len(set(hashes)), "nothing is paid for twice"
        assert set(hashes) == world.asked, "and in the end all was asked that a run without a budget asks"
    print(f"\nplanned {planned:.0f} calls, budget {budget}, sent {sent}")


def filtered_answers(world: World) -> tuple[int, set[str]]:
    """A seed by which FILTERED meets two answers of the first run or more, and no other request; their hashes."""
    tasks = {request["hash"]: request.get("task") for request in world.server.requests()}
    for seed in range(100_000):
        met = {one for one in world.asked if choose(one, "", FILTERED, seed, 1, 1)}
        if len(met) >= 2 and {tasks[one] for one in met} == {"answer"}:
            return seed, met
    raise AssertionError("no such seed")


def test_failures_are_served_until_they_are_asked_again(world: World, tmp_path: Path) -> None:
    """`--retry-rejected` as typed: the calls that failed are made again, and no other."""
    seed, met = filtered_answers(world)
    root, corpus = tmp_path / "root", [one for one in world.given if not one.startswith("llm=")]
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"], faults=FILTERED, seed=seed) as server:
        given = [*corpus, *teacher(server.base_url, CONCURRENCY)]
        with Job(root, given) as job:
            assert job.end() == 0, job.said
        failed = tables_at(world.spark, root).read("samples").where("reject_reason = 'llm:content_filter'").count()
        assert failed >= len(met)
        server.change(faults={})
        sent = len(server.requests())
        with Job(root, given) as job:
            assert job.end() == 0, job.said
        assert len(server.requests()) == sent, "a failure is an answer, the service being well again or not"
        with Job(root, given, "--retry-rejected", "samples") as job:
            assert job.end() == 0, job.said
        again = [request["hash"] for request in server.requests()[sent:]]
        assert met <= set(again) and len(again) == len(set(again)) == failed
        left = tables_at(world.spark.newSession(), root).read("samples").where("reject_reason LIKE 'llm:%'")
        assert left.isEmpty()
        with Job(root, given, "--retry-rejected", "samples") as job:
            assert job.end() == 0, job.said
        assert len(server.requests()) == sent + failed, "none is left to be made again"


def test_a_service_that_mostly_fails_ends_the_run_with_its_errors(world: World, tmp_path: Path) -> None:
    """Status 6 and the commonest errors; once it is well, the next run asks for what is missing alone."""
    topics = [f"{word} {number}" for word in WORDS for number in range(5)]
    talk = write_conversations(
        tmp_path / "talk.jsonl", [[f"List the facts. {prose(one, 14)}", f"In short: {prose(one, 2)}"] for one in topics]
    )
    corpus = [one for one in world.given if not one.startswith("llm=")]
    corpus += [f"inputs.conversations=['{talk}']", "filter.near_duplicates=false"]
    choices = ("--until", "meta_records")
    rates = {"server_503": 0.35, "disconnect": 0.25}  # one sentence a kind: of two the last one is told
    with FakeServer(lifetime=3600.0, key=os.environ["FAKE_KEY"], faults=rates, times=99) as server:
        given = [*corpus, *teacher(server.base_url, CONCURRENCY)]
        with Job(tmp_path / "root", given, *choices) as job:
            assert job.end() == 6, job.said
        assert "stopped stage meta_records (too_many_errors): 51 of the last " in job.said, job.said
        assert "× server (HTTP 503: Overloaded)" in job.said and "then run again" in job.said
        assert "Traceback" not in job.said
        server.change(faults={})
        with Job(tmp_path / "root", given, *choices) as job:
            assert job.end() == 0, job.said
        answered = [request["hash"] for request in server.requests() if request["answered"]]
        assert len(answered) == len(set(answered)) == len(topics), "what was answered before is kept"


def test_a_replay_says_which_answers_are_missing(world: World, root: Path, tmp_path: Path) -> None:
    sent, tables = len(world.server.requests()), tables_at(world.spark, root)
    lost = tables.read("llm_calls").where("stage = 'meta_records'").orderBy("id").first()
    assert lost is not None
    tables.delete("llm_calls", f"id = '{lost['id']}'", {"stage": "llm_calls"})
    (run,) = [one for one in runs(tables) if one.job == "synthesize"]
    with pytest.raises(GateStop, match=r"the ledger does not hold \(meta_records 1\); no call was made"):
        Replay(world.spark, STAGES, tables, str(tmp_path / "new"), print).run(run.run_id)
    assert len(world.server.requests()) == sent


def test_the_key_is_nowhere(world: World, tmp_path: Path) -> None:
    """No table, file, log, MLflow run, report or sentence holds it, not even where the server repeats what it got."""
    key = os.environ["FAKE_KEY"]
    tables = tables_at(world.spark.newSession(), world.root)
    html = page(gather(tables, open_root(tables)))
    (world.root / FILE).write_text(html, encoding="utf-8")
    decoded = "\n".join(line for name in sql.tables() for line in tables.read(name).toJSON().collect())
    assert len(decoded) > 10**5 and "FAKE_KEY" in decoded, "the variable's name is there, in the settings of the run"
    assert key not in decoded and key not in world.said and key not in html
    files = [path for path in world.root.rglob("*") if path.is_file()]
    assert any("_mlflow" in str(path) for path in files)
    assert not [path for path in files if key.encode() in path.read_bytes()]

    wrong = "canary-wrong-5b20c4"
    with Job(tmp_path / "root", world.given, FAKE_KEY=wrong) as job:
        assert job.end() == 6, job.said
    assert "FAKE_KEY" in job.said and wrong not in job.said and "Traceback" not in job.said, job.said
    assert not [
        path for path in (tmp_path / "root").rglob("*") if path.is_file() and wrong.encode() in path.read_bytes()
    ]
