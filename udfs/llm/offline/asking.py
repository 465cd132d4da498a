"""Parts a user message into the request and the text that was pasted with it.

It looks at shapes and signal words only; it never follows what the message asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from udfs.llm.offline.words import NO_SPACE

_WHOLE_CHARS = 700  # a message this short is all request
_REQUEST_CHARS = 1_500  # a block longer than this is pasted text, not a request
_EDGE_BLOCKS = 3  # how many blocks at either end may belong to the request
_MIN_SCORE = 2.0
_MIN_LAST_SCORE = 1.7  # the very last block needs fewer signs

_VERBS = (
    "summari[sz]e|write|explain|generate|create|translate|rewrite|re-write|rephrase|paraphrase|list|find|extract|"
    "identify|highlight|describe|analy[sz]e|compare|review|give|provide|tell|make|help|answer|fix|improve|check|"
    "change|convert|add|modify|implement|solve|read|use|act|imagine|consider|design|develop|build|propose|suggest|"
    "correct|edit|proofread|classify|evaluate|outline|draft|complete|continue|show|determine|calculate|discuss|"
    "refactor|optimi[sz]e|debug|count|select|choose|present|prepare|produce|turn|simplify|shorten|expand|format"
)
_IMPERATIVE = re.compile(
    rf"(?i)^\W{{0,4}}(?:please |kindly |now |then |can you |could you |i want you to )*(?:{_VERBS})\b"
)
_POLITE = re.compile(
    r"(?i)\bplease\b|\b(?:can|could|would|will) you\b|\bi (?:want|need|would like|'d like)\b|\bhelp me\b|"
    r"\byou(?:'re| are) (?:asked|tasked|given|a |an |required)|\byour task\b|"
    r"\bgiven the (?:above|points|text|following)|"
    r"пожалуйста|помоги|напиши|доработай|добавь|найди|请|帮我|写一|要求|por favor|s'il vous|bitte|hãy |tolong"
)
_QUESTION = re.compile(r"[?？]\s*$|[?？]\s")
_WH_START = re.compile(
    r"(?i)^\W{0,4}(?:who|what|when|where|which|why|how|is|are|does|do|did|can|could|should|has|have|was|were|"
    r"true or false|according to)\b"
)
_OPTIONS = re.compile(r"(?m)^\s*\(?[A-Da-d][.)]\s+\S")
_CODE_START = re.compile(
    r"(?m)(?<![\w.])(?:from [\w.]+ import\b|import [a-z_][\w.]*(?:$|\s+as\b|\s*[,;])|#include\s*<|def \w+\(|"
    r"public class\b|<!DOCTYPE|<html|package \w+;|using System|```)"
)
_CODE_LINE = re.compile(
    r"[;{}]\s*$|^\s*(?:def |class |import |from \S+ import|#include|return\b|</?\w+[^>]*>)|\w\(.*\)\s*:?\s*$"
)
_PERSON = re.compile(r"(?i)\b(?:i|i'm|my|me|you)\b")
_CLOSING_FENCE = re.compile(r"\n\s*(?:[-=*~]{3,}|`{3,}|</\w+>)\s*\Z")
_BLANK_LINES = re.compile(r"\n[ \t\r]*\n\s*")
_NUMBERED_REFERENCE = re.compile(r"(?im)^\s*\d+\.\s+Title:")
_CJK = re.compile(f"[{NO_SPACE}]")


@dataclass(frozen=True)
class Asking:
    """What the user wrote (`request`, may be empty) and what the user pasted (`pasted`, may be empty)."""

    request: str
    pasted: str


def part_message(message: str) -> Asking:
    """Part a user message. Both parts are stripped; a short message is all request."""
    message = message.strip()
    if len(message) <= _WHOLE_CHARS:
        return _part_before_code(message)
    blocks = [block for block in _BLANK_LINES.split(message) if block.strip()]
    if len(blocks) == 1:
        blocks = [line for line in message.splitlines() if line.strip()]
    if len(blocks) == 1:
        return _part_before_code(message)
    head = _head_length(blocks)
    closed = bool(_CLOSING_FENCE.search(message))  # the message ends with what was pasted
    tail = 0 if closed else _tail_length(blocks, bool(head))
    if tail == 0 and not closed:
        blocks, tail = _cut_last_lines(blocks)
    first = min(head, len(blocks) - tail)
    last = len(blocks) - tail
    request = "\n".join((*blocks[:first], *blocks[last:])).strip()
    pasted = "\n\n".join(blocks[first:last]).strip()
    return Asking(request, pasted) if request else _part_before_code(message)


def _part_before_code(message: str) -> Asking:
    """Part "change this code ... import x" where the code begins; without code all of it is one or the other."""
    found = _CODE_START.search(message)
    if found is not None:
        return Asking(message[: found.start()].strip(), message[found.start() :].strip())
    return Asking(message, "") if len(message) <= _WHOLE_CHARS else Asking("", message)


def _tail_length(blocks: list[str], asked_before: bool) -> int:
    """How many blocks at the end belong to the request: the last asking block, and what follows it.

    Where the message already opened with a request, the end must read like one beyond doubt.
    """
    least = _MIN_SCORE if asked_before else _MIN_LAST_SCORE
    for count in range(1, min(_EDGE_BLOCKS, len(blocks) - 1) + 1):
        block = blocks[-count]
        references = bool(_NUMBERED_REFERENCE.search(block))
        if len(block) > _REQUEST_CHARS and not references:
            break
        if _block_score(block[:_REQUEST_CHARS]) >= (_MIN_SCORE if count > 1 else least):
            question_before = count < len(blocks) - 1 and _starts_with_option(block) and len(blocks[-count - 1]) <= 600
            return count + question_before
        if count == 1 and not asked_before and len(block) <= 250 and _PERSON.search(block):
            return 1
        if not _OPTIONS.search(block) and not references:
            break
    return 0


def _cut_last_lines(blocks: list[str]) -> tuple[list[str], int]:
    """Cut a request off the end of the last block, where text or code runs into it without a blank line."""
    lines = blocks[-1].splitlines()
    for count in range(1, min(4, len(lines) - 1) + 1):
        ending = "\n".join(lines[-count:])
        if _CODE_LINE.search(lines[-count]) or len(ending) > 600:
            break
        if _block_score(ending) >= _MIN_SCORE:
            return [*blocks[:-1], "\n".join(lines[:-count]), ending], 1
    return blocks, 0


def _starts_with_option(block: str) -> bool:
    """Whether a block opens with "(A) ...": then the question stands in the block before it."""
    return bool(_OPTIONS.match(block))


def _head_length(blocks: list[str]) -> int:
    """How many blocks at the beginning belong to the request: only the first can."""
    block = blocks[0]
    return int(len(block) <= _REQUEST_CHARS and _block_score(block) >= _MIN_SCORE)


def _block_score(block: str) -> float:
    """How much a block reads like a request: signs of asking, less signs of code and of running text."""
    lines = [line for line in block.strip().splitlines() if line.strip()]
    code = sum(bool(_CODE_LINE.search(line)) for line in lines) / max(1, len(lines))
    options = bool(_OPTIONS.search(block))
    score = 0.0
    score += 2.5 * any(_IMPERATIVE.match(line) for line in lines[:4])
    score += 2.0 * bool(_POLITE.search(block))
    score += 1.5 * bool(_QUESTION.search(block))
    score += 1.0 * bool(_WH_START.match(block))
    score += 1.0 * options
    size = len(block) * (3 if _CJK.search(block) else 1)
    score += 0.7 * (size <= 250)
    score -= 3.0 * (code > 0.5)
    score -= 1.5 * (size > 900 and not options)
    return score
