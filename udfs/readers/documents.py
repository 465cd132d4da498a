"""Makes document rows from records with a `text`: SlimPajama, Dolma, FineWeb, plain files.

It carries source, licence and language where a record states them and guesses none of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from udfs.language import normalise
from udfs.readers.records import bounded_meta, first_text, sha256, text_fault

META_KEYS = ("meta", "metadata")
LICENCE_KEYS = ("licence", "license")
LANGUAGE_KEYS = ("language", "lang")
# What is read from a parquet file; other columns of a corpus (vectors, dumps) can be larger than its text.
PARQUET_COLUMNS = (
    *("text", *META_KEYS, *LICENCE_KEYS, *LANGUAGE_KEYS),
    *("source", "id", "url", "title", "timestamp", "date", "dump", "subset"),
)

Fields = dict[str, Any]


def document_fields(record: Mapping[str, Any]) -> Fields | str:
    """The columns of a good document, or a reason code: no_text, nul_bytes, not_utf8."""
    text = record.get("text")
    if not isinstance(text, str) or not text or text.isspace():
        return "no_text"
    reason = text_fault(text)
    if reason:
        return reason
    meta = merged_meta(record)
    language = first_text(*(meta.get(key) for key in LANGUAGE_KEYS))
    return {
        "content_hash": sha256(text.encode("utf-8")),
        "text": text,
        "source": first_text(meta.get("redpajama_set_name"), meta.get("source")),
        "licence": first_text(*(meta.get(key) for key in LICENCE_KEYS)),
        "language": normalise(language) if language else None,
        "meta": bounded_meta(meta),
    }


def merged_meta(record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything a record says beside its text, flat; the meta object wins over top-level fields."""
    merged = {key: value for key, value in record.items() if key != "text" and key not in META_KEYS}
    for key in META_KEYS:
        inner = record.get(key)
        if isinstance(inner, str):
            inner = from_json_string(inner)
        if isinstance(inner, Mapping):
            merged.update(inner)
        elif inner is not None:
            merged[key] = inner
    return merged


def from_json_string(value: str) -> Any:
    """Some releases store meta as a string of JSON; anything else stays what it is."""
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
