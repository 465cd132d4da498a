"""Finds the sentences of a document that can stand in an answer, and cleans them for display.

It judges form only (length, letters, repetition, page furniture, dangling openings); what a sentence is worth
for a request is decided elsewhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from udfs.llm.offline.blocks import Block, blocks
from udfs.llm.offline.words import NO_SPACE, content_stems
from udfs.text import sentences

_MIN_CHARS = 40
_MIN_CHARS_NO_SPACE = 20  # a character of Chinese or Thai says more
_MAX_CHARS = 420  # longer ones are cut at a clause, or left out
_MAX_DOCUMENT = 400_000  # what is read of a document; far beyond the length filters
_MIN_WORDS = 7
_MIN_LETTERS = 0.62  # of all characters but spaces

_FURNITURE = re.compile(
    r"(?i)all rights reserved|copyright (?:©|\(c\)|\d)|©|cookies?\b|click here|subscribe|sign up|log ?in\b|privacy policy|"
    r"terms of (?:use|service)|jump (?:up|to)\b|retrieved|archived from|\bISBN\b|citation needed|https?://|www\.|"
    r"page \d+ of \d+|hide caption|photos?:|source: [A-Z ,.]+(?:INC|CORP|LTD)|^\W*exhibit \d|read more|share this|"
    r"this article (?:needs|is about|'s)|learn how and when to remove|all-time|newsletter|javascript|advertisement|"
    r"^\W*(?:table|figure|fig\.|tabelle|tab\.)\s*\d|disambiguation|^\W*(?:see|cf\.|ibid)\b|certain (?:identified|confidential)|"
    r"would like to thank|licen[sc]ed under a|(?:was|is) (?:partially |partly )?(?:supported|funded) by|has been (?:excluded|omitted)|redacted|confidential treatment|\[\*{2,}\]|_{3,}|\.{4,}|bottom of the page|edit this|"
    r"please help improve|from wikipedia|wikimedia|text is available under|last edited|additional terms|speaking\.$|next question|operator instructions|listen-only"
)
_MARKUP = re.compile(r"\{[a-z]{2,14}\}|BIBREF\d+|\[\d{1,3}(?:, ?\d{1,3})*\]|\(?\s*(?:FIGREF|TABREF|SECREF|INLINEFORM|DISPLAYFORM)\d+\s*\)?|\*\*|__|^\W*Review ?#\d+ ?:")
_FORMULA = re.compile(r"INLINEFORM|DISPLAYFORM|\b(?:in|by|of|from|see|to|with|and) (?:BIBREF|FIGREF|TABREF|SECREF)\d|(?:Figure|Table|Section|Fig\.) (?:FIGREF|TABREF|SECREF)\d")
_REPEATED_WORD = re.compile(r"\b(\w+(?:['’]\w+)?)((?:,? \1\b)+)", re.IGNORECASE)
_LOST = re.compile(r"(?:,\s*)+(?=[,.;])|\(\s*[,;]?\s*\)")
_REFERENCE_MARK = re.compile(r"\((?:[^()]{0,120}(?:et al\.?|, (?:19|20)\d\d[a-z]?)[^()]{0,80})\)")
_MARKDOWN_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_RST_ROLE = re.compile(r":[a-z:]+:`~?([^`<]+)(?:<[^`>]*>)?`")
_SPACE_BEFORE = re.compile(r"\s+([,.;:!?)\]’”])|([(\[“])\s+")
_CONTRACTION = re.compile(r"(\w) (['’](?:s|m|re|ll|ve|d|t)\b|n['’]t\b)")
_FILLER = re.compile(r"(?i)\b(?:uh+|um+|er+m?|mm+(?: ?- ?hmm+)?|hmm+|huh)\b[ ,.]*")
_OPENER = re.compile(
    r"(?:(?:however|moreover|furthermore|therefore|thus|hence|in addition|additionally|also|besides|nevertheless|"
    r"consequently|as a result|for example|for instance|in fact|indeed|similarly|likewise|meanwhile|finally|first|second|"
    r"third|next|then|so|and|but|yet|or|well|now|okay|ok|alright|yeah|right|anyway|still|instead|again|accordingly|"
    r"that is|of course|on the other hand|in contrast|by contrast|specifically|in particular|overall)\b\s*[,:]\s+|"
    r"(?:and|but|so|well|yeah|okay|ok|or|yet)\s+)",
    re.IGNORECASE,
)
_DANGLING = re.compile(
    r"(?:this|that|these|those|it|its|they|their|he|his|she|her|him|them|such|both|the (?:former|latter|same|above|following)|"
    r"here|there|then|which|who|because|although|while|since|if so|as such|as mentioned|see)\b",
    re.IGNORECASE,
)
_CUT = re.compile(r"(?<=[;:])\s+|;\s*(?=\()|(?<=\.)\s+(?=[A-Z(])")
_BROKEN_END = re.compile(r"(?i)\b(?:pat|v|vs|inc|corp|no|st|ser|fig|sec|vol|pp|ed|eds|approx|cf|e\.g|i\.e|et al)\.$")
_BIBLIOGRAPHY = re.compile(r"\(\d{4}\)[;,.:]|\d{4} ?-- ?\d{4} \(\d{4}\)|\bpp?\. ?\d|\b(?:eds?\.|vol\.|doi)\b|^[A-Z]\w+, [A-Z]\w*\.? .*\(\d{4}\)")
_TERMINAL = re.compile(r"[.!?。！？…][\"'”’)\]»]*$")
_HEDGE = re.compile(r"(?i)\b(?:you know|i mean|sort of|kind of|i guess|like,|or something|i think)")
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
        for start, end, opened in _pieces(text, block):
            shown = clean(text[start:end], bool(block.speaker))
            shown = shown[:1].upper() + shown[1:] if opened else shown
            key = shown.casefold()
            if key in seen or key in repeated or not is_usable(shown, bool(block.speaker)):
                continue
            seen.add(key)
            if _FORMULA.search(text, start, end):
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
                    quality=_quality(shown, stems, bool(block.speaker)),
                )
            )
    return result


def clean(raw: str, spoken: bool = False) -> str:
    """A sentence for display: one line, without markup, reference marks and stammering, with normal spacing."""
    text = _MARKDOWN_LINK.sub(r"\1", _RST_ROLE.sub(r"\1", _MARKUP.sub(" ", raw)))
    text = _REFERENCE_MARK.sub(" ", text).replace("``", "“").replace("''", "”")
    text = " ".join(text.split())
    text = _CONTRACTION.sub(r"\1\2", text)
    text = _SPACE_BEFORE.sub(lambda match: match.group(1) or match.group(2), text)
    text = _LOST.sub("", text)
    text = re.sub(r"(?<=\w) - (?=\w)", "-", text) if " - " in text and " , " not in raw else text
    if spoken:
        text = _REPEATED_WORD.sub(r"\1", _FILLER.sub("", text)).strip(" ,")
    text = text.strip(" *_|>#").strip()
    return text[:1].upper() + text[1:] if spoken else text


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
    if sum(word.isupper() and len(word) > 1 for word in words) > 0.5 * len(words):
        return False
    if any(mark in shown for mark in ("{", "}", "\\", "==", "<", ">", "|", "::", "\x00", "\ufffd")):
        return False
    if spoken and len(_FILLER.findall(shown)) * 8 > len(words):
        return False
    return not _FURNITURE.search(shown)


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
        start, end = _trim(text, block.start + begin, block.start + finish)
        opener = _OPENER.match(text, start, end)
        opened = opener is not None and end - opener.end() >= _MIN_CHARS
        if opener is not None and opened:
            start = opener.end()
        if end - start <= _MAX_CHARS:
            if end > start:
                yield start, end, opened
            continue
        cut = next((match.start() for match in _CUT.finditer(text, start + 80, min(end, start + _MAX_CHARS))), None)
        if cut is not None:
            yield *_trim(text, start, cut), opened


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
    if _DANGLING.match(shown):
        quality -= 0.4
    if not (shown[0].isupper() or shown[0] in "\"“‘'" or not shown[0].isascii() or shown[0].isdigit()):
        quality -= 0.15 if spoken else 0.45
    if shown.count("(") != shown.count(")") or shown.count("“") != shown.count("”") or shown.count('"') % 2:
        quality -= 0.3
    quality -= 0.15 * len(_REPEATED_WORD.findall(shown))
    if shown.endswith("?"):
        quality -= 0.3
    if len(words) > 45:
        quality -= 0.25
    elif len(words) < 10:
        quality -= 0.1
    if len(stems) < 4 or _BROKEN_END.search(shown):
        quality -= 0.3
    if _BIBLIOGRAPHY.search(shown):
        quality -= 0.5
    if spoken:
        quality -= 0.12 * len(_HEDGE.findall(shown))
    elif _SECOND_VOICE.match(shown):
        quality -= 0.05
    if sum(character.isdigit() for character in shown) > 0.12 * len(shown):
        quality -= 0.25
    return max(0.05, quality)
