"""Makes the text the embedded pair is trained on: docstrings of installed packages under permissive licences.

It refuses a package whose stated licence is another, and records who gave what. Code is parsed, never run.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# Read in this order; `HELD_OUT` is for evaluation and is never trained on.
TRAINING = ("numpy", "pandas", "scikit-learn", "sqlalchemy", "torch", "transformers")
HELD_OUT = ("networkx", "pyspark")
LICENCES = re.compile(
    r"(MIT|MIT-0|ISC|0BSD|Zlib|CC0-1\.0|BSL-1\.0|(3-Clause )?BSD|BSD[- ][23]-Clause|Apache( Software|[- ]2\.0)?)"
    r"( Licen[sc]e| WITH LLVM-exception)?"
)
LONGEST = 4_000_000  # characters of a package, so that none outweighs the others
SHORTEST = 200  # characters of a docstring that says something
WORDS = slice(300, 9_300)  # of all words, most frequent first: known to the tokenizer, no function words


@dataclass(frozen=True)
class Text:
    """What a package gives: `text` is its docstrings, blank lines between them."""

    package: str
    version: str
    licence: str
    text: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class NotPermissive(ValueError):
    """A package states a licence that does not let its text be shipped in another form."""


def texts(packages: tuple[str, ...]) -> list[Text]:
    """The packages' texts, in order. Raises NotPermissive, or PackageNotFoundError when one is not installed."""
    return [_text(metadata.distribution(name)) for name in packages]


def words(text: str) -> list[str]:
    """Words of 4 to 9 letters by falling frequency (ties by alphabet), cut by WORDS."""
    counts = Counter(re.findall(r"\b[a-z]{4,9}\b", text))
    return sorted(counts, key=lambda word: (-counts[word], word))[WORDS]


def licence(distribution: metadata.Distribution) -> str:
    """What a package states: an expression, a short text, or a classifier."""
    stated = distribution.metadata
    for field in ("License-Expression", "License"):
        value = str(stated[field] or "").strip().splitlines() if field in stated else []
        if value and len(value[0]) < 120:
            return value[0]
    kinds = [kind for kind in stated.get_all("Classifier") or [] if kind.startswith("License :: ")]
    return kinds[0].rsplit(" :: ", 1)[-1] if kinds else "unknown"


def permissive(stated: str) -> bool:
    """Whether every licence of an expression is one that permits use in any form with its notice kept."""
    return all(LICENCES.fullmatch(each.strip(" ()")) for each in re.split(r" AND | OR |,", stated))


def _text(distribution: metadata.Distribution) -> Text:
    name, stated = str(distribution.metadata["Name"]), licence(distribution)
    if not permissive(stated):
        raise NotPermissive(f"{name} states the licence {stated!r}: leave it out of the corpus")
    parts: list[str] = []
    size = 0
    for file in sorted(distribution.files or [], key=str):
        if file.suffix == ".py" and "tests" not in file.parts and size < LONGEST:
            for part in _docstrings(Path(str(file.locate()))):
                parts.append(part)
                size += len(part)
    return Text(name, distribution.version, stated, "\n\n".join(parts)[:LONGEST])


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            found = inspect.cleandoc(ast.get_docstring(node) or "")
            if len(found) >= SHORTEST and found.isascii():
                yield found
