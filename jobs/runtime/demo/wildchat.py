"""Conversations in the parquet schema of WildChat-1M.

Shape only: who says what is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

MODEL = "demo-extractive"  # no language model wrote these replies, and every row says so
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
STAMP = pa.timestamp("us", tz="UTC")
CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "harassment_threatening",
    "hate",
    "hate/threatening",
    "hate_threatening",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "self_harm",
    "self_harm_instructions",
    "self_harm_intent",
    "sexual",
    "sexual/minors",
    "sexual_minors",
    "violence",
    "violence/graphic",
    "violence_graphic",
)
DETOXIFY = ("identity_attack", "insult", "obscene", "severe_toxicity", "sexual_explicit", "threat", "toxicity")
HEADER = pa.struct([("accept-language", pa.string()), ("user-agent", pa.string())])
TURN = pa.struct(
    [
        ("content", pa.string()),
        ("country", pa.string()),
        ("hashed_ip", pa.string()),
        ("header", HEADER),
        ("language", pa.string()),
        ("redacted", pa.bool_()),
        ("role", pa.string()),
        ("state", pa.string()),
        ("timestamp", STAMP),
        ("toxic", pa.bool_()),
        ("turn_identifier", pa.int64()),
    ]
)
MODERATION = pa.struct(
    [
        ("categories", pa.struct([(name, pa.bool_()) for name in CATEGORIES])),
        ("category_scores", pa.struct([(name, pa.float64()) for name in CATEGORIES])),
        ("flagged", pa.bool_()),
    ]
)
SCHEMA = pa.schema(
    [
        ("conversation_hash", pa.string()),
        ("model", pa.string()),
        ("timestamp", STAMP),
        ("conversation", pa.list_(TURN)),
        ("turn", pa.int64()),
        ("language", pa.string()),
        ("openai_moderation", pa.list_(MODERATION)),
        ("detoxify_moderation", pa.list_(pa.struct([(name, pa.float64()) for name in DETOXIFY]))),
        ("toxic", pa.bool_()),
        ("redacted", pa.bool_()),
        ("state", pa.string()),
        ("country", pa.string()),
        ("hashed_ip", pa.string()),
        ("header", HEADER),
    ]
)


@dataclass(frozen=True)
class Conversation:
    """Messages in turn, the user's first."""

    messages: tuple[str, ...]
    toxic: bool = False


def write_conversations(path: Path, conversations: Sequence[Conversation]) -> None:
    """One row per conversation."""
    rows = [conversation_row(number, conversation) for number, conversation in enumerate(conversations)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path, compression="zstd", row_group_size=100)


def conversation_row(number: int, conversation: Conversation) -> dict[str, Any]:
    """A row with an invented time and no person behind it."""
    messages = conversation.messages
    asked = FIRST_DAY + timedelta(minutes=7 * number)
    turns = [turn(number, place, content, asked) for place, content in enumerate(messages)]
    return {
        "conversation_hash": hashlib.md5("\x1f".join(messages).encode(), usedforsecurity=False).hexdigest(),
        "model": MODEL,
        "timestamp": asked + timedelta(minutes=1),
        "conversation": turns,
        "turn": (len(messages) + 1) // 2,
        "language": "English",
        "openai_moderation": [harmless() for _ in messages],
        "detoxify_moderation": [dict.fromkeys(DETOXIFY, 0.0) for _ in messages],
        "toxic": conversation.toxic,
        "redacted": False,
        "header": {},
    }


def turn(number: int, place: int, content: str, asked: datetime) -> dict[str, Any]:
    """A message of the user (even places, no time stamp, as in WildChat) or of the assistant."""
    said = place % 2 == 1
    return {
        "content": content,
        "header": {},
        "language": "English",
        "redacted": False,
        "role": "assistant" if said else "user",
        "timestamp": asked + timedelta(minutes=1) if said else None,
        "toxic": False,
        "turn_identifier": 1_000_000 + 100 * number + place,
    }


def harmless() -> dict[str, Any]:
    """A moderation verdict without findings."""
    return {
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, 0.0),
        "flagged": False,
    }
