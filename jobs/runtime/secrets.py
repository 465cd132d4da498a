"""Keys that were written into the settings: they are refused before anything is stored, and never repeated.

Settings only name the environment variable that holds a key; they go into tables and MLflow as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from udfs.settings import LlmSettings

VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")  # as environments have it; keys are longer on other letters
HOLDS_KEY = re.compile(r"(?i)api[-_]?key|key|(access[-_]?)?token|authorization|(client[-_]?)?secret|password|code")


def may_be_key(variable: str) -> bool:
    """Whether what stands for the name of an environment variable looks like none."""
    return bool(variable) and not VARIABLE.fullmatch(variable)


def named(variable: str) -> str:
    """The name of an environment variable, or that it looks like none: then it may be a key."""
    return variable if not may_be_key(variable) else "named there (not shown: it does not look like a name)"


def stored_keys(llm: LlmSettings) -> Iterator[str]:
    """Where the settings of an endpoint hold what would be stored with them."""
    header = "keys are read from the environment variable that llm.api_key_env names, and go into llm.key_header"
    try:
        parts = urlsplit(llm.base_url)
    except ValueError:
        return
    if parts.username or parts.password:
        yield f"llm.base_url: has a user or a password before its host; {header}"
    for section in ("query", "extra_body"):
        for name in sorted(getattr(llm, section)):
            if HOLDS_KEY.fullmatch(name):
                yield f"llm.{section}.{name}: would be stored with the settings; {header}"
