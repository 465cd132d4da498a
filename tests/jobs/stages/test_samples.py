"""The samples stage with second draws and answerability calls: behind an answer, kept with it, never paid twice."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.runtime.dependents import unused_calls
from jobs.runtime.errors import RecipeChanged
from jobs.runtime.estimates import Range
from jobs.runtime.recipes import identity, recipe
from jobs.runtime.rendered import counted
from jobs.runtime.restart import require_recipes, restart
from jobs.runtime.runner import Runner
from jobs.runtime.summary import StageTally
from jobs.stages import STAGES
from jobs.stages.samples import DRAWS as DRAWN
from jobs.stages.samples import VERDICT, sent
from tests.fake_server.client import FakeServer
from tests.roots import BY_NAME, make_runner, prose, rows

DOCUMENTS, DRAWS = 3, 2
ON = "evidence.answerability=true"
DRAW = "evidence.second_draw=true"
NEW = frozenset({*VERDICT, *DRAWN})  # columns that older roots lack


def stored(runner: Runner, name: str, given: list[dict[str, Any]]) -> None:
    """Rows put into a table as a stage would have written them; columns that are not given are null."""
    wanted = sql.columns(name)
    whole = [{column: row.get(column) for column in wanted.names} for row in given]
    runner.tables.append(runner.spark.createDataFrame(whole, wanted), name, {})


def pairs() -> list[dict[str, Any]]:
    return [
        {"id": f"d{number}-i{draw}", "setting": "single", "document_type": "report", "walk": "w", "walk_index": 0,
         "instruction": f"i{draw}", "documents": [f"d{number}"]}
        for number in range(DOCUMENTS) for draw in range(DRAWS)
    ]  # fmt: skip


def before_samples(runner: Runner, wishes: Sequence[str] = ("", ""), beginnings: Sequence[str] = ("", "", "")) -> None:
    """Two pairings of each of three documents, what they rest on, and samples as an older root has them.

    `wishes` are added to the instructions, `beginnings` to the documents.
    """
    path = [{"field": "tasks", "value": "extract the facts", "node": "n"}]
    documents = [f"d{number}" for number in range(DOCUMENTS)]
    texts = [begin + prose(f"{name} harbour", 60) for name, begin in zip(documents, beginnings, strict=True)]
    stored(runner, "documents", [{"id": name, "text": text} for name, text in zip(documents, texts, strict=True)])
    stored(runner, "long_documents", [{"id": f"l-{name}", "document": name, "n_tokens": 9} for name in documents])
    stored(runner, "walks", [{"id": "w", "setting": "single", "nodes": path}])
    drafts = [{"id": f"i{draw}", "instruction": f"Say what grew, version {draw}{w}."} for draw, w in enumerate(wishes)]
    stored(runner, "instructions", drafts)
    stored(runner, "pairings", pairs())
    older = [field for field in sql.columns("samples") if field.name not in NEW]
    spark, names = runner.spark, [field.name for field in older]
    given = spark.createDataFrame([{"id": "older"}], sql.columns("samples")).select(*names)
    given.write.format("delta").save(runner.tables.location("samples"))


def streamed(runner: Runner, checkpoint: Path) -> list[str]:
    """Ids that a stream over samples had not seen before."""
    found: list[str] = []

    def note(batch: DataFrame, _: int) -> None:
        found.extend(row["id"] for row in batch.select("id").collect())

    writer = runner.tables.stream("samples").writeStream.trigger(availableNow=True).foreachBatch(note)
    writer.option("checkpointLocation", str(checkpoint)).start().awaitTermination()
    return found


def runner_for(spark: SparkSession, root: str, server: FakeServer, run_id: str, *more: str) -> Runner:
    llm = [f"llm.base_url={server.base_url}", "llm.teacher=openai", "llm.model=fake", "llm.api_key_env=FAKE_KEY"]
    return make_runner(spark, root, [*llm, "llm.price_input=1", "llm.price_output=4", *more], run_id)


def run_samples(runner: Runner, again: bool = False) -> StageTally:
    if again:
        restart(runner, STAGES, ["samples"], [])
        stored(runner, "pairings", pairs())  # they start again too, and rounds bring back the same
    tally = runner.run(BY_NAME["samples"])
    runner.history.flush()
    runner.ledger.close()
    return tally


def answers(runner: Runner) -> list[dict[str, Any]]:
    """Stored samples of this program, without what every run and every setting may change."""
    mine = [row for row in rows(runner, "samples") if row["id"] != "older"]
    return [{name: cell for name, cell in row.items() if name not in {*VERDICT, "run_id", "recipe"}} for row in mine]


def asked(server: FakeServer, before: int) -> list[str]:
    """Tasks of the calls made since, those on one document together."""
    calls = sorted(server.requests()[before:], key=lambda entry: entry["cache_key"])
    return [entry["task"] for entry in calls]


def planned(runner: Runner) -> list[Range]:
    """Calls behind stored answers that are still to be made, as a plan counts them."""
    stage, tables = BY_NAME["samples"], runner.tables
    assert stage.ask is not None
    given = stage.ask(**{name: tables.kept(name) for name in ("pairings", "instructions", "walks", "documents")})
    wanted = stage.following(runner.settings)
    follow_ups = runner.ledger.follow_ups("samples", "answer", wanted, given)
    return [counted(runner, one.task, made).calls() for one, made in zip(wanted, follow_ups, strict=True)]


@pytest.mark.faults
@pytest.mark.spark
def test_verdicts_stand_beside_answers_that_they_do_not_change(spark: SparkSession, root: str, tmp_path: Path) -> None:
    many = DOCUMENTS * DRAWS
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        off = runner_for(spark, root, server, "run-1")
        before_samples(off)
        assert streamed(off, tmp_path / "checkpoint") == ["older"]
        assert run_samples(off).calls == many
        plain = answers(off)
        assert len(plain) == many and not any(row[name] for row in rows(off, "samples") for name in VERDICT)
        assert sorted(streamed(off, tmp_path / "checkpoint")) == [row["id"] for row in plain], "an older root's stream"

        on = runner_for(spark, root, server, "run-2", ON)
        with pytest.raises(RecipeChanged, match=r"evidence.answerability: None → True[\s\S]*--recompute samples"):
            require_recipes((BY_NAME["samples"],), on.settings, on.tables, on.history, ())
        assert planned(on) == [Range.exactly(many)], "a plan counts the verdicts that stored answers lack"
        tally = run_samples(on, again=True)
        assert planned(on) == [Range.exactly(0)]
        assert (tally.calls, tally.served) == (many, many)
        assert asked(server, many) == ["answerability"] * many, "answers come from the ledger"
        assert answers(on) == plain
        judged = rows(on, "samples")
        assert all(row["answerable_with"] is True and row["answerable_without"] is False for row in judged)
        assert all(row["answerable_why"].startswith("of ") for row in judged)
        calls = {row["id"]: row["task"] for row in rows(on, "llm_calls")}
        assert {calls[row["answerable_call"]] for row in judged} == {"answerability"}
        assert unused_calls(on.tables, frozenset({"samples"})).isEmpty(), "forgetting keeps what a verdict rests on"

        assert run_samples(runner_for(spark, root, server, "run-3", ON)).state == "unchanged"
        tally = run_samples(runner_for(spark, root, server, "run-4", ON), again=True)
        assert (tally.calls, tally.served) == (0, 2 * many)

        # One verdict failed for good, one is lost while the server is down: the one row has none, the other waits.
        failed, lost = (row["answerable_call"] for row in judged[:2])
        refusal = {"status": "lasting", "error_kind": "refusal", "text": None}
        changed = spark.createDataFrame(
            [{"id": failed, **refusal}], "id string, " + ", ".join(f"{n} string" for n in refusal)
        )
        on.tables.amend("llm_calls", changed, {})
        on.tables.delete("llm_calls", f"id = '{lost}'", {})
        server.change(faults={"server_503": 1.0}, times=99)
        tally = run_samples(runner_for(spark, root, server, "run-5", ON), again=True)
        assert (tally.kept, tally.rejected, tally.deferred) == (many - 1, 0, 1)
        server.change(faults={})
        last = runner_for(spark, root, server, "run-6", ON)
        assert run_samples(last).calls == 1
        told = {row["id"]: row for row in rows(last, "samples")}
        assert told[judged[0]["id"]]["answerable_with"] is None and told[judged[0]["id"]]["reject_reason"] is None
        assert told[judged[1]["id"]]["answerable_with"] is True and answers(last) == plain

        # A ledger that knows nothing: each verdict is asked for right behind its answer.
        before = len(server.requests())
        last.tables.delete("llm_calls", "true", {})
        whole = runner_for(spark, root, server, "run-7", ON)
        tally = run_samples(whole, again=True)
        assert (tally.calls, tally.served, tally.saved_ledger) == (2 * many, 0, 0.0)
        assert asked(server, before) == ["answer", "answerability"] * many
        later = [e for e in server.requests()[before:] if e["task"] == "answerability"]
        assert all(e["usage"]["prompt_tokens_details"]["cached_tokens"] > 1_000 for e in later)


def told(runner: Runner) -> Counter[tuple[Any, ...]]:
    """How often samples of this program have which draw, seed and reason."""
    mine = [row for row in rows(runner, "samples") if row["id"] != "older"]
    return Counter((row["draw"], row["generator"]["seed"], row["reject_reason"]) for row in mine)


PASSING, FAILING, PLAIN = " [[ungrounded:1]]", " [[ungrounded:1,2]]", "[[ungrounded:9]] "
UNGROUNDED = "ungrounded"


def before_draws(runner: Runner) -> None:
    """Of two documents the second draw of one answer will pass and that of the other fail; of one none is needed."""
    before_samples(runner, (PASSING, FAILING), ("", "", PLAIN))


def mine(runner: Runner) -> list[dict[str, Any]]:
    """Samples of this program, without what every run may change."""
    marks = {"run_id", "recipe", "call_id", "other_call", "answerable_call"}
    found = [row for row in rows(runner, "samples") if row["id"] != "older"]
    return [{name: cell for name, cell in row.items() if name not in marks} for row in found]


@pytest.mark.faults
@pytest.mark.spark
def test_an_answer_that_fails_the_gates_is_drawn_once_more(spark: SparkSession, root: str) -> None:
    """The switch is turned on for a root that is there: the second draws alone are made."""
    many = DOCUMENTS * DRAWS
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        off = runner_for(spark, root, server, "run-1", "llm.seed=1")
        before_draws(off)
        assert run_samples(off).calls == many
        assert told(off) == {(None, 1, UNGROUNDED): 4, (None, 1, None): 2}
        first = {row["id"]: row for row in rows(off, "samples")}

        on = runner_for(spark, root, server, "run-2", "llm.seed=1", DRAW)
        with pytest.raises(RecipeChanged, match=r"evidence.second_draw: None → True[\s\S]*--recompute samples"):
            require_recipes((BY_NAME["samples"],), on.settings, on.tables, on.history, ())
        assert planned(on) == [Range.exactly(4)]
        tally = run_samples(on, again=True)
        assert (tally.calls, tally.served, tally.kept, tally.rejected) == (4, many, 4, 2)
        assert planned(on) == [Range.exactly(0)]
        assert told(on) == {(1, 1, UNGROUNDED): 2, (2, 2, None): 2, (1, 1, None): 2}
        calls = {row["id"]: json.loads(row["parameters"])["seed"] for row in rows(on, "llm_calls")}
        drawn = [row for row in rows(on, "samples") if row["id"] != "older"]
        for row in drawn:
            assert calls[row["call_id"]] == row["generator"]["seed"]
            asked_again = row["draw"] == 2 or row["reject_reason"]
            assert calls.get(row["other_call"]) == ((3 - row["draw"]) if asked_again else None)
            if row["draw"] == 1:
                kept = {name for name in row if name not in {*DRAWN, "run_id", "recipe"}}
                assert {n: row[n] for n in kept} == {n: first[row["id"]][n] for n in kept}, "the first answer as it was"
        assert unused_calls(on.tables, frozenset({"samples"})).isEmpty(), "forgetting keeps both draws"


@pytest.mark.faults
@pytest.mark.spark
def test_a_second_draw_that_is_lost_has_its_row_wait_and_one_that_failed_does_not(
    spark: SparkSession, root: str
) -> None:
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        on = runner_for(spark, root, server, "run-1", "llm.seed=1", DRAW)
        before_draws(on)
        assert run_samples(on).calls == DOCUMENTS * DRAWS + 4
        assert asked(server, 0) == ["answer"] * (DOCUMENTS * DRAWS + 4)
        again = run_samples(runner_for(spark, root, server, "run-2", "llm.seed=1", DRAW), again=True)
        assert (again.calls, again.served) == (0, DOCUMENTS * DRAWS + 4)
        drawn = [row for row in rows(on, "samples") if row["id"] != "older"]
        # One second draw that passed failed for good, another is lost while the server is down.
        failed, lost = (row["call_id"] for row in drawn if row["draw"] == 2)
        refused = spark.createDataFrame(
            [(failed, "lasting", "refusal", None)], "id string, status string, error_kind string, text string"
        )
        on.tables.amend("llm_calls", refused, {})
        on.tables.delete("llm_calls", f"id = '{lost}'", {})
        server.change(faults={"server_503": 1.0}, times=99)
        down = runner_for(spark, root, server, "run-4", "llm.seed=1", DRAW)
        tally = run_samples(down, again=True)
        assert (tally.kept, tally.rejected, tally.deferred) == (2, 3, 1)
        (row,) = [row for row in rows(down, "samples") if row["other_call"] == failed]
        assert (row["draw"], row["reject_reason"]) == (1, UNGROUNDED), "it leaves the first answer as it is"
        server.change(faults={})
        assert run_samples(runner_for(spark, root, server, "run-5", "llm.seed=1", DRAW)).calls == 1
        assert told(on) == {(1, 1, UNGROUNDED): 3, (2, 2, None): 1, (1, 1, None): 2}


@pytest.mark.faults
@pytest.mark.spark
def test_what_stands_of_two_draws_is_judged(spark: SparkSession, root: str) -> None:
    """Both switches, on a ledger that knows nothing, then on one that knows the first answers and their verdicts."""
    many = DOCUMENTS * DRAWS
    with FakeServer(key=os.environ["FAKE_KEY"]) as server:
        both = ("llm.seed=1", DRAW, ON)
        whole = runner_for(spark, f"{root}/a", server, "run-1", *both)
        before_draws(whole)
        assert run_samples(whole).calls == 2 * many + 4
        assert asked(server, 0) == ["answer", "answer", "answerability"] * 4 + ["answer", "answerability"] * 2
        late = [e["usage"]["prompt_tokens_details"]["cached_tokens"] for e in server.requests()]
        assert sum(cached > 1_000 for cached in late) == len(late) - DOCUMENTS, "all but the first of a document"
        assert all(row["answerable_with"] for row in mine(whole))

        judged = runner_for(spark, f"{root}/b", server, "run-1", "llm.seed=1", ON)
        before_draws(judged)
        assert run_samples(judged).calls == 2 * many
        before = len(server.requests())
        later = runner_for(spark, f"{root}/b", server, "run-2", *both)
        assert planned(later) == [Range.exactly(4), Range.exactly(0)]
        assert run_samples(later, again=True).calls == 4 + 2
        tasks = Counter(entry["task"] for entry in server.requests()[before:])
        assert tasks == {"answer": 4, "answerability": 2}, "a verdict about each answer that stands now"
        assert mine(later) == mine(whole)


@pytest.mark.spark
def test_a_sample_tells_what_was_sent(spark: SparkSession) -> None:
    """On the wire `extra_body` wins over the settings."""
    given = ({"seed": 1, "temperature": 0.7, "extra_body": {"seed": 5, "temperature": 0.2}}, {"temperature": 0.7})
    frame = spark.createDataFrame([(json.dumps(one),) for one in given], "parameters string")
    told = [tuple(row) for row in frame.select(sent("seed"), sent("temperature")).collect()]
    assert told == [("5", "0.2"), (None, "0.7")]


def test_a_switch_that_is_off_is_no_part_of_the_recipe(tmp_path: Path) -> None:
    from jobs.runtime.settings import load_settings

    samples = BY_NAME["samples"]
    off, on = (load_settings(None, given, str(tmp_path)) for given in ([], [ON]))
    assert "answerability" not in recipe(samples, off)["evidence"] and "follow_up_sha" not in recipe(samples, off)
    assert recipe(samples, on)["evidence"]["answerability"] is True and recipe(samples, on)["follow_up_sha"]
    assert identity(recipe(samples, on)) != identity(recipe(samples, off))
    for one in STAGES:
        if one.name != "samples":
            assert recipe(one, on) == recipe(one, off), one.name


def test_second_draws_are_part_of_the_recipe_only_where_they_are_made(tmp_path: Path) -> None:
    from jobs.runtime.settings import load_settings

    samples = BY_NAME["samples"]
    off, judged, drawn, both = (load_settings(None, given, str(tmp_path)) for given in ([], [ON], [DRAW], [ON, DRAW]))
    assert len({identity(recipe(samples, one)) for one in (off, judged, drawn, both)}) == 4
    assert not any("second_draw" in recipe(samples, one)["evidence"] for one in (off, judged))
    assert recipe(samples, drawn)["evidence"]["second_draw"] is True and "follow_up_sha" not in recipe(samples, drawn)
    assert recipe(samples, both)["follow_up_sha"] == recipe(samples, judged)["follow_up_sha"]
