"""Why a row is here, beyond what it was made from: the prompt that was asked, the gates it passed, its place.

Prompts are not stored: they are rendered again from the same rows, and shown only if their text is still the same.
"""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import functions as F

from jobs.runtime.ancestry import Found
from jobs.runtime.stage import Stage, keywords, positional
from jobs.runtime.tables import Tables
from udfs.llm.requests import prompt_sha, render


def prompt_of(tables: Tables, stage: Stage, found: Found, sha: str | None) -> list[dict[str, str]] | None:
    """The messages behind a row that a teacher wrote, as [{role, content}].

    None where the stage asks nobody or needs settings to ask, where a row behind it is gone, and where the prompt has
    changed since (`sha` is that of the call).
    """
    if stage.ask is None or stage.task is None or keywords(stage.ask) or prompt_sha(stage.task) != sha:
        return None
    frames = {name: tables.kept(name) for name in positional(stage.ask)}
    asked = stage.ask(**frames).where(F.col("input_id") == found.row["parent_ids"][0]).select("variables").head()
    if asked is None:
        return None
    messages = render(stage.task, json.loads(asked["variables"])).messages
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def gates(found: Found, made_from: dict[str, Any]) -> list[str]:
    """What a finished sample had to pass, with the figures it had, as sentences; `made_from` is its recipe in full."""
    limits = made_from.get("evidence")
    row = found.row
    if found.table != "samples" or row.get("reject_reason") or not limits or row.get("grounded_share") is None:
        return []
    spans = row.get("evidence") or []
    exact = sum(bool(span["exact"]) for span in spans)
    told = [
        f"evidence: {len(spans)} spans located, {exact} of them letter for letter (at least 1)",
        f"grounded: {row['grounded_share']:.2f} of the sentences (at least {limits['min_grounded_share']})",
    ]
    shares = [part["share"] for part in row.get("document_shares") or []]
    if len(shares) > 1:
        told.append(
            f"both documents: the lesser holds {min(shares):.2f} of the evidence (at least "
            f"{limits['min_document_share']})"
        )
    return told


def made_from(tables: Tables, found: Found) -> dict[str, Any]:
    """The recipe that made a row, in full; empty where no execution tells."""
    if not tables.exists("stage_runs"):
        return {}
    runs = tables.read("stage_runs").where((F.col("stage") == found.table) & (F.col("recipe") == found.row["recipe"]))
    row = runs.orderBy(F.desc("sequence")).select("made_from").head()
    return dict(json.loads(row["made_from"])) if row is not None else {}
