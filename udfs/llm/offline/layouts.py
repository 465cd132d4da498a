"""Lays points out in the asked form: bullets, numbers, a table, paragraphs, headed sections, JSON, HTML.

It decides how points look and how many there is room for; their sentences are not touched.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from udfs.llm.offline.clauses import entry
from udfs.llm.offline.extraction import Point

# Points that a form has room for when nothing else is said.
_COUNTS = {
    "short": 1,
    "paragraph": 5,
    "paragraphs": 7,
    "bullets": 7,
    "numbered": 7,
    "table": 7,
    "sections": 8,
    "json": 6,
    "html": 6,
    "qa": 6,
}
_WORDS_EACH = 26  # of an extracted sentence, about
_MOST_POINTS = 14
_BRIEF_WORDS = 100  # of a short answer that needs more than one sentence
_SECTION_POINTS = 2
_FOREIGN: tuple[tuple[str, str], ...] = (
    (r"bullet|unordered|dash", "bullets"),
    (r"number|ordered|steps?\b|ranking|checklist", "numbered"),
    (r"table|grid|spreadsheet|csv|matrix", "table"),
    (r"json|yaml|dictionary", "json"),
    (r"html", "html"),
    (r"section|heading|report|article|chapter|structured|outline", "sections"),
    (r"question|q ?& ?a|dialog|interview|faq", "qa"),
    (r"one (?:sentence|word|line)|short|brief|single (?:sentence|word)|yes|letter", "short"),
    (r"essay|prose|paragraphs|narrative|email|letter|story", "paragraphs"),
    (r"paragraph|plain|text", "paragraph"),
    (r"list", "bullets"),
)


@dataclass(frozen=True)
class Form:
    """The asked form: its shape, how many words are wanted (0 for any), whether wording is to be quoted."""

    shape: str
    least: int
    most: int
    quoted: bool

    @property
    def count(self) -> int:
        """How many points to look for."""
        count = _COUNTS.get(self.shape, _COUNTS["bullets"])
        if self.most:
            count = min(count, max(1, self.most // _WORDS_EACH))
        if self.least:
            count = max(count, min(_MOST_POINTS, self.least // _WORDS_EACH + 1))
        return count


def form_of(path: Sequence[Mapping[str, str]], default: str, *, may_be_short: bool = True) -> Form:
    """The form a path asks for; `default` is the shape where it asks for none.

    Where one sentence cannot be an answer, a short form becomes a paragraph of few words.
    """
    values = {node["field"]: node["value"] for node in path}
    shape, least, most, quoted = default, 0, 0, False
    if values.get("output_format"):
        shape = entry("output_format", values["output_format"]).get("shape") or _foreign_shape(
            values["output_format"], default
        )
    if values.get("constraint"):
        details = entry("constraint", values["constraint"])
        least, most = details.get("words", _foreign_words(values["constraint"]))
        quoted = "quote" in values["constraint"].lower()
        if shape in details.get("avoid", ()):
            shape = "paragraphs"
    if shape == "short" and not may_be_short:
        return Form("paragraph", 0, _BRIEF_WORDS, quoted)
    return Form(shape, 0 if shape in {"short", "paragraph"} else least, most, quoted)


def lay_out(points: Sequence[Point], form: Form, lead: str) -> str:
    """The points as one text in the asked form; `lead` is a line that announces them, where the form has room."""
    points = _without_lone_label(points)
    makers: dict[str, Callable[[Sequence[Point], Form], str]] = {
        "short": running,
        "paragraph": running,
        "paragraphs": _paragraphs,
        "bullets": lambda found, asked: _listed(found, asked, "-"),
        "numbered": lambda found, asked: _listed(found, asked, "1."),
        "table": _table,
        "sections": _sections,
        "json": _json,
        "html": _html,
        "qa": _questions,
    }
    body = makers.get(form.shape, makers["bullets"])(points, form)
    return f"{lead}\n\n{body}" if lead and form.shape in {"bullets", "numbered", "table", "html"} else body


def _without_lone_label(points: Sequence[Point]) -> Sequence[Point]:
    """The points without their labels where all have the same: then it says nothing."""
    labels = {point.label for point in points}
    return [replace(point, label="") for point in points] if len(points) > 1 and len(labels) == 1 else points


def within(points: Sequence[Point], most: int) -> list[Point]:
    """The points without the weakest ones, so that they keep to `most` words (0 for any); one always stays."""
    kept = list(points)
    while most and len(kept) > 1 and sum(word_count(point) for point in kept) > most:
        kept.remove(min(kept, key=lambda point: point.score))
    return kept


def word_count(point: Point) -> int:
    """Words in a point's sentences."""
    return sum(len(passage.text.split()) for passage in point.passages)


def sentence_of(point: Point, quoted: bool) -> str:
    """A point's sentences as one stretch of text; in quotation marks when spoken or when quoting is asked for."""
    text = " ".join(passage.text for passage in point.passages)
    return f"“{text.strip('“”')}”" if quoted or point.passages[0].speaker else text


def _foreign_shape(value: str, default: str) -> str:
    """The shape that a format outside the vocabulary comes nearest to."""
    return next((shape for pattern, shape in _FOREIGN if re.search(pattern, value, re.IGNORECASE)), default)


def _foreign_words(value: str) -> list[int]:
    """Word limits named in a constraint outside the vocabulary."""
    numbers = [int(number) for number in re.findall(r"\b(\d{2,4})[- ](?:\d{2,4} )?words?", value)]
    if not numbers:
        return [0, 0]
    at_least = re.search(r"(?i)at least|minimum|more than|over", value)
    return [min(numbers[0], 350), 0] if at_least else [0, numbers[-1]]


def _said(point: Point, quoted: bool) -> str:
    """A sentence in running text, with its speaker."""
    speaker = point.passages[0].speaker
    return f"{speaker}: {sentence_of(point, quoted)}" if speaker else sentence_of(point, quoted)


def running(points: Sequence[Point], form: Form) -> str:
    """One paragraph; groups are announced in passing."""
    parts = []
    for group, inside in groupby(points, key=lambda point: point.group):
        text = " ".join(_said(point, form.quoted) for point in inside)
        parts.append(f"{group}: {text}" if group else text)
    return " ".join(parts)


def _paragraphs(points: Sequence[Point], form: Form) -> str:
    """A paragraph for each group, or for every two or three points."""
    if any(point.group for point in points):
        groups = [list(inside) for _, inside in groupby(points, key=lambda point: point.group)]
        return "\n\n".join(running(group, form) for group in groups)
    size = 2 if len(points) <= 6 else 3
    return "\n\n".join(running(points[at : at + size], form) for at in range(0, len(points), size))


def _labelled(point: Point, form: Form) -> str:
    """A list entry: label in bold, then the sentence."""
    text = sentence_of(point, form.quoted)
    return f"**{point.label}:** {text}" if point.label else text


def _listed(points: Sequence[Point], form: Form, mark: str) -> str:
    """A list, under a line for each group; numbers run through."""
    lines: list[str] = []
    number = 0
    for group, inside in groupby(points, key=lambda point: point.group):
        if group:
            lines += ["", f"**{group}**", ""] if lines else [f"**{group}**", ""]
        for point in inside:
            number += 1
            lines.append(f"{f'{number}.' if mark == '1.' else mark} {_labelled(point, form)}")
    return "\n".join(lines)


def _table(points: Sequence[Point], form: Form) -> str:
    """A table of topic and statement; a group becomes a column of its own."""
    grouped = any(point.group for point in points)
    head = ["Kind", "Topic", "Statement"] if grouped else ["Topic", "Statement"]
    if points[0].passages[0].speaker:
        head[-2] = "Speaker"
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for point in points:
        cells = [point.label or "–", sentence_of(point, form.quoted).replace("|", "/")]
        lines.append(f"| {' | '.join([point.group, *cells] if grouped else cells)} |")
    return "\n".join(lines)


def _sections(points: Sequence[Point], form: Form) -> str:
    """Headed parts: by group, else by the document's own headings, else by two points each."""
    parts: list[tuple[str, list[Point]]] = []
    several = len({point.passages[0].heading for point in points}) > 1
    for point in points:
        own = point.group or (point.passages[0].heading if several else "")
        fits = parts and parts[-1][0] == own and (own or len(parts[-1][1]) < _SECTION_POINTS)
        if fits:
            parts[-1][1].append(point)
        else:
            parts.append((own, [point]))
    return "\n\n".join(
        f"### {heading or _topic(inside, number)}\n\n{_running_plain(inside, form)}"
        for number, (heading, inside) in enumerate(parts, 1)
    )


def _topic(points: Sequence[Point], number: int) -> str:
    """A heading for points that have none: the first label among them that is not a speaker's name."""
    own = (point.label for point in points if point.label and not point.passages[0].speaker)
    return next(own, f"Part {number}")


def _running_plain(points: Sequence[Point], form: Form) -> str:
    """The points of a section as running text."""
    return " ".join(_said(point, form.quoted) for point in points)


def _json(points: Sequence[Point], form: Form) -> str:
    """A JSON array of points in a fence."""
    rows = [
        {
            key: value
            for key, value in (("kind", point.group), ("topic", point.label), ("statement", sentence_of(point, False)))
            if value
        }
        for point in points
    ]
    return f"```json\n{json.dumps(rows, ensure_ascii=False, indent=2)}\n```"


def _html(points: Sequence[Point], form: Form) -> str:
    """An HTML list."""
    lines = []
    for point in points:
        label = f"<b>{html.escape(point.label)}:</b> " if point.label else ""
        lines.append(f"  <li>{label}{html.escape(sentence_of(point, form.quoted), quote=False)}</li>")
    return "<ul>\n" + "\n".join(lines) + "\n</ul>"


def _questions(points: Sequence[Point], form: Form) -> str:
    """Questions about the labels, each followed by its sentence."""
    made = []
    for point in points:
        speaker = point.passages[0].speaker
        subject = (
            f"What does {speaker} say?"
            if speaker
            else f"What is said about {point.label}?"
            if point.label
            else "What else is said?"
        )
        made.append(f"**{subject}**\n{sentence_of(point, form.quoted)}")
    return "\n\n".join(made)
