"""What tokens cost: a dated table of list prices. A price that is not known is None, never 0."""

from __future__ import annotations

from typing import NamedTuple

from udfs.settings import LlmSettings

MILLION = 1_000_000
BATCH_SHARE = 0.5  # of the price online, by batch files, at every provider that takes them
AS_OF = "2026-11"


class Price(NamedTuple):
    """USD per million tokens; `cached` is for prompt tokens that a prefix cache served."""

    input: float
    output: float
    cached: float

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """USD of calls with these tokens; the cached ones are among `tokens_in`."""
        fresh = max(0, tokens_in - tokens_cached)
        return (fresh * self.input + tokens_cached * self.cached + tokens_out * self.output) / MILLION


FREE = Price(0.0, 0.0, 0.0)  # the offline teacher
LIST_PRICES: dict[str, Price] = {
    "gpt-4o": Price(2.5, 10.0, 1.25),
    "gpt-4o-mini": Price(0.15, 0.6, 0.075),
    "gpt-4.1": Price(2.0, 8.0, 0.5),
    "gpt-4.1-mini": Price(0.4, 1.6, 0.1),
    "gpt-5": Price(1.25, 10.0, 0.125),
    "gpt-5-mini": Price(0.25, 2.0, 0.025),
}


def price_of(settings: LlmSettings) -> Price | None:
    """The price of the settings' model, None when it is not known."""
    return FREE if settings.teacher == "offline" else price(settings.model)


def price(model: str) -> Price | None:
    """The table's price of a model, None where the table does not have it."""
    return LIST_PRICES.get(model)


def table_date() -> str:
    """Which table the prices come from, for a report."""
    return f"list prices of {AS_OF}"
