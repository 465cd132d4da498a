"""Loads the vocabularies of the offline teacher, each once per process.

It knows where the files lie and what they look like, and nothing of what is done with them.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any


@cache
def load(name: str) -> Any:
    """The parsed `data/<name>.json`; also works from inside a zip that Spark ships. Do not change it."""
    path = resources.files("udfs.llm.offline").joinpath("data", f"{name}.json")
    return json.loads(path.read_text(encoding="utf-8"))
