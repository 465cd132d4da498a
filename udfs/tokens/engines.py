"""The engines that turn text into tokens, each behind the same small face: texts in, counts out.

Text is ordinary text for all of them: no special token is recognised in it and none is added to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from udfs.tokens.vocabulary import CL100K, Vocabulary

# One Spark task is one core; the engines' own thread pools would fight over it. Read when they are imported.
SINGLE_THREADED = {"RAYON_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
LADDER = ("fastokens", "kitoken")
# The regex engines of kitoken and tiktoken abort the process on about a million spaces in a row (measured).
SAFE_RUN = 100_000
LONG_RUN = re.compile(rf"(?<!\s)\s{{{SAFE_RUN},}}")  # tried only where a run starts: linear


@dataclass(frozen=True)
class Engine:
    """One way to count."""

    name: str
    count: Callable[[Sequence[str]], list[int]]


def build_engine(name: str, vocabulary: Vocabulary) -> Engine:
    """Load one engine; whatever its package raises when it cannot is passed on."""
    for variable, value in SINGLE_THREADED.items():
        os.environ.setdefault(variable, value)
    builders: dict[tuple[str, str], Callable[[Vocabulary], Engine]] = {
        ("fastokens", "tiktoken"): fastokens_from_ranks,
        ("fastokens", "tokenizers"): fastokens_from_json,
        ("kitoken", "tiktoken"): kitoken_from_ranks,
        ("kitoken", "tokenizers"): kitoken_from_json,
        ("tiktoken", "tiktoken"): tiktoken_reference,
        ("hf", "tokenizers"): hf_reference,
    }
    return builders[name, vocabulary.kind](vocabulary)


def reference_name(vocabulary: Vocabulary) -> str:
    """The engine that is right by definition."""
    return "tiktoken" if vocabulary.kind == "tiktoken" else "hf"


def fastokens_from_ranks(vocabulary: Vocabulary) -> Engine:
    from fastokens import Tokenizer

    tokenizer = Tokenizer.from_tiktoken(str(vocabulary.path), encoding=vocabulary.name)
    return Engine("fastokens", lambda texts: [len(tokenizer.encode_ordinary(text)) for text in texts])


def fastokens_from_json(vocabulary: Vocabulary) -> Engine:
    from fastokens import Tokenizer

    tokenizer = Tokenizer.from_json_str(unbounded_json(vocabulary).decode())

    def count(texts: Sequence[str]) -> list[int]:
        return [len(tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)) for text in texts]

    return Engine("fastokens", count)


def kitoken_from_ranks(vocabulary: Vocabulary) -> Engine:
    from kitoken import Kitoken

    tokenizer = Kitoken.from_tiktoken_file(str(vocabulary.path))
    definition = tokenizer.definition()
    definition["specials"] = []  # it would cut the text at them even when it does not encode them
    tokenizer.set_definition(definition)
    return Engine("kitoken", one_by_one(tokenizer.encode))


def kitoken_from_json(vocabulary: Vocabulary) -> Engine:
    from kitoken import Kitoken

    tokenizer = Kitoken.from_tokenizers(unbounded_json(vocabulary))
    return Engine("kitoken", one_by_one(lambda text: tokenizer.encode(text, False)))


def tiktoken_reference(vocabulary: Vocabulary) -> Engine:
    import tiktoken

    with environment("TIKTOKEN_CACHE_DIR", str(vocabulary.path.parent)):
        encoding = tiktoken.get_encoding(CL100K)  # finds the verified file there, so it stays off the network
    return Engine("tiktoken", one_by_one(encoding.encode_ordinary))


def hf_reference(vocabulary: Vocabulary) -> Engine:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(unbounded_json(vocabulary).decode())
    tokenizer.encode_special_tokens = True  # special tokens in a text are spelled out, not recognised
    return Engine("hf", one_by_one(lambda text: tokenizer.encode(text, add_special_tokens=False).ids))


def unbounded_json(vocabulary: Vocabulary) -> bytes:
    """The published tokenizer.json, without the truncation and padding of the model it was saved with."""
    raw = vocabulary.path.read_bytes()
    content: dict[str, Any] = orjson.loads(raw)
    if content.get("truncation") is None and content.get("padding") is None:
        return raw  # unchanged: fastokens is fast only where it recognises what was published
    return orjson.dumps({**content, "truncation": None, "padding": None})


def one_by_one(encode: Callable[[str], Sequence[int]]) -> Callable[[Sequence[str]], list[int]]:
    """Count text by text, keeping over-long white space away from regex engines that die of it."""
    return lambda texts: [sum(len(encode(piece)) for piece in safe_pieces(text)) for text in texts]


def safe_pieces(text: str) -> list[str]:
    """The text itself, but for runs of 100,000 and more white-space characters.

    Such a run is cut into pieces; the sum of their counts can differ from the whole by a few tokens.
    """
    if len(text) < SAFE_RUN or not LONG_RUN.search(text):
        return [text]
    pieces, start = list[str](), 0
    for run in LONG_RUN.finditer(text):
        pieces.append(text[start : run.start()])
        pieces += [text[at : min(at + SAFE_RUN, run.end())] for at in range(run.start(), run.end(), SAFE_RUN)]
        start = run.end()
    return [*pieces, text[start:]]


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """One environment variable for the length of a call."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
