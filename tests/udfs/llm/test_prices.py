"""Prices: the user's before the table's, and unknown where neither knows."""

from __future__ import annotations

import pytest

from udfs.llm.prices import Price, price, price_of, table_date
from udfs.llm.progress import Progress
from udfs.settings import LlmSettings


def teacher(**changes: object) -> LlmSettings:
    return LlmSettings.model_validate({"teacher": "openai", "model": "gpt-4o-mini", **changes})


def test_the_table_knows_public_models_and_where_they_are_served() -> None:
    found = price_of(teacher())
    assert found is not None and 0 < found.cached < found.input < found.output
    assert price("gpt-4o-mini", "https://mine.openai.azure.com/openai/v1") is not None
    assert table_date().startswith("litellm ")


def test_unknown_is_unknown_and_never_free() -> None:
    assert price_of(teacher(model="my-own-model")) is None
    assert price_of(teacher(model="my-own-model", price_input=1.0)) is None, "half a price is none"


def test_the_users_price_wins() -> None:
    assert price_of(teacher(price_input=1.0, price_output=2.0)) == Price(1.0, 2.0, 1.0)
    assert price_of(teacher(model="mine", price_input=0.0, price_output=0.0)) == Price(0.0, 0.0, 0.0)
    assert price_of(teacher(model="mine", price_input=4.0, price_output=8.0, price_cached=1.0)) == Price(4.0, 8.0, 1.0)


def test_the_offline_teacher_costs_nothing() -> None:
    assert price_of(LlmSettings()) == Price(0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("tokens", "dollars"), [((1_000_000, 0, 0), 2.0), ((0, 500_000, 0), 4.0), ((1_000, 0, 1_000), 0.0005)]
)
def test_cost(tokens: tuple[int, int, int], dollars: float) -> None:
    assert Price(2.0, 8.0, 0.5).cost(*tokens) == pytest.approx(dollars)


def test_a_line_of_progress_tells_what_was_saved() -> None:
    told = Progress(10, 5, 1_000, 200, 400, usd=2.0, served=3, saved_ledger=1.5, saved_cache=0.25)
    assert told.line("samples", Price(1.0, 2.0, 0.5)) == (
        "samples                     5 of 10 calls  1,000 tokens in (40% cached)  200 out  3 served from the ledger  "
        "2.00 USD spent, 4.00 projected, 1.50 saved by the ledger, 0.25 by the prefix cache"
    )
    assert told.line("samples", None).endswith("200 out  3 served from the ledger")
