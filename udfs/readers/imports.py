"""Makes samples out of records that were made elsewhere: explicit columns, LongAlpaca rows, LongAlign and other chats.

Where context and instruction stand in one text they are parted by a rule, and the row says by which (`split`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from udfs.language import normalise
from udfs.readers.conversations import PARQUET_LEAVES, Turn, identifier, turns_as_lists, turns_of
from udfs.readers.documents import LANGUAGE_KEYS, LICENCE_KEYS, Fields
from udfs.readers.formats import CONTEXT_COLUMNS, INSTRUCTION_COLUMNS, RESPONSE_COLUMNS, TURN_COLUMNS
from udfs.readers.records import bounded_meta, first_text, sha256, text_fault

__all__ = ["PARQUET_COLUMNS", "PARQUET_LEAVES", "Split", "import_fields", "part"]

TYPE_KEYS = ("document_type", "type")
PARQUET_COLUMNS = (
    *("id", "conversation_id", "source", *TYPE_KEYS, *LICENCE_KEYS, *LANGUAGE_KEYS),
    *(*CONTEXT_COLUMNS, *INSTRUCTION_COLUMNS, *RESPONSE_COLUMNS),
)
# How LongAlpaca ends what it pastes: "Now the paper ends.", "Now the second paper ends.", "Now the material ends."
CLOSING_MARK = re.compile(r"\bNow the [\w ]{1,40} ends\.")
BLANK_LINE = re.compile(r"\n[ \t\r]*\n")
LONGEST_INSTRUCTION = 4_000  # characters; a longer block is no request


class Split(NamedTuple):
    """A user's text in two, and the rule that parted it."""

    context: str
    instruction: str
    rule: str  # given, closing_mark, last_block, first_block


def import_fields(record: Mapping[str, Any]) -> Fields | str:
    """The columns of a good sample, or a reason code.

    Reasons: bad_turns, not_single_turn, no_response, no_instruction, no_context (nothing to part), nul_bytes, not_utf8.
    """
    turns = said(record)
    if isinstance(turns, str):
        return turns
    for turn in turns:
        reason = text_fault(turn.content) or text_fault(turn.role)
        if reason:
            return reason
    found = given(record) or part(next(turn.content for turn in turns if turn.role == "user"))
    if found is None:
        return "no_context"
    if text_fault(found.context):
        return "nul_bytes" if "\0" in found.context else "not_utf8"
    response = turns[-1].content
    language = first_text(*(record.get(key) for key in LANGUAGE_KEYS))
    return {
        "content_hash": sha256(orjson.dumps([found.context, found.instruction, turns_as_lists(turns)])),
        "record_id": identifier(record),
        "context": found.context,
        "instruction": found.instruction,
        "response": response,
        "messages": turns,
        "split": found.rule,
        "document_type": first_text(*(record.get(key) for key in TYPE_KEYS)),
        "language": normalise(language) if language else None,
        "source": first_text(record.get("source")),
        "licence": first_text(*(record.get(key) for key in LICENCE_KEYS)),
        "meta": bounded_meta({"length": record.get("length"), "file": first_text(record.get("file"))}),
    }


def said(record: Mapping[str, Any]) -> list[Turn] | str:
    """The sample as a chat of one user turn and its reply (a system turn may come first), or a reason code."""
    if not any(record.get(name) is not None for name in TURN_COLUMNS):
        return asked_and_answered(record)
    turns = turns_of(record)
    if not turns:
        return "bad_turns"
    roles = [turn.role for turn in turns if turn.role != "system"]
    if roles.count("user") != 1 or roles[0] != "user" or len(roles) > 2:
        return "not_single_turn"
    if len(roles) < 2 or not turns[-1].content.strip():
        return "no_response"
    return turns if turns[-1].role == "assistant" else "bad_turns"


def asked_and_answered(record: Mapping[str, Any]) -> list[Turn] | str:
    """Explicit columns as a chat."""
    instruction, response = text_of(record, INSTRUCTION_COLUMNS), text_of(record, RESPONSE_COLUMNS)
    if instruction is None:
        return "no_instruction"
    if response is None:
        return "no_response"
    context = text_of(record, CONTEXT_COLUMNS)
    asked = instruction if context is None else f"{context}\n\n{instruction}"
    return [Turn("user", asked), Turn("assistant", response)]


def given(record: Mapping[str, Any]) -> Split | None:
    """Context and instruction from columns of their own."""
    context, instruction = text_of(record, CONTEXT_COLUMNS), text_of(record, INSTRUCTION_COLUMNS)
    if context is None or instruction is None:
        return None
    return Split(context, instruction, "given")


def part(text: str) -> Split | None:
    """A user's text parted by the first rule that fits; None when it has no two parts.

    closing_mark: LongAlpaca's own words end the context. last_block: the instruction is what follows the last blank
    line (GATEAU's rule). first_block: the last block is too long for a request, and the first one is not.
    """
    marks = list(CLOSING_MARK.finditer(text))
    if marks:
        context, instruction = text[: marks[-1].end()].strip(), text[marks[-1].end() :].strip()
        if context and instruction:
            return Split(context, instruction, "closing_mark")
    whole = text.strip()
    gaps = list(BLANK_LINE.finditer(whole))
    if not gaps:
        return None
    last = whole[gaps[-1].end() :].strip()
    if len(last) <= LONGEST_INSTRUCTION:
        return Split(whole[: gaps[-1].start()], last, "last_block")
    first = whole[: gaps[0].start()].strip()
    return Split(whole[gaps[0].end() :], first, "first_block") if len(first) <= LONGEST_INSTRUCTION else None


def text_of(record: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of these columns that holds a text."""
    return next((v for name in names if isinstance(v := record.get(name), str) and v.strip()), None)
