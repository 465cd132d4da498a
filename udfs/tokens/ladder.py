"""Chooses the fastest engine that counts exactly like the reference, and keeps watching the first texts.

An engine that differs once, or fails once, is left for the next one down; the last one is the reference itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache

from udfs.settings import TokenizerSettings
from udfs.tokens.engines import LADDER, Engine, build_engine, reference_name
from udfs.tokens.samples import adversarial_texts
from udfs.tokens.vocabulary import Vocabulary, find_vocabulary

PARITY_CHARS = 100_000  # of each text that is checked: the reference is thirty times slower

log = logging.getLogger(__name__)


class Counter:
    """Counts tokens with the engine in use, and replaces that engine when it proves wrong."""

    def __init__(self, settings: TokenizerSettings) -> None:
        self.vocabulary: Vocabulary = find_vocabulary(settings)
        self.reference = build_engine(reference_name(self.vocabulary), self.vocabulary)
        self.untried = [name for name in LADDER if settings.engine in ("auto", name)]
        self.to_check = settings.parity_documents
        self.engine = self.reference
        self.step_down()

    def step_down(self) -> None:
        """Take the next engine that loads and agrees on the built-in texts, or else the reference."""
        while self.untried:
            name = self.untried.pop(0)
            try:
                engine = build_engine(name, self.vocabulary)
                differing = sum(map(int.__ne__, engine.count(samples()), self.expected()))
            except BaseException as error:  # a missing package, an unknown normaliser, a panic in Rust
                reraise_stops(error)
                log.info("Tokenizer engine %s is not used for %s: %s", name, self.vocabulary.name, error)
                continue
            if not differing:
                self.engine = engine
                return
            log.info("Tokenizer engine %s differs on %d built-in texts for %s", name, differing, self.vocabulary.name)
        self.engine = self.reference

    def expected(self) -> list[int]:
        return self.reference.count(samples())

    def count(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text. Lone surrogates count as the replacement character."""
        texts = [encodable(text) for text in texts]
        self.check(texts)
        while self.engine is not self.reference:
            try:
                return self.engine.count(texts)
            except BaseException as error:
                reraise_stops(error)
                log.warning("Tokenizer engine %s failed (%s); the next one goes on", self.engine.name, error)
                self.step_down()
        return self.reference.count(texts)

    def check(self, texts: Sequence[str]) -> None:
        """Compare on the first texts this process sees; step down until the engine agrees on them."""
        sample = [text[:PARITY_CHARS] for text in texts[: self.to_check]]
        while sample and self.engine is not self.reference:
            if not differing(self.engine, self.reference, sample):
                break
            log.warning("Tokenizer engine %s counts otherwise than %s", self.engine.name, self.reference.name)
            self.step_down()
        self.to_check -= len(sample)


def differing(engine: Engine, reference: Engine, texts: Sequence[str]) -> int:
    """How many texts the two count differently; all of them when the engine fails."""
    try:
        return sum(map(int.__ne__, engine.count(texts), reference.count(texts)))
    except BaseException as error:
        reraise_stops(error)
        return len(texts)


def reraise_stops(error: BaseException) -> None:
    """A panic of a Rust engine is no Exception but means the same; being told to stop does not."""
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit | MemoryError):
        raise error


def encodable(text: str) -> str:
    """The text, with lone surrogates replaced: no engine can encode them, and none may stop a job."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@lru_cache(maxsize=1)
def samples() -> tuple[str, ...]:
    return tuple(adversarial_texts())


@lru_cache(maxsize=4)
def counter(settings: TokenizerSettings) -> Counter:
    """The process's counter for these settings: loading takes a second, a Python worker does it once.

    Raises TokenizerUnavailable.
    """
    return Counter(settings)
