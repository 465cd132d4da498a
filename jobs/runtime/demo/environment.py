"""What is installed here: packages, their licences, and the text files they ship.

Nothing is imported or executed to read it, and nothing of this project is read.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
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
    named: dict[str, str] = {}
    for name, each in packages().items():
        for line in (each.read_text("RECORD") or "").splitlines():
            named.setdefault(line.partition("/")[0], name)
    return named


@cache
def page(package: str) -> Message:
    """What a package says of itself: header fields, and a description as the payload; empty for a stranger."""
    found = packages().get(package)
    return message_from_string((found.read_text("METADATA") if found else None) or "")


@cache
def licence_of(package: str) -> str:
    """What the package states, as briefly as it states it."""
    if package == PYTHON:
        return "PSF-2.0"
    stated = page(package)
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
def shipped(suffix: str) -> list[Path]:
    """Text files below the site folder, in a fixed order."""
    return list(walk(SITE, suffix))


@cache
def python_files(top: str) -> list[Path]:
    """Modules of one top-level folder, in a fixed order; none where it is not installed."""
    return list(walk(SITE / top, ".py")) if (SITE / top).is_dir() else []


def walk(folder: Path, suffix: str) -> Iterator[Path]:
    """Files with this suffix, folder by folder, sorted by name."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in SKIPPED and not entry.name.startswith((OURS, "__editable__")):
                    yield from walk(Path(entry.path), suffix)
            elif entry.name.endswith(suffix):
                yield Path(entry.path)


def owner(path: Path) -> str:
    """The distribution a file or folder below the site folder belongs to."""
    top = path.relative_to(SITE).parts[0]
    return owners().get(top, top)


def read(path: Path) -> str:
    """A file's text; undecodable bytes are dropped (the way to ASCII judges what is left)."""
    return path.read_text(encoding="utf-8", errors="ignore")
