"""Filters by reason code: a hand-written row for each."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.runtime.stage import Shared
from jobs.stages.long_conversations import language_allowed, long_conversations
from jobs.stages.long_documents import long_documents
from tests.roots import prose
from udfs.settings import FilterSettings, MinhashSettings, TokenizerSettings

pytestmark = pytest.mark.spark

LONG = prose("rice", 20)
CONVERSATIONS = {
    "a_kept": (LONG, "fine", 1, "English", False, False),
    "b_two_turns": (LONG, "fine", 2, "English", False, False),
    "c_no_reply": (LONG, "  ", 1, "English", False, False),
    "d_toxic": (LONG, "fine", 1, "English", True, False),
    "e_redacted": (LONG, "fine", 1, "English", False, True),
    "f_short": ("hello", "fine", 1, "English", False, False),
    "g_german": (LONG, "fine", 1, "German", False, False),
    "h_same_text": (LONG.upper(), "FINE", 1, "English", False, False),
    "i_nearly_same": (LONG + " One more word.", "fine", 1, "English", False, False),
    "j_other": (prose("tides", 20), "fine", 1, "English", False, False),
}


def conversations(spark: SparkSession, names: list[str]) -> DataFrame:
    return spark.createDataFrame(
        [(name, *CONVERSATIONS[name], "Test", None, None) for name in names],
        "id string, user_text string, assistant_text string, n_turns int, language string, toxic boolean, "
        "redacted boolean, source string, licence string, reject_reason string",
    )


def finish(made: Shared) -> DataFrame:
    found = made.finish(made.base)
    assert isinstance(found, DataFrame)
    return found


def reasons(frame: DataFrame, key: str) -> dict[str, str | None]:
    return {row[key]: row["reject_reason"] for row in frame.collect()}


def long(spark: SparkSession, names: list[str], previous: DataFrame | None = None, **rules: object) -> DataFrame:
    given: dict[str, Any] = {"min_conversation_tokens": 100, "languages": ("en",), "drop_redacted": True, **rules}
    settings = FilterSettings(**given)
    earlier = previous if previous is not None else spark.createDataFrame([], sql.columns("long_conversations"))
    return finish(
        long_conversations.function(
            conversations(spark, names),
            earlier,
            filter=settings,
            tokenizer=TokenizerSettings(),
            minhash=MinhashSettings(),
        )
    )


def test_each_rule_gives_its_code(spark: SparkSession) -> None:
    found = reasons(long(spark, list(CONVERSATIONS)), "conversation")
    kept = {name for name, reason in found.items() if reason is None}
    assert found["b_two_turns"] == "not_single_turn"
    assert found["c_no_reply"] == "no_reply"
    assert found["d_toxic"] == "toxic"
    assert found["e_redacted"] == "redacted"
    assert found["f_short"] == "too_short"
    assert found["g_german"] == "language:de"
    assert "j_other" in kept
    same = ("a_kept", "h_same_text", "i_nearly_same")
    ids = {row["conversation"]: row["id"] for row in long(spark, list(same)).collect()}
    winner = min(same, key=ids.__getitem__)
    assert [name for name in same if name in kept] == [winner], "the smallest id of the three alike is kept"
    for name in set(same) - {winner}:
        smaller = [other for other in same if ids[other] < ids[name]]
        spelled_alike = [other for other in smaller if {other, name} == {"a_kept", "h_same_text"}]
        code, met = ("exact_duplicate", spelled_alike) if spelled_alike else ("near_duplicate", smaller)
        assert found[name] == f"{code}:{min(ids[other] for other in met)}"


@pytest.mark.parametrize("names", [("German",), ("DE",), ("de-AT",), ("fr", "german")])
def test_languages_are_wanted_by_code_or_by_name(spark: SparkSession, names: tuple[str, ...]) -> None:
    rules, table = FilterSettings(languages=names), [("de",), ("en",), (None,)]
    told = spark.createDataFrame(table, "language string").select("language", language_allowed(rules).alias("allowed"))
    assert {row["language"]: row["allowed"] for row in told.collect()} == {"de": True, "en": False, None: False}
    texts = [("German", "g_german"), ("English", "j_other")]
    for language, kept in texts:
        found = reasons(long(spark, ["g_german", "j_other"], languages=(language,)), "conversation")
        assert [name for name, reason in found.items() if reason is None] == [kept]


def test_an_earlier_batch_wins_whatever_the_ids(spark: SparkSession) -> None:
    for first, second in (("a_kept", "i_nearly_same"), ("i_nearly_same", "a_kept")):
        earlier = long(spark, [first]).localCheckpoint()
        kept_id = earlier.collect()[0]["id"]
        assert reasons(long(spark, [second], earlier), "conversation") == {second: f"near_duplicate:{kept_id}"}
        assert reasons(long(spark, [second], earlier, near_duplicates=False), "conversation") == {second: None}


def test_count_of_the_user_turn_alone(spark: SparkSession) -> None:
    both = long(spark, ["a_kept"]).collect()[0]["n_tokens"]
    user = long(spark, ["a_kept"], count="user_turn").collect()[0]["n_tokens"]
    assert 0 < user < both


def test_document_lengths(spark: SparkSession) -> None:
    texts = {"short": prose("a", 2), "pair": prose("rice", 6), "single": prose("tides", 12), "long": prose("moss", 60)}
    frame = spark.createDataFrame(
        [(name, text, "en", "Test", None, None) for name, text in texts.items()],
        "id string, text string, language string, source string, licence string, reject_reason string",
    )
    settings = FilterSettings(min_document_tokens=100, max_pair_document_tokens=250, max_document_tokens=600)
    found = finish(
        long_documents.function(
            frame, spark.createDataFrame([], sql.columns("long_documents")), filter=settings,
            tokenizer=TokenizerSettings(), minhash=MinhashSettings(),
        )
    )  # fmt: skip
    told = {row["document"]: (row["reject_reason"], row["fits_pair"]) for row in found.collect()}
    assert told["short"][0] == "too_short"
    assert told["pair"] == (None, True)
    assert told["single"] == (None, False)
    assert told["long"][0] == "too_long"
