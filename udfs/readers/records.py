"""Decodes the bytes of one record, or says with a short code why it cannot.

It knows JSON and text encodings; what a record must contain is the business of its kind.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

MAX_META_BYTES = 64 * 1024  # beyond it a record's meta is replaced by its size
DUMP_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS


class Decoded(NamedTuple):
    """A record, or the reason why there is none."""

    record: dict[str, Any] | None
    reason: str | None = None
    detail: str = ""


def decode_json(raw: bytes) -> Decoded:
    """One JSON object. Reasons: not_utf8, nul_bytes, bad_json, not_an_object."""
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return second_look(raw, str(error))
    return as_object(value)


def second_look(raw: bytes, complaint: str) -> Decoded:
    """Why the strict parser refused; NaN and Infinity, which pandas writes, are read as null."""
    if b"\0" in raw:
        return Decoded(None, "nul_bytes", "zero bytes between the characters")
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=lambda _: None)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        return Decoded(None, "not_utf8", f"byte {error.start} is not UTF-8")
    except UnicodeEncodeError:
        return Decoded(None, "not_utf8", "a lone surrogate, half of a character")
    except (ValueError, RecursionError):
        return Decoded(None, "bad_json", complaint[:200])
    return as_object(value)


def as_object(value: Any) -> Decoded:
    if not isinstance(value, dict):
        return Decoded(None, "not_an_object", f"JSON, but {type(value).__name__}")
    return Decoded(value)


def decode_text(raw: bytes) -> Decoded:
    """A whole text file as a record of one field, `text`. Reasons: not_utf8, nul_bytes."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Decoded(None, "not_utf8", f"byte {error.start} is not UTF-8")
    return Decoded({"text": text})


def text_fault(text: str) -> str | None:
    """Why this string cannot be stored as text: not_utf8 (lone surrogates) or nul_bytes."""
    if "\0" in text:
        return "nul_bytes"
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return "not_utf8"
    return None


def sha256(data: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(data).hexdigest()


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys, whatever types a parquet reader gave."""
    try:
        return orjson.dumps(value, default=str, option=DUMP_OPTIONS).decode()
    except orjson.JSONEncodeError:  # numbers over 64 bits, many levels
        pass
    try:
        return json.dumps(plain(value), sort_keys=True, separators=(",", ":"))
    except RecursionError:
        return '{"unreadable":"nested too deeply"}'


def plain(value: Any) -> Any:
    """Only what the standard library's JSON takes."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | bool | int) else str(value)


def bounded_meta(meta: Mapping[str, Any]) -> str | None:
    """Meta as JSON, or a note of its size when it is larger than text about a text should be; None if empty."""
    kept = {key: value for key, value in meta.items() if value is not None}
    if not kept:
        return None
    encoded = canonical_json(kept)
    if len(encoded) > MAX_META_BYTES:
        return canonical_json({"meta_characters": len(encoded)})
    return encoded


def first_text(*candidates: Any) -> str | None:
    """The first candidate that is a string with something in it, without zero bytes."""
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.strip() and text_fault(candidate) is None:
            return candidate
    return None
