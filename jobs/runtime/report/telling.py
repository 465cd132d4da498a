"""Says in a paragraph and eight numbers what a dataset is, from the answers to questions alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

OFFLINE = "offline"


def told(figures: Mapping[str, Any], shown: int, stale: Sequence[str] = ()) -> dict[str, Any]:
    """Title, paragraph, warnings and numbers; `shown` rows stand in the browser, and of `stale` tables is warned."""
    facts = records(figures, "overview")
    about = facts[0] if facts else {}
    rows = about.get("n_rows") or 0
    answered = about.get("answered") or 0
    return {
        "title": f"{_count(rows, 'training row')} for long contexts" if rows else "No training row yet",
        "paragraph": _paragraph(about, figures) if rows else _unfinished(about),
        "warnings": [*_warnings(about), *(f"The table {sentence}." for sentence in stale)],
        "numbers": _numbers(about, figures) if rows else [],
        "grounded": about.get("grounded_share"),
        "browsed": "" if shown >= answered else f"; a fixed sample by hash of the {answered:,} there are",
    }


def records(figures: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """An answer as records; empty where there is none."""
    found = figures.get(name)
    return [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]] if found else []


def _paragraph(about: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    lengths = [one for one in records(figures, "length_summary") if one["part"] == "whole row"]
    settings = ", ".join(f"{one['n_rows']:,} {one['setting']}" for one in reversed(lengths))
    refused = about["answered"] - about["accepted"]
    over = about["accepted"] - about["n_rows"]
    origin = (
        f"answered from {about['documents_used']:,} of {_count(about['documents'], 'document')} after requests of the "
        f"kind found in {_count(about['conversations'], 'conversation')}"
        if about["documents"]
        else "made elsewhere and read in"
    )
    sentences = [
        f"{_count(about['n_rows'], 'row')} ({settings}) of {_count(about['types'], 'document type')} in "
        f"{_count(about['languages'], 'language')}, {origin}.",
        f"Half of the rows are longer than {about['median_tokens']:,} tokens; together they hold {about['tokens']:,}.",
        f"Of {_count(about['answered'], 'answer')} {refused:,} were turned away by the gates"
        + (f" and {over:,} accepted without being selected." if over else "."),
        f"{_percent(about['grounded_share'])} of the answers' sentences rest on located evidence, "
        f"{about['evidence_spans']:.1f} spans a row."
        if about["grounded_share"] is not None
        else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _unfinished(about: Mapping[str, Any]) -> str:
    if not about:
        return "This root cannot be told about yet."
    return (
        f"The root holds {_count(about['conversations'], 'conversation')} and "
        f"{_count(about['documents'], 'document')}; {_count(about['answered'], 'answer')} were written and "
        f"{about['accepted']:,} accepted, and none is in a training set yet. Run jobs/synthesize.py to its end."
    )


def _warnings(about: Mapping[str, Any]) -> list[str]:
    if OFFLINE not in str(about.get("teachers", "")).split(", "):
        return []
    return [
        "Rows of the teacher “offline” were put together by text statistics, for a first look. They are not "
        "training-grade, and their figures say how the pipeline works, not how good a dataset is."
    ]


def _numbers(about: Mapping[str, Any], figures: Mapping[str, Any]) -> list[dict[str, str]]:
    distances = [one["selected_distance"] for one in records(figures, "type_distance")]
    known = [distance for distance in distances if distance is not None]
    spans = records(figures, "evidence_positions")
    late = sum(one["spans"] for one in spans if one["decile"] > 5)
    share = late / sum(one["spans"] for one in spans) if spans else None
    pairs = [
        (f"{about['n_rows']:,}", "training rows"),
        (f"{about['tokens']:,}", "tokens in them"),
        (f"{about['median_tokens']:,}", "tokens in the median row"),
        (_percent(about["accepted"] / about["answered"]), "of the answers were accepted"),
        (f"{max(known):.3f}" if known else "–", "distance of the type mix from its source, at most (0 to 1)"),
        (_percent(about["grounded_share"]), "of answer sentences rest on evidence"),
        (_percent(share), "of the evidence lies in the second half of its document"),
        (f"{about['calls'] / about['accepted']:.1f}", "calls to the teacher per accepted row"),
    ]
    return [{"value": value, "label": label} for value, label in pairs]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}".replace("%", " %")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
