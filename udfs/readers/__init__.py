"""Turns files of many shapes into source rows: what a user may name, and what executors do with it.

It knows formats and refuses to know filters: every record of every file comes out once, good or with a reason.
"""

from __future__ import annotations

from udfs.readers.errors import FileFault, InputFault, InputFaults, UnreadableInput
from udfs.readers.formats import FORMATS, KINDS, detect_format, format_of
from udfs.readers.listing import InputFile, hash_file, list_inputs
from udfs.readers.reading import SourceFile, read_file, read_files
from udfs.readers.schemas import (
    CONVERSATION_FIELDS,
    CONVERSATION_SCHEMA,
    DOCUMENT_FIELDS,
    DOCUMENT_SCHEMA,
    IMPORT_FIELDS,
    SCHEMAS,
)

__all__ = [
    "CONVERSATION_FIELDS",
    "CONVERSATION_SCHEMA",
    "DOCUMENT_FIELDS",
    "DOCUMENT_SCHEMA",
    "FORMATS",
    "IMPORT_FIELDS",
    "KINDS",
    "SCHEMAS",
    "FileFault",
    "InputFault",
    "InputFaults",
    "InputFile",
    "SourceFile",
    "UnreadableInput",
    "detect_format",
    "format_of",
    "hash_file",
    "list_inputs",
    "read_file",
    "read_files",
]
