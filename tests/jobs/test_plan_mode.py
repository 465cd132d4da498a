"""Plans of small roots are interpreted, those of large ones compiled; a user's confs stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.runtime import plan_mode
from jobs.runtime.plan_mode import INTERPRETED, OURS, is_small, suit_plans
from jobs.runtime.settings import StorageSettings

pytestmark = pytest.mark.spark
COMPILED = "spark.sql.codegen.wholeStage"


@pytest.fixture
def session(spark: SparkSession) -> Iterator[SparkSession]:
    """A session of its own, so that the shared one keeps its confs."""
    own = spark.newSession()
    for key in (*INTERPRETED, OURS):
        own.conf.unset(key)
    yield own


def confs(session: SparkSession) -> dict[str, str | None]:
    return {key: session.conf.get(key, None) for key in INTERPRETED}


def test_a_root_that_grows_is_compiled(session: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = StorageSettings(root=str(tmp_path))
    assert suit_plans(session, storage, [100]) and confs(session) == INTERPRETED
    assert suit_plans(session, storage, [100]) and confs(session) == INTERPRETED, "asked again, nothing changes"
    assert is_small(session)
    session.range(5).write.format("delta").save(str(tmp_path / "walks"))
    monkeypatch.setattr(plan_mode, "SMALL", 100)
    assert not suit_plans(session, storage) and confs(session) == dict.fromkeys(INTERPRETED)
    assert not suit_plans(session, storage) and not is_small(session), "and stays so"


def test_the_inputs_count(session: SparkSession, tmp_path: Path) -> None:
    assert not suit_plans(session, StorageSettings(root=str(tmp_path / "new")), [plan_mode.SMALL, 1])
    assert confs(session) == dict.fromkeys(INTERPRETED)


def test_what_the_user_set_stays(session: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session.conf.set(COMPILED, "true")
    assert suit_plans(session, StorageSettings(root=str(tmp_path)))
    assert confs(session) == {**INTERPRETED, COMPILED: "true"}
    monkeypatch.setattr(plan_mode, "SMALL", -1)
    assert not suit_plans(session, StorageSettings(root=str(tmp_path))) and not is_small(session)
    assert confs(session) == {**dict.fromkeys(INTERPRETED), COMPILED: "true"}


def test_tables_elsewhere_are_compiled(session: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = StorageSettings(root="memory://bucket/root")
    for storage in (elsewhere, StorageSettings(schema_name="a.b", state_path="/tmp/s")):
        assert not suit_plans(session, storage) and confs(session) == dict.fromkeys(INTERPRETED)
    monkeypatch.setattr(plan_mode, "is_local", lambda master: False)
    assert not suit_plans(session, StorageSettings(root="/tmp"))


def test_both_ways_give_the_same_rows(session: SparkSession, tmp_path: Path) -> None:
    """Joins, windows, lists, digests and sums, as stages use them."""
    query = """
        SELECT k % 7 AS g, count(*) AS n, sum(k * 0.1D) AS s, max(r) AS r,
               sha2(concat_ws('|', sort_array(collect_list(t))), 256) AS h
        FROM (SELECT id AS k, concat('t', id % 13) AS t, row_number() OVER (PARTITION BY id % 5 ORDER BY id DESC) AS r
              FROM range(1000)) AS a LEFT JOIN (SELECT explode(sequence(0, 9)) AS e) AS b ON a.k % 10 = b.e
        GROUP BY k % 7 ORDER BY g"""
    compiled = session.sql(query).collect()
    assert suit_plans(session, StorageSettings(root=str(tmp_path)))
    plan = session.sql(query)
    interpreted = plan.collect()
    assert "*(" not in plan._jdf.queryExecution().executedPlan().toString(), "no generated stage"
    assert interpreted == compiled and len(compiled) == 7
