"""Takes a text apart: its sentences, its sections, and how central each sentence is.

Counts words; it knows no language beyond a list of frequent English words, and invents nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from jobs.runtime.demo.texts import paragraphs

SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(`*]*[A-Z])")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|Fig|Eq|No|Inc|Corp|Dr|Mr|St|approx)\.|\b[A-Z]\.)[\"')]*$")
BULLET = re.compile(r"^\s*(?:[-*+o]|:\w+ ?[^:\n]{0,40}:|\(?\d{1,2}[.)]|\([a-z]\))\s+")
MARKED = re.compile(r"^#{1,6}\s+(.{2,90}?)\s*#*$")
CODE_MARKED = re.compile(r"^#{2,6}\s+(.{2,90}?)\s*#*$")  # in code a single # begins a comment
LABELLED = re.compile(
    r"^((?:Topic|Error|Module|Overview)\b.{0,80}|class \w+|(?:async )?def \w+|[A-Za-z_]\w*(?=\(.{0,400}\)$)"
    r"|\d{1,2}\.\s+[A-Z][^.]{2,60}\.?|[A-Z][A-Z ,'()-]{7,70}|[a-z_]\w{3,40}(?=: [A-Z]))(?:[:(].*)?$"
)
IS_CODE = re.compile(r"^(?:import \w|from [\w.]+ import |def \w|class \w)", re.MULTILINE)
COMMENT = re.compile(r"^\s*(?:#+|//+|;;)\s")
UNDERLINE = re.compile(r"^[=\-~^*\"+#]{3,}$")
CODE_LINE = re.compile(
    r"^\s*(?:>>>|\.\.\.\s|\$ |[{}\[\]|+]|@\w|import |from \w+ import|return\b|\w+ = |#include|assert )"
)
OPENING, CLOSING = re.compile(r"[\"'(`*]*[A-Z0-9]"), re.compile(r"[.!?][\"')`]*$")
CREDIT = re.compile(r"(?:Copyright|Written by|Authors?:|All rights)", re.IGNORECASE)
WORD = re.compile(r"[\"'(]*[A-Za-z][A-Za-z'-]*[\"'),.;:!?]*")
COMMON = """
a about above after all also an and any are as at be because been before being below between both but by can
cannot could did do does each either for from had has have he her his how however if in into is it its itself may
might more most must no nor not of on once one only or other our out over own per same shall she should since so
some such than that the their them then there these they this those through thus to too two under until up upon
use used uses using was we were what when where whether which while who whose why will with within without would
you your
"""
FREQUENT = frozenset(COMMON.split())


@dataclass(frozen=True)
class Sentence:
    """One sentence, word for word but for its line breaks, with the heading it stands under."""

    text: str
    heading: str
    position: int

    @property
    def words(self) -> int:
        """Length in words."""
        return len(self.text.split())


@dataclass(frozen=True)
class Digest:
    """A text taken apart."""

    text: str

    @cached_property
    def title(self) -> str:
        """The first heading, or the first words."""
        named = next((sentence.heading for sentence in self.sentences if sentence.heading), "")
        return named or " ".join(self.text.split()[:8])

    @cached_property
    def sentences(self) -> list[Sentence]:
        """Sentences of 6 to 60 words, in order; code, tables and listings are passed over."""
        found: list[Sentence] = []
        seen = set()
        for heading, prose, listed in sections(self.text):
            for text in split_sentences(prose):
                if is_prose(text, listed) and text not in seen:
                    seen.add(text)
                    found.append(Sentence(text, heading, len(found)))
        return found

    @cached_property
    def ranked(self) -> list[Sentence]:
        """Most central first, near repetitions left out: the mean frequency of a sentence's content words counts, and
        a little that it stands early."""
        counts = Counter(word for sentence in self.sentences for word in content_words(sentence.text))

        def centrality(sentence: Sentence) -> tuple[float, int]:
            words = content_words(sentence.text)
            mean = sum(counts[word] for word in words) / (len(words) + 4)
            return -mean * (1.2 if sentence.position < 8 else 1.0), sentence.position

        kept: list[Sentence] = []
        sets: list[set[str]] = []
        for sentence in sorted(self.sentences, key=centrality):
            words = set(content_words(sentence.text))
            if not any(len(words & other) > 0.6 * len(words | other) for other in sets):
                kept.append(sentence)
                sets.append(words)
        return kept

    @cached_property
    def entries(self) -> list[tuple[str, Sentence]]:
        """Each heading with the first sentence under it, in order."""
        first: dict[str, Sentence] = {}
        for sentence in self.sentences:
            if sentence.heading:
                first.setdefault(sentence.heading, sentence)
        return list(first.items())

    def matching(self, pattern: str) -> list[Sentence]:
        """Sentences in which the pattern occurs, in order."""
        return [sentence for sentence in self.sentences if re.search(pattern, sentence.text, re.IGNORECASE)]


def sections(text: str) -> list[tuple[str, str, bool]]:
    """(heading, prose, whether it is a list item) per paragraph; list items are paragraphs of their own."""
    found: list[tuple[str, str, bool]] = []
    heading, marked = "", CODE_MARKED if IS_CODE.search(text) else MARKED
    for block in paragraphs(text.replace('"""', "\n\n")):
        lines = block.split("\n")
        if len(lines) > 1 and UNDERLINE.match(lines[1].strip()):
            heading, lines = tidy_heading(lines[0]), lines[2:]
        elif named := heading_of(lines[0].strip(), marked):
            heading, lines = named, lines[1:] or prose_after(lines[0])
        found += [(heading, prose, listed) for prose, listed in prose_of(lines)]
    return found


def heading_of(line: str, marked: re.Pattern[str]) -> str:
    """The heading a line is, or begins with; empty when it is none."""
    found = marked.match(line) or LABELLED.match(line)
    return tidy_heading(found[1]) if found else ""


def prose_after(line: str) -> list[str]:
    """What stands behind a heading on its own line (`name: what it is`)."""
    _, colon, rest = line.partition(": ")
    return [rest] if colon else []


def prose_of(lines: list[str]) -> list[tuple[str, bool]]:
    """The running text of a paragraph, one string per list item (told by the flag); comment marks are taken off, code
    is left out."""
    items: list[tuple[list[str], bool]] = [([], False)]
    for line in lines:
        bare = COMMENT.sub("", line)
        if CODE_LINE.match(bare) or UNDERLINE.match(bare.strip()):
            items.append(([], False))
        elif BULLET.match(bare):
            items.append(([BULLET.sub("", bare)], True))
        else:
            items[-1][0].append(bare.strip())
    return [(" ".join(" ".join(item).split()), listed) for item, listed in items if item]


def split_sentences(prose: str) -> list[str]:
    """Cut at sentence ends that are none of the usual abbreviations."""
    found: list[str] = []
    for part in SENTENCE_END.split(prose):
        if found and ABBREVIATION.search(found[-1]):
            found[-1] = f"{found[-1]} {part}"
        else:
            found.append(part)
    return [part.strip() for part in found]


def is_prose(text: str, listed: bool) -> bool:
    """A whole sentence that a reader would take for one; list items may lack the full stop."""
    words = text.split()
    if (
        not 6 <= len(words) <= 60
        or not OPENING.match(text)
        or not (listed or CLOSING.search(text))
        or CREDIT.match(text)
    ):
        return False
    return sum(1 for word in words if WORD.fullmatch(word)) >= 0.7 * len(words)


def content_words(text: str) -> list[str]:
    """Lower-case words that carry content."""
    return [word for word in re.findall(r"[a-z][a-z_-]{2,}", text.lower()) if word not in FREQUENT]


def tidy_heading(text: str) -> str:
    """A heading without marks, at most 80 characters."""
    return re.sub(r"[*`#]+", "", text).strip(" :.-=(")[:80].strip()
