"""Splits rows into train and test by their source documents, so that no document stands on both sides.

Rows that share a document, directly or over other rows, stay together. A document is whatever names it: an id, or the
hash of a text. Plain data; which rows there are was decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

TRAIN, TEST = "train", "test"


def split_by_document(rows: Iterable[tuple[str, Sequence[str]]], test_share: float) -> dict[str, str]:
    """Row id → split, for rows (id, ids of its documents). At most `test_share` of the rows are in test.

    Groups of rows are taken for test in the order of a hash of their smallest row id, each that still fits: the same
    rows give the same splits in any order.
    """
    groups = _groups(dict(rows))
    room = int(test_share * sum(map(len, groups)) + 1e-9)
    splits: dict[str, str] = {}
    for group in sorted(groups, key=lambda group: hashlib.sha256(group[0].encode()).digest()):
        taken = len(group) <= room
        room -= len(group) if taken else 0
        splits |= dict.fromkeys(group, TEST if taken else TRAIN)
    return splits


def _groups(rows: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Row ids in sorted groups: those that share a document, or are joined by rows that do (union by documents)."""
    parent: dict[str, str] = {}

    def root(document: str) -> str:
        while parent.setdefault(document, document) != document:
            parent[document] = parent[parent[document]]
            document = parent[document]
        return document

    for documents in rows.values():
        for other in documents[1:]:
            parent[root(other)] = root(documents[0])
    held: dict[str, list[str]] = {}
    for row in sorted(rows):
        documents = rows[row]
        held.setdefault(root(documents[0]) if documents else f"\0{row}", []).append(row)
    return list(held.values())
