"""Why is this row here? The chain from a row of any table to its input files, or what a run wrote.

spark-submit --properties-file infra/spark-defaults.conf jobs/explain.py ID --root PATH
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from jobs.runtime.ancestry import Found, ancestors, calls_of, descendants, find, nearest, written_by
from jobs.runtime.errors import SettingsFault
from jobs.runtime.layout import require_layout
from jobs.runtime.ledger import CALL_COLUMNS
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.reasons import gates, made_from, prompt_of
from jobs.runtime.session import running_session
from jobs.runtime.settings import load_settings
from jobs.runtime.storage_faults import NOTHING_WRITTEN, ended_by, storage_fault
from jobs.runtime.tables import Tables
from jobs.runtime.tombstones import found as forgotten
from jobs.stages import STAGES

BY_NAME = {stage.name: stage for stage in STAGES}
SHOWN = 240  # characters of a text
FEW = 3  # ids shown of the rows of a table that were made from a row
CALL = ("id", "teacher", "model", "status", "tokens_in", "tokens_out", "prompt_sha", "parameters", "text")
OTHERS = {"answerable_call": "the answerability", "other_call": "the other draw"}  # calls beside the one that stands
HIDDEN = frozenset(
    {"id", "parent_ids", "signature", "bands", "vector", "centroid", "messages", "context", "turns", "layer_attention"}
)


def main(arguments: Sequence[str]) -> int:
    """Print the chain of a row; exit 2 when there is no such id."""
    parser = argparse.ArgumentParser(prog="explain.py", description=__doc__.splitlines()[0])
    parser.add_argument("id", help="a row's id (its first 8 characters are enough), or an MLflow run id")
    parser.add_argument("--root", help="where the tables are")
    parser.add_argument("--config", help="YAML settings, for tables in a catalog")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        settings = load_settings(given.config, [], given.root, calls=False)
        with running_session("longloom explain") as spark:
            tables = Tables(spark, settings.storage)
            require_layout(tables)
            suit_plans(spark, tables.storage)
            told = explain(tables, given.id, whole=given.json)
    except Exception as error:
        return ended_by(error, storage_fault(error, given.root or "the root", NOTHING_WRITTEN))
    print(json.dumps(told, indent=2, default=str, ensure_ascii=False) if given.json else "\n".join(_lines(told)))
    return 0


def explain(tables: Tables, wanted: str, whole: bool = False) -> dict[str, Any]:
    """The chain of a row as plain data, or the executions of a run. Raises SettingsFault for an unknown id.

    What was made from the row is told by all its ids in the `whole`, else by their count and the first few.
    """
    found = find(tables, [wanted])
    if len(found) > 1:
        some = ", ".join(f"{one.table} {one.id[:16]}" for one in found[:8])
        raise SettingsFault([f"{wanted}: {len(found)} rows begin so ({some}); give more characters"])
    if not found:
        runs = written_by(tables, wanted) if tables.exists("stage_runs") else []
        if not runs:
            when = forgotten(tables, wanted)
            why = f"was forgotten {when}" if when else _unknown(tables, wanted)
            raise SettingsFault([f"{wanted}: {why}"])
        return {"run": runs[0]["run_id"], "executions": runs}
    levels = ancestors(tables, found[0])
    made = descendants(tables, found[0], None if whole else FEW)
    calls = calls_of(tables, chain.from_iterable(levels))
    return {
        "levels": [[_told(tables, one, calls) for one in level] for level in levels],
        "made_from_it": {name: one.ids if whole else asdict(one) for name, one in made.items()},
        "versions": written_by(tables, str(found[0].row["run_id"])),
    }


def _unknown(tables: Tables, wanted: str) -> str:
    near = ", ".join(f"{table} {id[: max(16, len(wanted))]}" for table, id in nearest(tables, wanted))
    return f"no row and no run of {tables.state} has this id" + (f"; nearest: {near}" if near else "")


def _told(tables: Tables, found: Found, calls: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    facts = {key: value for key, value in found.row.items() if _is_told(key, value)}
    made = {column: calls.get(str(found.row.get(column))) for column in CALL_COLUMNS}
    call = made.pop("call_id")
    told: dict[str, Any] = {"table": found.table, "id": found.id, "facts": facts}
    passed = gates(found, made_from(tables, found)) if found.table == "samples" else []
    if passed:
        told["gates"] = passed
    if call is not None:
        told["call"] = {name: call[name] for name in CALL}
        prompt = prompt_of(tables, BY_NAME[found.table], found, call["prompt_sha"]) if found.table in BY_NAME else None
        if prompt is not None:
            told["call"]["prompt"] = prompt
    return told | {column: {name: other[name] for name in CALL} for column, other in made.items() if other is not None}


def _is_told(key: str, value: Any) -> bool:
    return key not in HIDDEN and value is not None and not isinstance(value, bytes | bytearray)


def _lines(told: dict[str, Any]) -> Iterator[str]:
    if "executions" in told:
        yield f"run {told['run']} wrote:"
        for run in told["executions"]:
            read = ", ".join(f"{name}@{version}" for name, version in sorted(run["inputs"].items()))
            yield f"  {run['stage']:<20} version {run['output_version']:<4} {run['rows_out']:>8} rows   from {read}"
        return
    for depth, level in enumerate(told["levels"]):
        for one in level:
            pad = "  " * depth
            yield f"{pad}{one['table']}  {one['id'][:16]}"
            for key, value in one["facts"].items():
                yield f"{pad}    {key}: {_short(value)}"
            if "call" in one:
                call = one["call"]
                who = f"{call['teacher']} {call['model']}, prompt {call['prompt_sha'][:12]}"
                yield f"{pad}    call {call['id'][:16]}: {who}"
                for message in call.get("prompt", ()):
                    yield f"{pad}      {message['role']}: {_short(message['content'])}"
                yield f"{pad}      reply: {_short(call['text'])}"
            for column in sorted(one.keys() & OTHERS.keys()):
                other = one[column]
                yield f"{pad}    {OTHERS[column]}, call {other['id'][:16]}: {other['status']}"
                yield f"{pad}      reply: {_short(other['text'])}"
            for sentence in one.get("gates", ()):
                yield f"{pad}    passed {sentence}"
    for table, made in told["made_from_it"].items():
        some = ", ".join(i[:16] for i in made["ids"]) + (" …" if made["count"] > FEW else "")
        yield f"made from it: {made['count']} in {table} ({some})"
    if told["versions"]:
        yield f"MLflow run {told['versions'][0]['run_id']} wrote, among others:"
        tables = {one["table"] for level in told["levels"] for one in level}
        for run in told["versions"]:
            if run["stage"] in tables:
                read = ", ".join(f"{name}@{version}" for name, version in sorted(run["inputs"].items()))
                yield f"  {run['stage']} version {run['output_version']} from {read}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
