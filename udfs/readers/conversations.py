"""Makes conversation rows from WildChat, original WildChat, LMSYS-Chat, ShareGPT and `messages` records.

Whether a conversation is long, single-turn, answered or clean is decided by the filters, not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from udfs.language import normalise
from udfs.readers.documents import LANGUAGE_KEYS, LICENCE_KEYS, Fields
from udfs.readers.formats import CONTENT_KEYS, ROLE_KEYS, TURN_COLUMNS
from udfs.readers.records import bounded_meta, first_text, sha256, text_fault

ID_KEYS = ("conversation_hash", "conversation_id", "id")
# Turn fields are read by leaf, so that addresses and headers of WildChat's users never leave the file.
PARQUET_COLUMNS = (
    *(*ID_KEYS, "model", "timestamp", "turn", "toxic", "redacted", "source"),
    *LICENCE_KEYS,
    *LANGUAGE_KEYS,
)
PARQUET_LEAVES = (
    *((column, leaf) for column in TURN_COLUMNS for leaf in (*ROLE_KEYS, *CONTENT_KEYS)),
    ("openai_moderation", "flagged"),
)
ROLES = {
    "human": "user",
    "user": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "assistant": "assistant",
}


class Turn(NamedTuple):
    """One message; an absent content is the empty string."""

    role: str
    content: str


def conversation_fields(record: Mapping[str, Any]) -> Fields | str:
    """The columns of a good conversation, or a reason code: bad_turns, no_text, nul_bytes, not_utf8."""
    turns = turns_of(record)
    if not turns:
        return "bad_turns"
    for turn in turns:
        reason = text_fault(turn.content) or text_fault(turn.role)
        if reason:
            return reason
    if not any(turn.content.strip() for turn in turns):
        return "no_text"
    language = first_text(*(record.get(key) for key in LANGUAGE_KEYS))
    return {
        "content_hash": sha256(orjson.dumps(turns_as_lists(turns))),
        "conversation_id": identifier(record),
        "turns": turns,
        "user_text": said_by("user", turns),
        "assistant_text": said_by("assistant", turns),
        "n_turns": exchanges(turns),
        "model": first_text(record.get("model")),
        "language": normalise(language) if language else None,
        "toxic": toxic(record),
        "redacted": record["redacted"] if isinstance(record.get("redacted"), bool) else None,
        "source": first_text(record.get("source")),
        "licence": first_text(*(record.get(key) for key in LICENCE_KEYS)),
        "meta": bounded_meta({"shape": shape_of(record), "timestamp": moment(record.get("timestamp"))}),
    }


def turns_of(record: Mapping[str, Any]) -> list[Turn] | None:
    """The turns with roles in our words, or None when they are not turns."""
    given = [record[name] for name in TURN_COLUMNS if record.get(name) is not None]
    items = next(filter(None, given), None)  # of several, the one that is not empty
    if not isinstance(items, list):
        return None
    turns: list[Turn] = []
    for item in items:
        turn = turn_of(item) if isinstance(item, Mapping) else None
        if turn is None:
            return None
        turns.append(turn)
    return turns


def turn_of(item: Mapping[str, Any]) -> Turn | None:
    """A turn whose content key is present; null content means that nothing was said.

    Tables that were joined from several releases have the keys of all, those of the others null or empty.
    """
    role = next((item[key] for key in ROLE_KEYS if item.get(key)), None)
    contents = [item[key] for key in CONTENT_KEYS if key in item]
    if not isinstance(role, str) or not role.strip() or not contents:
        return None
    content = next((content for content in contents if content not in (None, "")), "")
    if not isinstance(content, str):
        return None
    name = role.strip().lower()
    return Turn(ROLES.get(name, name), content)


def turns_as_lists(turns: list[Turn]) -> list[list[str]]:
    """What the content hash is taken over: [[role, content], …]."""
    return [[turn.role, turn.content] for turn in turns]


def said_by(role: str, turns: list[Turn]) -> str:
    """All a role said, turns parted by a blank line."""
    return "\n\n".join(turn.content for turn in turns if turn.role == role)


def exchanges(turns: list[Turn]) -> int:
    """How many turns of the user there are, and one more where the assistant speaks first.

    Releases cut long conversations into pieces; what opens with an answer is the rest of something.
    """
    roles = [turn.role for turn in turns if turn.role in ("user", "assistant")]
    return roles.count("user") + (roles[:1] == ["assistant"])


def identifier(record: Mapping[str, Any]) -> str | None:
    """The release's own id, as text."""
    for key in ID_KEYS:
        value = record.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if found := first_text(value):
            return found
    return None


def toxic(record: Mapping[str, Any]) -> bool | None:
    """WildChat's own verdict, else whether any turn was flagged by moderation, else unknown."""
    if isinstance(record.get("toxic"), bool):
        return bool(record["toxic"])
    moderation = record.get("openai_moderation")
    if not isinstance(moderation, list):
        return None
    flags = [item.get("flagged") for item in moderation if isinstance(item, Mapping)]
    known = [flag for flag in flags if isinstance(flag, bool)]
    return any(known) if known else None


def shape_of(record: Mapping[str, Any]) -> str:
    """Which release the record is shaped like."""
    if "conversation_hash" in record:
        return "wildchat"
    if "conversation" in record:
        return "lmsys-chat" if "openai_moderation" in record or "redacted" in record else "wildchat-original"
    return "sharegpt" if "conversations" in record else "messages"


def moment(value: Any) -> str | None:
    """A timestamp as text: ISO 8601 from parquet, as written in JSON."""
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, int | float) else first_text(value)
