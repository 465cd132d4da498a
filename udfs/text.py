"""Finds sentences, paragraphs and words in a text as offsets, and brings texts to comparable forms.

It works by rules on any script and refuses to know what the text is about.
"""

from __future__ import annotations

import re
import unicodedata

Span = tuple[int, int]  # text[start:end], in characters of the original text

# A mark that can end a sentence, with the brackets and quotes that close behind it.
CLOSERS = "\"'”’»›)\\]}」』）】〉》"
MARKS = ".!?…‼⁇⁈⁉؟۔"
# Only where a row of marks begins: a long one that ends nothing would be tried from each of its marks.
STOP = re.compile(rf"(?P<spaced>(?<![{MARKS}])[{MARKS}]+[{CLOSERS}*_`]*(?=\s|$))|(?P<glued>[。！？｡।॥]+[{CLOSERS}]*)")
ONLY_DOTS = re.compile(rf"[.…]+[{CLOSERS}*_`]*")
LAST_WORD = re.compile(r"[^\s(\[{\"'“‘«]*$")
LIST_NUMBER = re.compile(r"\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,5})")
# A line that starts something of its own: list item, heading, quotation, table row, fence, numbered point.
BLOCK_START = re.compile(r"\s*(?:[-*+•◦▪‣·–—#>|`~=]|\(?\d{1,3}[.):]\s|\(?[a-zA-Z][.)]\s|<|\\)")
WORD = re.compile(r"\w+(?:['’\-]\w+)*")
WRAPPED = range(45, 131)  # lengths of lines that were broken to fit a page
LOOK_BACK = 64  # characters before a full stop in which an abbreviation is looked for

# After these a capital letter does not begin a sentence …
TITLES = (
    "mr mrs ms mx dr prof rev hon gen col capt lt sgt maj gov pres sen rep messrs mme mlle st vs e.g i.e eg ie cf "
    "al approx ca viz resp u.s u.k u.n e.u ph.d bzw z.b d.h usw ggf evtl vgl bzgl p.ex sra sres ud uds"
)
# … and after these no figure does; before a word most of them are words themselves.
BEFORE_FIGURES = (
    "no nos nr fig figs eq eqs sec secs ch chap p pp para paras art arts tab ref refs vol vols ed eds app "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"
)
ABBREVIATIONS = frozenset(TITLES.split())
FIGURE_ABBREVIATIONS = frozenset(BEFORE_FIGURES.split())


def sentences(text: str) -> list[Span]:
    """Offsets of the sentences, without the white space around them.

    Every character that is not white space lies in exactly one sentence; headings, list items and table rows
    are sentences of their own. Linear in the length of the text.
    """
    found: list[Span] = []
    for start, end in blocks(text):
        inside: list[Span] = []
        at = start
        for stop in STOP.finditer(text, start, end):
            if ends_sentence(text, at, stop, end):
                add_sentence(inside, text, at, stop.end())
                at = stop.end()
        add_sentence(inside, text, at, end)
        found += inside
    return found


def add_sentence(found: list[Span], text: str, start: int, end: int) -> None:
    """Add a sentence; marks without a letter or digit belong to the one before them."""
    size = len(found)
    add_trimmed(found, text, start, end)
    if 0 < size < len(found) and not any(map(str.isalnum, text[start:end])):
        _, end = found.pop()
        found[-1] = (found[-1][0], end)


def blocks(text: str) -> list[Span]:
    """Stretches of lines that run on: parted by blank lines, list marks and lines that end early."""
    found: list[Span] = []
    start, at = 0, 0
    previous = ""
    for line in text.splitlines(keepends=True):
        if at > start and not runs_on(previous, line):
            found.append((start, at))
            start = at
        at += len(line)
        previous = line
    if at > start:
        found.append((start, at))
    return found


def runs_on(line: str, following: str) -> bool:
    """Whether a line break is only a wrap inside a sentence."""
    before, after = line.strip(), following.strip()
    if not before or not after or BLOCK_START.match(following):
        return False
    if after[0].islower():
        return True
    ended = bool(STOP.search(before[-4:] + " ")) or before[-1] in ":;"
    return len(before) in WRAPPED and not ended and len(before.split()) > 4


def ends_sentence(text: str, start: int, stop: re.Match[str], end: int) -> bool:
    """Whether a stop mark ends a sentence rather than an abbreviation, an initial or a list number."""
    if stop["glued"]:
        return True
    following = text[stop.end() : min(stop.end() + LOOK_BACK, end)].lstrip()[:1]
    if not ONLY_DOTS.fullmatch(stop[0]):
        return not following.islower()
    if following.islower():
        return False
    if stop[0] != ".":
        return True
    before = text[max(start, stop.start() - LOOK_BACK) : stop.start()]
    found = LAST_WORD.search(before)
    word = found[0] if found else ""
    if before.strip() == word and LIST_NUMBER.fullmatch(word):
        return False
    if len(word) == 1 and word.isalpha() and word.isupper() and following.isupper():
        return False
    if word.lower() in FIGURE_ABBREVIATIONS:
        return not following.isdigit()
    return word.lower() not in ABBREVIATIONS


def add_trimmed(found: list[Span], text: str, start: int, end: int) -> None:
    """Add a span without the white space at its ends, if anything is left."""
    body = text[start:end]
    left = len(body) - len(body.lstrip())
    if left < len(body):
        found.append((start + left, start + len(body.rstrip())))


def paragraphs(text: str) -> list[Span]:
    """Offsets of the stretches between blank lines, without the white space around them."""
    found: list[Span] = []
    start = 0
    for gap in re.finditer(r"\n[^\S\n]*\n\s*", text):
        add_trimmed(found, text, start, gap.start())
        start = gap.end()
    add_trimmed(found, text, start, len(text))
    return found


def words(text: str) -> list[Span]:
    """Offsets of the words: letters, digits and marks, with inner apostrophes and hyphens."""
    return [match.span() for match in WORD.finditer(text)]


def normalise_spaces(text: str) -> str:
    """White space of any kind as single spaces, none at the ends."""
    return " ".join(text.split())


def fold(text: str) -> str:
    """A form for comparing: compatible characters made one (NFKC), no case, no invisible marks, single spaces."""
    unified = unicodedata.normalize("NFKC", text).casefold()
    if not unified.isascii():
        invisible = [character for character in set(unified) if unicodedata.category(character) == "Cf"]
        unified = unified.translate(dict.fromkeys(map(ord, invisible))) if invisible else unified
    return normalise_spaces(unified)


def shorten(text: str, limit: int, mark: str = "…") -> str:
    """The text on one line in at most `limit` characters, cut at a space where one is near, then marked."""
    flat = normalise_spaces(text[: 8 * limit + 64])
    if len(flat) <= limit:
        return flat
    cut = flat[: max(limit - len(mark), 0)]
    space = cut.rfind(" ")
    return (cut[:space] if space > limit // 2 else cut).rstrip() + mark[:limit]
