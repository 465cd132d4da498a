"""What is installed here: packages, their licences, and the text files they ship.

Nothing is imported or executed to read it, and nothing of this project is read.
"""

from __future__ import annotations

import re
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from random import Random
from typing import TypeVar

OURS = "longloom"
PYTHON = "Python"
SITE = Path(sysconfig.get_path("purelib"))
STDLIB = Path(sysconfig.get_path("stdlib"))
# Folders without prose, or with more files than all others together.
SKIPPED = {"nvidia", "torch", "triton", "_vendor", "vendor", "__pycache__", "out", "jars", "include", "botocore"}

T = TypeVar("T")

@dataclass(frozen=True)
class Source:
    """A text, who ships it, under which licence, and where it was found."""

    package: str
    licence: str
    place: str
    text: str


@cache
def packages() -> dict[str, metadata.Distribution]:
    """Installed distributions by name, this project left out."""
    found = {str(each.metadata["Name"]): each for each in metadata.distributions(path=[str(SITE)])}
    return {name: found[name] for name in sorted(found) if name.lower() != OURS}


@cache
def owners() -> dict[str, str]:
    """Top-level folder -> the distribution that put it there."""
    named = {}
    for name, each in packages().items():
        for top in (each.read_text("top_level.txt") or name.replace("-", "_")).split():
            named.setdefault(top, name)
    return named


@cache
def licence_of(package: str) -> str:
    """What the package states, as briefly as it states it."""
    if package == PYTHON:
        return "PSF-2.0"
    stated = packages()[package].metadata if package in packages() else None
    if stated is None:
        return "unknown"
    for field in ("License-Expression", "License"):
        value = (stated.get(field) or "").strip()
        if value and len(value) < 60 and value.upper() != "UNKNOWN":
            return value
    classifiers = [line for line in stated.get_all("Classifier") or [] if line.startswith("License :: ")]
    return classifiers[0].rsplit(" :: ", 1)[-1] if classifiers else "unknown"


def source(package: str, place: str, text: str) -> Source:
    """A source with its package's licence."""
    return Source(package, licence_of(package), place, text)


def shuffled(rng: Random, items: Sequence[T]) -> list[T]:
    """A seeded order of what came in a fixed one."""
    return rng.sample(list(items), len(items))


@cache
def shipped() -> dict[str, list[Path]]:
    """Files below the site folder by suffix, in a fixed order."""
    found: dict[str, list[Path]] = {".md": [], ".rst": [], ".txt": [], ".py": []}
    stack = [SITE]
    while stack:
        for path in sorted(stack.pop().iterdir()):
            if path.is_dir():
                if path.name not in SKIPPED and not path.name.startswith((OURS, "__editable__")):
                    stack.append(path)
            elif path.suffix in found and path.name != "vocab.txt":
                found[path.suffix].append(path)
    return {suffix: sorted(paths) for suffix, paths in found.items()}


def owner(path: Path) -> str:
    """The distribution a file below the site folder belongs to."""
    top = path.relative_to(SITE).parts[0]
    return owners().get(top, top)


def read(path: Path) -> str:
    """A file's text; undecodable bytes are dropped (the way to ASCII judges what is left)."""
    return path.read_text(encoding="utf-8", errors="ignore")
