"""Cuts a document into blocks: paragraphs with their heading and speaker, and the lines that are no prose.

It knows page furniture (markup, bullets, headings, speaker labels, wrapped lines), not what the text says.
All offsets are characters of the original document.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_HEADING_TAG = re.compile(r"<[Hh][1-6]\b")
_EDIT = re.compile(r"\s*[(\[] ?edit ?[)\]]\s*$")
_HTML_TAGS = 20  # so many tags mean a page, not a text that mentions a few
_SPEAKER = re.compile(
    r"^\s*((?:\[?[A-Z][\w.'’()&\[\]-]*)"
    r"(?: (?:[A-Z(][\w.'’()&-]*|of|the|and|de|v\.o\.\)|o\.s\.\))){0,6})(?: ?\([^()\n]{1,80}\))?\s{0,2}:\s+(?=\S)"
)
_SPEAKER_TIMES = 2  # a label must come back to be a speaker
_SPEAKERS_NEEDED = 8  # labelled lines a transcript has at least
_SPEAKING_SHARE = 0.1  # of all lines
_NOT_A_SPEAKER = re.compile(
    r"(?i)\[?(?:source|note|notes|example|examples|figure|fig|table|page|title|authors?|date|topic|tip|warning|url|see|"
    r"returns?|parameters?|raises|version|licen[sc]e|copyright|references?|section|step|question|answer|summary|scene|int|ext|"
    r"cut to|later|meanwhile)\b"
)
_BULLET = re.compile(r"^\s*(?:[-*+•◦▪·]|\(?\d{1,3}[.)]|\(?[a-z]\)|\[\d{1,4}\])\s+")
_MARKDOWN_HEADING = re.compile(r"^\s{0,3}(#{1,6})\s+(.+?)\s*#*\s*$")
_NUMBERED_HEADING = re.compile(
    r"^\s*(?:(?:section|chapter|part|article|act|scene)\s+)?(?:\d+(?:\.\d+)*|[IVXLC]+)[.)]?\s+(?=[A-Z(\"“])",
    re.IGNORECASE,
)
_UNDERLINE = re.compile(r"^\s*(?:={3,}|-{3,}|~{3,}|\*{3,}|\^{3,})\s*$")
_SPECIAL_HEADING = re.compile(
    r"^\s*(?:introduction|abstract|background|conclusions?|methods?|results|discussion|summary|foreword|preface|epilogue|prologue)\s*$",
    re.IGNORECASE,
)
_ENDS_SENTENCE = re.compile(r"[.!?:;…。！？]['\"”’)\]]*\s*$")
_FURNITURE = re.compile(r"(?i)source ?:|page \d|exhibit\b|review ?#|table of contents|figure\b|table \d")
_SMALL = "a an and as at by for from in into of on or the to with vs per is are how what why"  # in titles
_SMALL_WORDS = frozenset(_SMALL.split())
_HEADING_CHARS = 90
_WRAP_MIN, _WRAP_MAX = 45, 110  # line lengths of text broken at a margin


@dataclass(frozen=True)
class Block:
    """A stretch of running text: `text[start:end]` of the document, under `heading`, spoken by `speaker`."""

    start: int
    end: int
    heading: str
    speaker: str


@dataclass(frozen=True)
class _Line:
    start: int
    text: str
    kind: str = ""  # in an HTML page "heading" or "cell": told by tags, not guessed


def blocks(text: str) -> list[Block]:
    """The document's blocks in order; headings, rules, code fences and tags are left out."""
    lines = list(_lines(text))
    wrapped = _is_wrapped(lines)
    speakers = _speakers(lines)
    found: list[Block] = []
    heading, speaker, fenced = "", "", False
    open_block: list[_Line] = []

    def close() -> None:
        if open_block:
            last = open_block[-1]
            found.append(Block(open_block[0].start, last.start + len(last.text), heading, speaker))
            open_block.clear()

    for index, line in enumerate(lines):
        plain = line.text.strip()
        if plain.startswith(("```", "~~~")):
            close()
            fenced = not fenced
            continue
        if fenced or not plain or _UNDERLINE.match(plain):
            close()
            continue
        following = lines[index + 1].text if index + 1 < len(lines) else ""
        previous = lines[index - 1].text if index else ""
        title = _title(line, previous, following, wrapped)
        if title:
            close()
            heading, speaker = title, ""
            continue
        labelled = _SPEAKER.match(line.text)
        if labelled and labelled.group(1) in speakers:
            close()
            speaker = labelled.group(1).strip("[]")
            open_block.append(_Line(line.start + labelled.end(), line.text[labelled.end() :]))
            continue
        if speakers and plain.startswith(("[", "(")):
            close()
            speaker = ""  # a stage direction is nobody's line
        if not wrapped or _BULLET.match(line.text) or not open_block:
            close()
        bullet = _BULLET.match(line.text)
        skip = bullet.end() if bullet and not open_block else len(line.text) - len(line.text.lstrip())
        open_block.append(_Line(line.start + skip, line.text[skip:]))
    close()
    return found


def _lines(text: str) -> Iterator[_Line]:
    """Lines with their offsets; in an HTML page every tag ends one."""
    tags = list(_TAG.finditer(text)) if text.count("<") >= _HTML_TAGS else []
    if len(tags) < _HTML_TAGS:
        tags = []
    position, kind = 0, "cell" if tags else ""
    for start, end, tag in [*((tag.start(), tag.end(), tag.group()) for tag in tags), (len(text), len(text), "")]:
        offset = position
        for piece in text[position:start].splitlines(keepends=True):
            yield _Line(offset, piece.rstrip("\r\n"), kind)
            offset += len(piece)
        if tag:
            yield _Line(start, "")  # a tag parts what stands around it
            kind = "heading" if _HEADING_TAG.match(tag) else "cell"
        position = end


def _title(line: _Line, previous: str, following: str, wrapped: bool) -> str:
    """The heading a line is, told by its tag or by its look."""
    plain = line.text.strip()
    if line.kind == "heading":
        return _EDIT.sub("", plain) if len(plain) <= _HEADING_CHARS else ""
    return "" if line.kind == "cell" else _heading(plain, previous, following, wrapped)


def _is_wrapped(lines: list[_Line]) -> bool:
    """Whether paragraphs are broken at a margin, so that a line's end is not a paragraph's end."""
    lengths = sorted(len(line.text.strip()) for line in lines if len(line.text.strip()) > 20)
    if len(lengths) < 8:
        return False
    unfinished = sum(not _ENDS_SENTENCE.search(line.text) for line in lines if len(line.text.strip()) > _WRAP_MIN - 10)
    long_enough = sum(length > _WRAP_MIN - 10 for length in lengths)
    at_margin = _WRAP_MIN <= median(lengths) <= _WRAP_MAX and lengths[int(len(lengths) * 0.9)] <= _WRAP_MAX
    return at_margin and unfinished >= 0.5 * long_enough


def _speakers(lines: list[_Line]) -> frozenset[str]:
    """Labels that open lines again and again, as in a transcript."""
    labels = Counter(match.group(1) for line in lines if (match := _SPEAKER.match(line.text)))
    known = {
        label: times for label, times in labels.items() if times >= _SPEAKER_TIMES and not _NOT_A_SPEAKER.match(label)
    }
    enough = max(_SPEAKERS_NEEDED, _SPEAKING_SHARE * sum(bool(line.text.strip()) for line in lines))
    return frozenset(known) if sum(known.values()) >= enough else frozenset()


def _heading(plain: str, previous: str, following: str, wrapped: bool) -> str:
    """The heading a line is, without its marks; empty when it is none."""
    marked = _MARKDOWN_HEADING.match(plain)
    if marked:
        return marked.group(2).strip(" *_`")
    if len(plain) > _HEADING_CHARS or not any(character.isalpha() for character in plain):
        return ""
    if _FURNITURE.match(plain) or _SPEAKER.match(plain):
        return ""
    if _UNDERLINE.match(following) and not _ENDS_SENTENCE.search(plain):
        return plain
    if _ENDS_SENTENCE.search(plain) or (_BULLET.match(plain) and not _NUMBERED_HEADING.match(plain)):
        return ""
    if wrapped and previous.strip() and not _SPECIAL_HEADING.match(plain):
        return ""  # a short line inside a wrapped paragraph
    numbered = _NUMBERED_HEADING.match(plain)
    bare = plain[numbered.end() :] if numbered else plain
    words = bare.split()
    if not 1 <= len(words) <= 10 or any(mark in bare for mark in "=<>{};|@"):
        return ""
    capital = all(word[:1].isupper() or word.lower() in _SMALL_WORDS or not word[:1].isalpha() for word in words)
    if not (_SPECIAL_HEADING.match(bare) or ((numbered or capital) and words[0][:1].isupper())):
        return ""
    return " ".join(bare.title().split()) if bare.isupper() else " ".join(bare.split())
