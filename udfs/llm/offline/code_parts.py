"""Finds the functions and classes of a source file with what their comments say.

It reads lines by a few patterns common to many languages; it parses and runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from udfs.text import sentences

_DEFINITION = re.compile(
    r"^[ \t]*(?P<line>(?:(?:async )?def|class) +(?P<python>\w+)[^\n]*|"
    r"(?:export +)?(?:default +)?(?:async +)?function\*? +(?P<script>\w+)[^\n]*|"
    r"(?:pub(?:\([a-z]+\))? +)?(?:async +)?fn +(?P<rust>\w+)[^\n]*|func +(?:\([^)]*\) *)?(?P<go>\w+)\([^\n]*|"
    r"(?:(?:public|private|protected|static|final|abstract|virtual|override|inline|async|const|unsigned) +)+"
    r"[\w<>\[\],.*&: ]*?(?P<typed>\w+) *\([^;\n]*\)[^;\n]*|"
    r"(?:public |private |internal |export |abstract |final )*"
    r"(?:class|interface|struct|enum|trait) +(?P<type>\w+)[^\n]*|"
    r"(?:void|int|bool|float|double|char|size_t|auto|string) +\*?(?P<plain>\w+) *\([^;\n]*\) *\{?)[ \t]*$",
    re.MULTILINE,
)
_DOCSTRING = re.compile(r"\s*(?:[rRuU]?\"\"\"|''')\s*")
_COMMENT_ABOVE = re.compile(
    r"(?:(?:^[ \t]*(?://+!?|#+|\*+(?!/)|/\*+!?|--)[^\n]*\n)+(?:[ \t]*\*+/[ \t]*\n)?)\Z", re.MULTILINE
)
_COMMENT_MARK = re.compile(r"(?m)^[ \t]*(?://+!?|#+|\*+/?|/\*+!?|--)[ \t]?")
_MIN_CHARS = 20
_MAX_SIGNATURE = 160
_MAX_COMMENT = 300


@dataclass(frozen=True)
class CodePart:
    """A definition: its name, `code[start:end]` is its first line, `comment` what is said of it (may be empty).

    `comment_span` are the offsets of the comment's first sentence, where it stands on one line.
    """

    name: str
    start: int
    end: int
    comment: str
    comment_span: tuple[int, int] | None


def code_parts(code: str) -> list[CodePart]:
    """Definitions in order, each name once; commented ones and uncommented ones alike."""
    found: dict[str, CodePart] = {}
    for match in _DEFINITION.finditer(code):
        name = next(group for key, group in match.groupdict().items() if key != "line" and group)
        start, end = match.span("line")
        end = min(start + len(code[start:end].rstrip()), start + _MAX_SIGNATURE)
        if name in found or end - start < _MIN_CHARS or name in {"if", "for", "while", "switch", "return"}:
            continue
        span = _docstring(code, match.end()) or _comment_above(code, match.start())
        text = " ".join(code[span[0] : span[1]].split()) if span else ""
        found[name] = CodePart(name, start, end, _COMMENT_MARK.sub("", text), span)
    return list(found.values())


def _docstring(code: str, after: int) -> tuple[int, int] | None:
    """Span of the first sentence of a docstring that follows a definition."""
    opening = _DOCSTRING.match(code, after)
    return _first_sentence(code, opening.end(), code[opening.end() : opening.end() + _MAX_COMMENT]) if opening else None


def _comment_above(code: str, before: int) -> tuple[int, int] | None:
    """Span of the first sentence of a comment that stands right above a definition."""
    begin = max(0, before - 1_500)
    block = _COMMENT_ABOVE.search(code[begin:before])
    if block is None:
        return None
    for line in re.finditer(r"[^\n]+", block.group()):
        mark = _COMMENT_MARK.match(line.group())
        skip = mark.end() if mark else 0
        start = begin + block.start() + line.start() + skip
        if len(line.group()) - skip >= _MIN_CHARS:
            return _first_sentence(code, start, line.group()[skip:])
    return None


def _first_sentence(code: str, start: int, text: str) -> tuple[int, int] | None:
    """Span of the first sentence in `text`, which stands at `start`; None when it is too short."""
    text = re.split(r"\"\"\"|'''|\n\s*\n|\*/", text, maxsplit=1)[0]
    spans = sentences(text)
    if not spans or spans[0][1] - spans[0][0] < _MIN_CHARS:
        return None
    return start + spans[0][0], start + spans[0][1]
