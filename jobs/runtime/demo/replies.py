"""The demonstration's assistant: answers made of the pasted text's own sentences.

Every shape selects and arranges; no sentence of substance is written here, so an answer says what the text says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

from jobs.runtime.demo.digest import FREQUENT, Digest, Sentence

DUTY = r"\b(must|shall|required?|requires|has to|have to|may not|cannot|should)\b"
WARNING = (
    r"\b(warning|error|fails?|raises?|deprecated|removed|not supported|unsupported|unless|invalid|limit|caution"
    r"|never)\b"
)
OPEN = r"\b(may|might|could|depends?|optional|future|currently|not yet|experimental|undefined|unspecified|by default)\b"
CHANGE = r"\b(add(s|ed)?|remove[sd]?|chang(e|ed|es)|fix(es|ed)?|new|now|support(s|ed)?|improve[sd]?|introduce[sd]?)\b"
NUMBER = r"(?<![\w.])\d+(?:\.\d+)*%?(?!\w)"
DEFINITION = re.compile(
    r"^(?:The |An? )?([\w`'\"-]+(?: [\w`'\"-]+){0,2}?) "
    r"(?:(?:is|are) (?:an? |the |one of )|means |refers to |represents |denotes )"
)


@dataclass(frozen=True)
class Wish:
    """What the request asks of the form: how many items, how long, and what goes around them."""

    items: int
    short: bool = False  # at most 25 words an item
    overview: bool = False  # one sentence first
    sections: bool = False  # each item names its section
    closing: bool = False  # one sentence on what is left out


Shape = Callable[[Digest, Wish], str]


def reply(digest: Digest, shape: str, wish: Wish) -> str:
    """The answer in the shape that was asked for. The digest has at least eight sentences."""
    body = SHAPES[shape](digest, wish)
    if wish.overview:
        body = f"In one sentence: {digest.ranked[0].text}\n\n{body}"
    if wish.closing:
        rest = [heading for heading, _ in digest.entries if heading not in body][:3]
        left = f"the parts on {', '.join(rest)}" if rest else "examples and repetitions"
        body = f"{body}\n\nLeft out: {left}."
    return body


def choose(pool: list[Sentence], wish: Wish, digest: Digest) -> list[Sentence]:
    """As many of the pool as are wished for, the most central ones, in the order of the text; other central sentences
    only where the pool has fewer than three."""
    wanted = {each.position for each in pool}
    fitting = [each for each in digest.ranked if not wish.short or each.words <= 25]
    kept = [each for each in fitting if each.position in wanted][: wish.items]
    kept += [each for each in fitting if each.position not in wanted][: max(0, 3 - len(kept))]
    return sorted(kept, key=lambda each: each.position)


def item(sentence: Sentence, wish: Wish) -> str:
    """A sentence as a list item, with its section where that is wished for."""
    return f"{sentence.text} ({sentence.heading})" if wish.sections and sentence.heading else sentence.text


def entries(digest: Digest, wish: Wish) -> list[tuple[str, Sentence]]:
    """Sections with their first sentences; where the text has none, its central sentences by their first words."""
    found = digest.entries
    if len(found) < 3:
        found = [(" ".join(each.text.split()[:4]), each) for each in choose(digest.ranked, wish, digest)]
    step = max(1, len(found) // wish.items)  # spread over the text, not its beginning only
    return found[::step][: wish.items]


def listed(pattern: str, lead: str) -> Shape:
    """Sentences with certain words, as a list."""

    def shape(digest: Digest, wish: Wish) -> str:
        pool = digest.matching(pattern)
        opening = lead if len(pool) >= 3 else f"{lead} (the text says little on this, so its central statements follow)"
        return f"{opening}:\n\n" + "\n".join(f"- {item(each, wish)}" for each in choose(pool, wish, digest))

    return shape


def bullets(digest: Digest, wish: Wish) -> str:
    """Central sentences."""
    return "\n".join(f"- {item(each, wish)}" for each in choose(digest.ranked, wish, digest))


def numbered(digest: Digest, wish: Wish) -> str:
    """The sections in order, numbered."""
    return "\n".join(f"{n}. {name}: {each.text}" for n, (name, each) in enumerate(entries(digest, wish), start=1))


def paragraph(digest: Digest, wish: Wish) -> str:
    """Central sentences as running text."""
    return " ".join(each.text for each in choose(digest.ranked, wish, digest))


def table(digest: Digest, wish: Wish) -> str:
    """A table of the sections."""
    rows = [f"| {cell(name)} | {cell(each.text)} |" for name, each in entries(digest, wish)]
    return "\n".join(["| Part | What it says |", "|---|---|", *rows])


def figures(digest: Digest, wish: Wish) -> str:
    """A table of the numbers, each with its sentence."""
    rows = []
    for each in choose(digest.matching(NUMBER), wish, digest):
        number = re.search(NUMBER, each.text)
        if number:
            rows.append(f"| {number.group()} | {cell(each.text)} |")
    if not rows:
        return "The text states no figures; these are its central statements:\n\n" + bullets(digest, wish)
    return "\n".join(["| Figure | Where it stands |", "|---|---|", *rows])


def glossary(digest: Digest, wish: Wish) -> str:
    """Terms that the text defines, with the defining sentence."""
    lines = []
    for each in digest.sentences:
        found = DEFINITION.match(each.text)
        if found and FREQUENT.isdisjoint(found.group(1).lower().split()):
            lines.append(f"**{found.group(1).strip(chr(96))}**: {each.text}")
    if len(lines) < 3:
        lines = [f"**{name}**: {each.text}" for name, each in entries(digest, wish)]
    return "\n\n".join(lines[: wish.items])


def outline(digest: Digest, wish: Wish) -> str:
    """Headings with one sentence each."""
    lines = [f"{n}. {name}\n   - {each.text}" for n, (name, each) in enumerate(entries(digest, wish), start=1)]
    return f"{digest.title}\n\n" + "\n".join(lines)


def questions(digest: Digest, wish: Wish) -> str:
    """Questions a reader could ask, answered by the text."""
    return "\n\n".join(f"Q: What does it say about {name}?\nA: {each.text}" for name, each in entries(digest, wish))


def quotations(digest: Digest, wish: Wish) -> str:
    """Word-for-word quotations with their places."""
    kept = choose(digest.ranked, wish, digest)
    return "\n\n".join(f'> "{each.text}"\n({each.heading or "no heading"})' for each in kept)


def comparison(digest: Digest, wish: Wish) -> str:
    """The first half against the second."""
    middle = len(digest.sentences) // 2
    halves = [[each for each in digest.ranked if (each.position < middle) == first] for first in (True, False)]
    sides = [choose(half, Wish(max(2, wish.items // 2), wish.short), digest) for half in halves]
    rows = [f"| {cell(a.text)} | {cell(b.text)} |" for a, b in zip(*sides, strict=False)]
    return "\n".join(["| First half | Second half |", "|---|---|", *rows])


def checklist(digest: Digest, wish: Wish) -> str:
    """Boxes to tick."""
    return "\n".join(f"- [ ] {item(each, wish)}" for each in choose(digest.matching(DUTY), wish, digest))


def structured(digest: Digest, wish: Wish) -> str:
    """A JSON object."""
    value = {
        "title": digest.title,
        "topics": [name for name, _ in entries(digest, wish)],
        "key_points": [each.text for each in choose(digest.ranked, wish, digest)],
    }
    return json.dumps(value, indent=2)


def letter(digest: Digest, wish: Wish) -> str:
    """A short message to a colleague."""
    kept = choose(digest.ranked, wish, digest)
    points = "\n".join(f"- {item(each, wish)}" for each in kept[1:])
    return f"Subject: {digest.title}\n\nHello,\n\n{kept[0].text}\n\nWhat matters most:\n{points}\n\nBest regards"


def cards(digest: Digest, wish: Wish) -> str:
    """Flash cards."""
    return "\n\n".join(f"Front: {name}\nBack: {each.text}" for name, each in entries(digest, wish))


def announcement(digest: Digest, wish: Wish) -> str:
    """A headline, a lead, and what supports it."""
    kept = choose(digest.ranked, wish, digest)
    return f"# {digest.title}\n\n{digest.ranked[0].text}\n\n" + " ".join(each.text for each in kept)


def cell(text: str) -> str:
    """Text that does not break a table."""
    return text.replace("|", "/")


SHAPES: dict[str, Shape] = {
    "bullets": bullets,
    "numbered": numbered,
    "paragraph": paragraph,
    "table": table,
    "figures": figures,
    "glossary": glossary,
    "outline": outline,
    "questions": questions,
    "quotations": quotations,
    "comparison": comparison,
    "checklist": checklist,
    "structured": structured,
    "letter": letter,
    "cards": cards,
    "announcement": announcement,
    "duties": listed(DUTY, "What the text asks for"),
    "warnings": listed(WARNING, "What the text warns of"),
    "open_points": listed(OPEN, "What the text leaves open or makes conditional"),
    "changes": listed(CHANGE, "What changes"),
}
