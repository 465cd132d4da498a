"""What tokens cost: the user's own prices, or those of a dated public table. What neither knows is unknown, never 0.

The table is the one that the litellm package carries; its date is that of the package. Nothing of the package is
imported.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from udfs.llm.teachers import BATCH
from udfs.settings import LlmSettings

MILLION = 1_000_000
BATCH_SHARE = 0.5  # of the price online, by batch files, at every provider that takes them
_TABLE = "model_prices_and_context_window_backup.json"
# Hosts whose models stand in the table under another name than their own.
_PREFIXES = {"azure.com": "azure/", "databricks.com": "databricks/", "azuredatabricks.net": "databricks/"}


class Price(NamedTuple):
    """USD per million tokens; `cached` is for prompt tokens that a prefix cache served."""

    input: float
    output: float
    cached: float

    def cost(self, tokens_in: float, tokens_out: float, tokens_cached: float = 0) -> float:
        """USD of calls with these tokens; the cached ones are among `tokens_in`."""
        fresh = max(0, tokens_in - tokens_cached)
        return (fresh * self.input + tokens_cached * self.cached + tokens_out * self.output) / MILLION


FREE = Price(0.0, 0.0, 0.0)  # the offline teacher


def price_of(settings: LlmSettings) -> Price | None:
    """The price of the settings' model, None when it is not known.

    Prices in the settings win over the table's; a cached token that nobody named a price for costs a whole one.
    """
    if settings.teacher == "offline":
        return FREE
    listed = price(settings.model, settings.base_url)
    per_input = settings.price_input if settings.price_input is not None else listed and listed.input
    per_output = settings.price_output if settings.price_output is not None else listed and listed.output
    if per_input is None or per_output is None:
        return None
    if settings.price_cached is not None:
        return Price(per_input, per_output, settings.price_cached)
    return Price(per_input, per_output, listed.cached if listed and settings.price_input is None else per_input)


def share_of_price(teacher: str) -> float:
    """The share of the price online that a call through this teacher costs."""
    return BATCH_SHARE if teacher == BATCH else 1.0


def paid_price(settings: LlmSettings) -> Price | None:
    """What calls through the settings' teacher cost, None when the price is not known."""
    online, share = price_of(settings), share_of_price(settings.teacher)
    return None if online is None else Price(*(part * share for part in online))


def batch_price(settings: LlmSettings) -> Price | None:
    """What calls by batch files cost, whichever way the settings send now; None when the price is not known."""
    return paid_price(settings.model_copy(update={"teacher": BATCH}))


def price(model: str, base_url: str = "") -> Price | None:
    """The table's price of a model at an address, None where the table does not have it."""
    host = urlsplit(base_url).hostname or ""
    prefix = next((prefix for end, prefix in _PREFIXES.items() if host.endswith(end)), "")
    entry = _table().get(f"{prefix}{model}")
    if not isinstance(entry, dict):
        return None
    per_input, per_output = entry.get("input_cost_per_token"), entry.get("output_cost_per_token")
    if not isinstance(per_input, (int, float)) or not isinstance(per_output, (int, float)):
        return None
    cached = entry.get("cache_read_input_token_cost", per_input)
    return Price(per_input * MILLION, per_output * MILLION, cached * MILLION)


def table_date() -> str:
    """Which table the prices come from, for a report."""
    try:
        return f"litellm {version('litellm')}"
    except PackageNotFoundError:
        return "no price table is installed"


@cache
def _table() -> dict[str, Any]:
    spec = find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        return {}
    file = Path(spec.submodule_search_locations[0]) / _TABLE
    return dict(json.loads(file.read_bytes())) if file.is_file() else {}
