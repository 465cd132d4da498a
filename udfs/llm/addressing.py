"""How an endpoint is addressed and how the key is shown to it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

BEARER_HEADER = "Authorization"


def key_headers(name: str, key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {name: f"Bearer {key}" if name.lower() == BEARER_HEADER.lower() else key}


def address(base_url: str, path: str, query: Mapping[str, str]) -> str:
    """The address of a path below a base URL, with the query that every call carries."""
    whole = f"{base_url.rstrip('/')}/{path}"
    return f"{whole}?{urlencode(query)}" if query else whole
