"""Everything that the report shows, as plain data: each figure is a question's answer, nothing is counted here.

Which rows are shown of a large root is decided here and stated in what is returned.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

import sql
from jobs.runtime.analysis import Analyst, why_not
from jobs.runtime.errors import SettingsFault
from jobs.runtime.history import History
from jobs.runtime.report.excerpts import excerpts
from jobs.runtime.report.telling import told
from jobs.runtime.tables import Tables
from jobs.runtime.tombstones import stale_tables
from sql.questions import questions
from udfs.llm.requests import prompt_sha, render

NOT_SHOWN = frozenset({"drift", "instruction_forms"})  # the one compares two states, the other has a line a row
SCORES = {"score": "double", "hmp": "double", "cas": "double", "rank": "bigint", "selected_because": "string"}
OPTIONAL = {"answerable_with": "boolean", "answerable_without": "boolean", "answerable_why": "string", "draw": "int"}
SELECTED, OTHERS, EDGES = 200, 50, 20  # rows of the browser: by hash of each status, and best and worst by score
CONVERSATION = 4_000  # characters of a source conversation's turn
GRAPH_NODES = 46  # values that can still be told apart in a picture
POINTS = 3_000  # scored rows of the scatter
AT_ONCE = 4  # questions
SETTINGS = ("single", "multi")
T = TypeVar("T")


def gather(tables: Tables, analyst: Analyst) -> dict[str, Any]:
    """The data of the report. `analyst` asks the same tables."""
    figures, missing = answers(analyst, [name for name in questions() if name not in NOT_SHOWN])
    rows = _unless_old(missing, "rows", partial(_rows, tables)) or []
    return {
        "root": tables.storage.schema_name or tables.state,
        "version": tables.version("training_set"),
        "figures": figures,
        "missing": missing,
        "unwritten": list(dict.fromkeys(analyst.unwritten)),
        "summary": told(figures, len(rows), list(stale_tables(tables, History(tables)))),
        "rows": rows,
        "points": _unless_old(missing, "points", partial(_points, tables)) or [],
        "prompts": {setting: _prompt(setting) for setting in SETTINGS},
        "prompt_sha": prompt_sha("answer"),
        "graph": _unless_old(missing, "graph", partial(_graph, tables, rows)),
    }


def _unless_old(missing: dict[str, str], part: str, make: Callable[[], T]) -> T | None:
    """A part of the report; where a table lacks a column for it, being older, `missing` says why there is none."""
    try:
        return make()
    except AnalysisException as error:
        missing[part] = why_not(error)
        return None


def answers(analyst: Analyst, names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Answers by question, as {question, notes, columns, rows}, and why a question has none."""
    frames, missing = {}, {}
    for name in names:
        try:
            frames[name] = analyst.ask(name)
        except SettingsFault as fault:
            missing[name] = str(fault)
    # Planning a query keeps one core busy, and there are some thirty of them.
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = dict(zip(frames, pool.map(DataFrame.collect, frames.values()), strict=True))
    figures = {}
    for name, rows in found.items():
        about = {"question": questions()[name].question, "notes": questions()[name].notes}
        cells = [[_plain(cell) for cell in row] for row in rows]
        figures[name] = {**about, "columns": frames[name].columns, "rows": cells}
    return figures, missing


def _rows(tables: Tables) -> list[dict[str, Any]]:
    """The rows of the browser, their documents in pieces that are evidence or not."""
    if not tables.exists("samples"):
        return []
    names = ("samples", "walks", "instructions", "seed_paths", "conversations")
    limits = {"selected": SELECTED, "others": OTHERS, "edges": EDGES, "conversation": CONVERSATION}
    frames = {name: tables.read(name) for name in names}
    frames["samples"] = _with(OPTIONAL, frames["samples"])
    placed = _with(SCORES, tables.read("training_set"))
    found = sql.run("report_rows", limits, training_set=placed, **frames)
    return [_row(row.asDict(recursive=True)) for row in found.toLocalIterator()]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    context, evidence = row.pop("context") or "", row.pop("evidence") or []
    for document in row["documents"] or []:
        spans = [span for span in evidence if span["doc_id"] == document["doc_id"]]
        text = context[document["start"] or 0 : document["end"] or 0]
        document["pieces"] = excerpts(text, [(span["start"], span["end"]) for span in spans])
    row["spans"] = len(evidence)
    for name in ("walk", "seed_nodes"):
        row[name] = [[step["field"], step["value"]] for step in row[name] or []]
    return {name: _plain(value) for name, value in row.items() if value is not None}


def _with(kinds: Mapping[str, str], rows: DataFrame) -> DataFrame:
    """Roots that were never scored, or are of an older layout, lack these columns."""
    absent = {name: F.lit(None).cast(kind) for name, kind in kinds.items() if name not in rows.columns}
    return rows.withColumns(absent) if absent else rows


def _points(tables: Tables) -> list[dict[str, Any]]:
    """Scored rows for the scatter, the first by hash where there are many."""
    scored = _with(SCORES, tables.read("training_set")).where("score IS NOT NULL")
    chosen = scored.orderBy(F.sha2("sample", 256)).limit(POINTS)
    selected = F.col("reject_reason").isNull().alias("selected")
    return [_plain(row.asDict()) for row in chosen.select("hmp", "cas", "score", selected).collect()]


def _graph(tables: Tables, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The graph of the commonest type among the selected rows that have a walk, with the first such walk."""
    walked = [row for row in rows if row["status"] == "selected" and row["walk"] and row["setting"] in SETTINGS]
    if not walked or not tables.exists("edges"):
        return None
    kinds = [row["document_type"] for row in walked]
    kind = max(sorted(set(kinds)), key=kinds.count)
    shown = max((row for row in walked if row["document_type"] == kind), key=lambda row: len(row["walk"]))
    one = tables.read("walks").where(F.col("id") == shown["walk_id"])
    found = sql.run(
        "report_graph",
        {"setting": shown["setting"], "document_type": kind, "most": GRAPH_NODES},
        nodes=tables.read("nodes"),
        edges=tables.read("edges"),
        walk=one,
    ).collect()
    steps = [step["node"] for step in one.select("nodes").collect()[0][0]]
    about = {"setting": shown["setting"], "document_type": kind, "row": shown["id"], "walk": steps}
    return about | {"nodes": [_plain(row.asDict(recursive=True)) for row in found]}


def _prompt(setting: str) -> str:
    """The prompt that rows are answered with; what differs from row to row is named instead."""
    texts = [f"(text of document {number})" for number in range(1, 2 if setting == "single" else 3)]
    variables = {
        "setting": setting,
        "document_type": "(document type)",
        "documents": [{"doc_id": "", "text": text} for text in texts],
        "instruction": "(draft instruction)",
        "path": ["(walk)"],
    }
    return "\n\n".join(message["content"] for message in render("answer", variables).messages)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value if isinstance(value, int | str | bool | None) else json.loads(json.dumps(value, default=str))
