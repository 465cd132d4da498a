"""Keeps what a long benchmark measured under build/benchmarks, so that it can be run in parts and read again.

What is kept counts only for the same sources and weights: their hash names the folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[2]


def kept(name: str, made_of: Iterable[Path], make: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of `name`: read if they were measured with these files, else measured and written."""
    digest = hashlib.sha256()
    for path in sorted(file for given in made_of for file in ([given] if given.is_file() else given.rglob("*.*"))):
        if "__pycache__" not in path.parts:
            digest.update(path.name.encode() + path.read_bytes())
    place = CHECKOUT / "build" / "benchmarks" / digest.hexdigest()[:12] / f"{name}.jsonl"
    if not place.is_file():
        rows = make()
        place.parent.mkdir(parents=True, exist_ok=True)
        unfinished = place.with_suffix(".unfinished")
        unfinished.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        unfinished.rename(place)
    return [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
