"""What calls came to: counts, tokens and money, batch files at their share of the price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column
from pyspark.sql import functions as F

from udfs.llm.prices import BATCH_SHARE, Price
from udfs.llm.teachers import BATCH


@dataclass
class Cost:
    """What the calls of one `fulfil` came to, and what was served instead. Money is USD, None without a price."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    money: float | None = None
    served: int = 0  # requests answered from the ledger
    saved_ledger: float | None = None  # what they had cost
    saved_cache: float | None = None  # what the provider's prefix cache took off
    billed: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # the tokens, each at its share of the price

    def __add__(self, other: Cost) -> Cost:
        """Calls and tokens of both; money comes last, by `priced`."""
        return Cost(
            self.calls + other.calls,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
            self.tokens_cached + other.tokens_cached,
            billed=[a + b for a, b in zip(self.billed, other.billed, strict=True)],
        )

    def beside(self, other: Cost) -> Cost:
        """Both of them, priced already at the same prices."""
        both = self + other
        both.served = self.served + other.served
        for name in ("money", "saved_ledger", "saved_cache"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(both, name, None if mine is None or theirs is None else mine + theirs)
        return both


def priced(cost: Cost, served: int, saved: Sequence[float], price: Price | None) -> Cost:
    """The cost with its money, and what the ledger and the prefix cache saved; `price` is the one online."""
    cost.served = served
    if price is not None:
        cost.money = price.cost(*cost.billed)
        cost.saved_cache = price.cost(*cost.billed[:2]) - cost.money
        cost.saved_ledger = price.cost(*saved)
    return cost


def price_share(teacher: str) -> Column:
    """The share of the price online that calls through the teacher in this column cost."""
    return F.when(F.col(teacher) == BATCH, BATCH_SHARE).otherwise(1.0)
