"""Tells the format of an input from its extension, and of a parquet file also from its columns.

Zero-byte and torn files get the format of their name: what is inside is the reader's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.readers.errors import FileFault, UnreadableInput
from udfs.readers.streams import open_bytes

Kind = Literal["conversations", "documents", "imports"]
KINDS: tuple[Kind, ...] = ("conversations", "documents", "imports")

# The longest ending wins; ".json" holds one array or one object per line, told by its first character.
EXTENSIONS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".txt": "text",
    ".md": "text",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson.gz": "jsonl.gz",
    ".json.gz": "json.gz",
    ".jsonl.zst": "jsonl.zst",
    ".ndjson.zst": "jsonl.zst",
    ".json.zst": "json.zst",
}
FORMATS = frozenset(EXTENSIONS.values())

TURN_COLUMNS = ("conversation", "conversations", "messages")
ROLE_KEYS = ("role", "from")
CONTENT_KEYS = ("content", "value")
# What a sample made elsewhere may call its parts.
CONTEXT_COLUMNS = ("context", "input")
INSTRUCTION_COLUMNS = ("instruction", "question")
RESPONSE_COLUMNS = ("response", "output", "answer")
CONVERSATION_SHAPES = (
    "WildChat: conversation_hash, conversation list<struct<role, content, …>>, model, language, toxic, redacted",
    "original WildChat: conversation_id, conversation list<struct<role, content, …>>, model, language",
    "LMSYS-Chat: conversation_id, conversation list<struct<role, content>>, model, language",
    "ShareGPT: id, conversations list<struct<from, value>>",
    "messages: id, messages list<struct<role, content>>",
)
DOCUMENT_SHAPES = ("text string, and optionally meta (struct or JSON string), source, licence, language",)
IMPORT_SHAPES = (
    "columns: context (or input), instruction (or question), response (or output, answer), all strings",
    "LongAlpaca: instruction string, output string",
    "LongAlign: id, messages list<struct<role, content>>",
    *CONVERSATION_SHAPES[3:],
)
SHAPES = {"conversations": CONVERSATION_SHAPES, "documents": DOCUMENT_SHAPES, "imports": IMPORT_SHAPES}


def format_of(path: str, kind: str) -> str | None:
    """The format a file's name promises, or None when nothing of this kind is called so."""
    name = path.rstrip("/").rsplit("/", 1)[-1].lower()
    endings = [ending for ending in EXTENSIONS if name.endswith(ending)]
    if not endings:
        return None
    found = EXTENSIONS[max(endings, key=len)]
    return None if found == "text" and kind != "documents" else found


def detect_format(path: str, kind: str) -> str:
    """The format name that the readers are given with a file.

    Raises UnreadableInput for an unknown extension and for a parquet file whose columns fit no known shape.
    """
    found = format_of(path, kind)
    if found is None:
        raise UnreadableInput(path, "a file of an unknown kind", f"{kind} as {known_endings(kind)}")
    if found == "parquet":
        require_known_columns(path, kind)
    return found


def known_endings(kind: str) -> str:
    """The endings a user may give, for messages."""
    endings = [ending for ending in EXTENSIONS if format_of("x" + ending, kind)]
    return ", ".join(sorted(endings))


def require_known_columns(path: str, kind: str) -> None:
    """Raise UnreadableInput naming the columns when a parquet file has none of the known shapes."""
    try:
        with open_bytes(path) as handle:
            schema = pq.ParquetFile(handle).schema_arrow
    except (FileFault, OSError, pa.ArrowException):
        return  # torn, empty or gone: a row of the file, not a fault of the settings
    if not fits(schema, kind):
        raise UnreadableInput(path, f"columns {describe(schema)}", " | ".join(SHAPES[kind]))


def fits(schema: pa.Schema, kind: str) -> bool:
    """Whether the columns hold what a record of this kind needs."""
    columns = {field.name: field.type for field in schema}  # a name can stand twice
    if kind == "documents":
        return "text" in columns and is_text(columns["text"])
    if any(has_turns(columns[name]) for name in TURN_COLUMNS if name in columns):
        return True
    texts = {name for name, column in columns.items() if is_text(column)}
    return kind == "imports" and bool(texts & set(INSTRUCTION_COLUMNS)) and bool(texts & set(RESPONSE_COLUMNS))


def has_turns(column: pa.DataType) -> bool:
    """list<struct<role|from string, content|value string, …>>."""
    if not (pa.types.is_list(column) or pa.types.is_large_list(column)):
        return False
    turn = column.value_type
    return bool(pa.types.is_struct(turn)) and has_text(turn, ROLE_KEYS) and has_text(turn, CONTENT_KEYS)


def has_text(struct: pa.StructType, names: Sequence[str]) -> bool:
    indexes = (struct.get_field_index(name) for name in names)
    return any(index >= 0 and is_text(struct.field(index).type) for index in indexes)


def is_text(column: pa.DataType) -> bool:
    """String in any of Arrow's layouts, dictionary-encoded or not."""
    if pa.types.is_dictionary(column):
        column = column.value_type
    return bool(pa.types.is_string(column) or pa.types.is_large_string(column) or pa.types.is_string_view(column))


def describe(schema: pa.Schema, limit: int = 60) -> str:
    """Column names with their types, each cut to `limit` characters."""
    return ", ".join(f"{field.name} {str(field.type)[:limit]}" for field in schema) or "none"
