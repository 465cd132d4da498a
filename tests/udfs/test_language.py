"""Languages are told from the beginning of a text, and names in any dress become one code."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from udfs.language import detect, language, normalise
from udfs.language_names import read_names

SAMPLES = {
    "en": "The committee will meet on Thursday to discuss the budget for the coming year.",
    "de": "Der Ausschuss trifft sich am Donnerstag, um den Haushalt für das nächste Jahr zu besprechen.",
    "fr": "Le comité se réunira jeudi pour discuter du budget de l'année à venir.",
    "es": "El comité se reunirá el jueves para discutir el presupuesto del próximo año.",
    "ru": "Комитет соберётся в четверг, чтобы обсудить бюджет на следующий год.",
    "zh": "委员会将于星期四开会讨论明年的预算问题，并决定新的计划。",
    "ja": "委員会は木曜日に会合を開き、来年の予算について話し合う予定です。",
    "ko": "위원회는 목요일에 모여 내년 예산에 대해 논의할 예정입니다.",
    "ar": "ستجتمع اللجنة يوم الخميس لمناقشة ميزانية العام المقبل.",
}


def test_plain_cases() -> None:
    assert detect(list(SAMPLES.values())) == list(SAMPLES)


@pytest.mark.parametrize("text", ["", " \n", "1234 5678 !!!", "👍👍", None])
def test_without_letters_nothing_is_known(text: str | None) -> None:
    assert detect([text]) == ["und"]


def test_only_the_beginning_counts() -> None:
    assert detect([SAMPLES["en"] * 80 + SAMPLES["ru"] * 5_000]) == ["en"]
    started = time.process_time()
    detect(["x" * 50_000_000])
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("English", "en"),
        (" english ", "en"),
        ("en", "en"),
        ("EN-us", "en"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("eng", "en"),
        ("ger", "de"),
        ("Chinese", "zh"),
        ("Unknown", "und"),
        ("", "und"),
        ("Haitian Creole", "ht"),
        ("Bokmal", "nb"),
        ("Klingonese of Kronos", "klingonese of kronos"),
    ],
)
def test_names_become_codes(name: str, code: str) -> None:
    assert normalise(name) == code


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20) | st.sampled_from(sorted(read_names())))
def test_normalising_twice_changes_nothing(name: str) -> None:
    assert normalise(normalise(name)) == normalise(name)


def test_the_table_is_consistent() -> None:
    codes = read_names()
    assert len(codes) > 250
    assert all(code.isalpha() and code.islower() and 2 <= len(code) <= 3 for code in codes.values())
    for code in set(codes.values()):
        assert normalise(code) == code, code


@pytest.mark.spark
def test_languages_in_spark(spark: SparkSession) -> None:
    rows = [*SAMPLES.items(), (None, None), ("und", "42")]
    frame = spark.createDataFrame(rows, "code string, text string").select("code", language()("text").alias("found"))
    assert all(row["code"] == row["found"] for row in frame.collect())
