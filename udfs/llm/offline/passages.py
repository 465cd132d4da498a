"""Finds the sentences of a document that can stand in an answer, and cleans them for display.

It judges form only (length, letters, repetition, page furniture, dangling openings); what a sentence is worth
for a request is decided elsewhere.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from udfs.llm.offline.blocks import Block, blocks
from udfs.llm.offline.vocabulary import load
from udfs.llm.offline.words import NO_SPACE, content_stems, stop_words
from udfs.text import sentences

_MIN_CHARS = 40
_MIN_CHARS_NO_SPACE = 20  # a character of Chinese or Thai says more
_MAX_CHARS = 420  # longer ones are cut at a clause, or left out
_MAX_DOCUMENT = 400_000  # what is read of a document; far beyond the length filters
_MIN_WORDS = 7
_LEAST_CUT = 80  # characters a cut sentence keeps
_MOST_CAPITALS = 0.6  # of the words: beyond it is a list of names
_LEAST_QUALITY = 0.05
_RESTART = 0.25  # what each broken-off start takes from a spoken sentence
_MIN_LETTERS = 0.62  # of all characters but spaces

# The longer patterns are data: furniture (boilerplate), markup, formula (sentences that lost one), opener
# ("However, "), numbering ("4.2 FEES (a) "), dangling (openings that lean on what came before), and so on.
_PATTERNS = {name: re.compile(pattern) for name, pattern in load("sentences").items()}
_REPEATED_WORD = re.compile(r"\b(\w+(?:['’]\w+)?)((?:,? \1\b)+)", re.IGNORECASE)
_LOST = re.compile(r"(?:,\s*)+(?=[,.;])|\(\s*[,;]?\s*\)")
_REFERENCE_MARK = re.compile(r"\((?:[^()]{0,120}(?:et al\.?|, (?:19|20)\d\d[a-z]?)[^()]{0,80})\)")
_LATEX_QUOTES = re.compile(r"``\s*([^`\n]{1,200}?)\s*''")
_MARKDOWN_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_RST_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+)(?:<[^`>]*>)?`")
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?)\]’”])|([(\[“])\s+")
_CONTRACTION = re.compile(r"(\w) (['’](?:s|m|re|ll|ve|d|t)\b|n['’]t\b)")
_BROKEN_OFF = re.compile(r"\b([^\W\d_]{1,6}) (?=\1\w)", re.IGNORECASE)
_FILLER = re.compile(r"(?i)\b(?:uh+|um+|er+m?|mm+(?: ?- ?hmm+)?|hmm+|huh)\b[ ,.]*")
_RUN_TOGETHER = re.compile(
    r"(?<=[A-Za-z]{3}[.!?])(?=[A-Z][a-z]*[ ',’])|(?<=[a-z]{4})(?=(?:If|The|You|This|For|We|When|How|What) )|"
    r"\s*\bReview ?#\d+ ?:\s*|"
    r"(?<!Section)(?<!section)(?<!Article)(?<!Exhibit)(?<!version)\s\d+\.\d+(?:\.\d+)*\.?\s+(?=[A-Z][a-z]*\s)"
)
_CUT = re.compile(r"(?<=[;:])\s+|;\s*(?=\()|(?<=\.)\s+(?=[A-Z(])")
_TERMINAL = re.compile(r"[.!?。！？…][\"'”’)\]»]*$")
_SECOND_VOICE = re.compile(r"(?i)\b(?:i|i'm|i’m|me|my|we|we're|you|you're)\b")
_LETTER_NO_SPACE = re.compile(f"[{NO_SPACE}]")


@dataclass(frozen=True)
class Passage:
    """A usable sentence: `document[start:end]` is the quote, `text` is the same cleaned for display."""

    index: int
    start: int
    end: int
    text: str
    stems: tuple[str, ...]
    position: float  # 0 at the beginning of the document, 1 at its end
    heading: str
    speaker: str
    block: int
    quality: float  # 0..1, how well it stands alone

    @property
    def bag(self) -> frozenset[str]:
        """Its stems without repeats."""
        return frozenset(self.stems)


def passages(document: str) -> list[Passage]:
    """The usable sentences of a document in order; empty when there are none."""
    text = document[:_MAX_DOCUMENT]
    found = blocks(text)
    repeated = _repeated(text, found)
    result: list[Passage] = []
    seen: set[str] = set()
    for number, block in enumerate(found):
        if _PATTERNS["apparatus"].search(block.heading):
            continue
        for start, end, opened in _pieces(text, block):
            shown = clean(text[start:end], bool(block.speaker))
            shown = shown[:1].upper() + shown[1:] if opened else shown
            key = shown.casefold()
            if key in seen or key in repeated or not is_usable(shown, bool(block.speaker)):
                continue
            seen.add(key)
            if _PATTERNS["formula"].search(text, start, end):
                continue  # a sentence whose formula was lost is no sentence
            stems = tuple(content_stems(shown))
            result.append(
                Passage(
                    index=len(result),
                    start=start,
                    end=end,
                    text=shown,
                    stems=stems,
                    position=start / max(1, len(text)),
                    heading=block.heading,
                    speaker=block.speaker,
                    block=number,
                    quality=max(
                        _LEAST_QUALITY,
                        _quality(shown, stems, bool(block.speaker)) - _RESTART * text.count("{disfmarker}", start, end),
                    ),
                )
            )
    return result


def clean(raw: str, spoken: bool = False) -> str:
    """A sentence for display: one line, without markup, reference marks and stammering, with normal spacing."""
    text = _MARKDOWN_LINK.sub(r"\1", _RST_ROLE.sub(r"\1", _PATTERNS["markup"].sub(" ", raw)))
    text = _REFERENCE_MARK.sub(" ", _LATEX_QUOTES.sub(r"“\1”", text)).replace("``", "`")
    text = " ".join(html.unescape(text).split())
    text = _CONTRACTION.sub(r"\1\2", text)
    text = _SPACE_BEFORE.sub(lambda match: match.group(1) or match.group(2), text)
    text = _LOST.sub("", text)
    text = re.sub(r"(?<=\w) - (?=\w)", "-", text) if " - " in text and " , " not in raw else text
    if spoken:
        text = _BROKEN_OFF.sub(_without_fragment, _REPEATED_WORD.sub(r"\1", _FILLER.sub("", text))).strip(" ,")
    text = text.strip(" *_|>#").strip()
    if text.count("[") != text.count("]"):
        text = text.strip("[]").strip()
    return text[:1].upper() + text[1:] if spoken else text


def _without_fragment(match: re.Match[str]) -> str:
    """Nothing for the broken-off beginning of the next word ("bu button"); real words stay ("a animal")."""
    return match.group() if match.group(1).lower() in stop_words() else ""


def is_usable(shown: str, spoken: bool = False) -> bool:
    """Whether a cleaned sentence may stand in an answer."""
    no_space = len(_LETTER_NO_SPACE.findall(shown))
    wide = no_space > 0.3 * len(shown)
    if len(shown) < (_MIN_CHARS_NO_SPACE if wide else _MIN_CHARS) or len(shown) > _MAX_CHARS:
        return False
    words = shown.split()
    if not wide and len(words) < _MIN_WORDS:
        return False
    solid = sum(not character.isspace() for character in shown)
    letters = sum(character.isalpha() for character in shown)
    if letters < _MIN_LETTERS * solid or not _TERMINAL.search(shown):
        return False
    if not wide and (max(map(len, words)) > 40 or letters < 2.6 * len(words)):
        return False
    capitals = sum(word[:1].isupper() for word in words)
    if sum(word.isupper() and len(word) > 1 for word in words) > 0.5 * len(words) or capitals > _MOST_CAPITALS * len(
        words
    ):
        return False
    if any(mark in shown for mark in ("{", "}", "\\", "==", "<", ">", "|", "::", "\x00", "\ufffd")):
        return False
    if spoken and len(_FILLER.findall(shown)) * 8 > len(words):
        return False
    return not _PATTERNS["fragment"].search(shown) and not _PATTERNS["furniture"].search(shown)


def _repeated(text: str, found: list[Block]) -> frozenset[str]:
    """Short blocks that come back word for word: running heads, menus, boilerplate."""
    counts = Counter(
        clean(text[block.start : block.end]).casefold() for block in found if block.end - block.start < 500
    )
    return frozenset(key for key, times in counts.items() if times >= 2)


def _pieces(text: str, block: Block) -> Iterator[tuple[int, int, bool]]:
    """Spans of the block's sentences, overlong ones cut at a clause; True where an opener was cut off."""
    inside = text[block.start : block.end]
    for begin, finish in sentences(inside):
        for start, end in _parted(text, block.start + begin, block.start + finish):
            numbering = _PATTERNS["numbering"].match(text, start, end)
            start = numbering.end() if numbering else start
            opener = _PATTERNS["opener"].match(text, start, end)
            opened = opener is not None and end - opener.end() >= _MIN_CHARS
            if opener is not None and opened:
                start = opener.end()
            if end - start > _MAX_CHARS:
                shorter = _CUT.search(text, start + _LEAST_CUT, min(end, start + _MAX_CHARS))
                if shorter is None:
                    continue
                start, end = _trim(text, start, shorter.start())
            if end > start:
                yield start, end, opened


def _parted(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """A sentence parted where two were run together without a space."""
    at = start
    for seam in _RUN_TOGETHER.finditer(text, start, end):
        if seam.start() > at:
            yield _trim(text, at, seam.start())
        at = seam.end()
    yield _trim(text, at, end)


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _quality(shown: str, stems: tuple[str, ...], spoken: bool) -> float:
    """How well a sentence stands alone: whole, self-contained, of middling length, with content."""
    words = shown.split()
    quality = 1.0
    if _PATTERNS["dangling"].match(shown):
        quality -= 0.4
    if not (shown[0].isupper() or shown[0] in "\"“‘'" or not shown[0].isascii() or shown[0].isdigit()):
        quality -= 0.15 if spoken else 0.7
    if shown.count("(") != shown.count(")") or shown.count("“") != shown.count("”") or shown.count('"') % 2:
        quality -= 0.45
    if shown.count("[") != shown.count("]") or _PATTERNS["inner_number"].search(shown):
        quality -= 0.4
    quality -= 0.15 * len(_REPEATED_WORD.findall(shown))
    if shown.endswith("?"):
        quality -= 0.3
    if len(words) > 45:
        quality -= 0.25
    elif len(words) < 10:
        quality -= 0.1
    if len(stems) < 4 or _PATTERNS["broken_end"].search(shown):
        quality -= 0.3
    if _PATTERNS["pointing"].search(shown):
        quality -= 0.25
    if _PATTERNS["bibliography"].search(shown):
        quality -= 0.5
    if spoken:
        quality -= 0.12 * len(_PATTERNS["hedge"].findall(shown))
    elif _SECOND_VOICE.match(shown):
        quality -= 0.05
    if sum(character.isdigit() for character in shown) > 0.12 * len(shown):
        quality -= 0.25
    return quality
