"""docs/settings.md names every key with its default, and says of each whether it makes rows."""

from __future__ import annotations

import json
import re
from typing import Any

from jobs.runtime.checkout import CHECKOUT
from jobs.runtime.recipes import NOT_IN_RECIPE
from jobs.runtime.settings import Settings
from jobs.stages import JOBS

ROW = re.compile(r"\| `(\w+)` \| (`[^`]*`|–) \| (yes)? ?\| (\S.*) \|")


def shown(value: Any) -> str:
    """A default as the page has it: words as they are, the rest as JSON, a dash for none."""
    if value is None:
        return "–"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def in_the_code() -> dict[str, tuple[str, bool]]:
    """`section.key` → (default, whether rows are made with it)."""
    making = {
        name
        for job in JOBS
        for stage in job
        if stage.mode != "replaces"
        for name in (*stage.sections, *(["llm"] if stage.asks else []))
    }
    told = {}
    for section, values in Settings().model_dump(mode="json").items():
        if not isinstance(values, dict):
            told[section] = (shown(values), True)
            continue
        for key, value in values.items():
            makes = section in making and key not in NOT_IN_RECIPE.get(section, ())
            told[f"{section}.{key}"] = (shown(value), makes)
    return told


def on_the_page(text: str) -> dict[str, tuple[str, bool]]:
    told, section = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            section = f"{line.removeprefix('## ')}."
        elif line.startswith("| `"):
            row = ROW.fullmatch(line)
            assert row is not None, line
            told[f"{section}{row[1]}"] = (row[2], row[3] == "yes")
    return told


def test_the_page_is_true() -> None:
    text = (CHECKOUT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert on_the_page(text) == in_the_code()


def test_a_key_that_is_missing_or_has_another_default_shows() -> None:
    line = "## walks\n| `nodes` | `7` | yes | fields |\n| `tau` | – |  | an exponent |"
    assert on_the_page(line) == {"walks.nodes": ("`7`", True), "walks.tau": ("–", False)}
    assert in_the_code()["walks.nodes"] == ("`6`", True) and in_the_code()["walks.tau"] == ("`0.5`", True)
