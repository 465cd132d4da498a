"""A root small enough to count by hand: three selected rows, and all that stands behind them."""

from __future__ import annotations

import json
from typing import Any

from pyspark.sql import DataFrame, SparkSession

import sql
from jobs.runtime.plan_mode import INTERPRETED
from jobs.runtime.settings import StorageSettings
from jobs.runtime.tables import LAYOUT, MISSING, Tables

TWIN = "near_duplicate:" + "a" * 64
ASKED = "Please summarize the report."


def node(field: str, value: str, name: str) -> dict[str, str]:
    return {"field": field, "value": value, "node": name}


SUM, CALM, DRY = node("tasks", "sum", "n1"), node("tone", "calm", "n2"), node("tone", "dry", "n3")
NOVEL_DRY, MERGE = node("tone", "dry", "n4"), node("tasks", "merge", "n6")


def document(name: str, start: int, end: int) -> dict[str, Any]:
    facts = {"d1": ("A", 1000, "MIT"), "d2": ("B", 500, None)}[name]
    return {"doc_id": name, "source": facts[0], "n_tokens": facts[1], "licence": facts[2], "start": start, "end": end}


def span(name: str, start: int, end: int, exact: bool = True) -> dict[str, Any]:
    return {"doc_id": name, "start": start, "end": end, "exact": exact}


def walk(name: str, setting: str, kind: str, nodes: list[Any], overlap: int, novel: bool, redraws: int) -> Any:
    return {"id": name, "setting": setting, "document_type": kind, "nodes": nodes, "overlap": overlap,
            "novel": novel, "redraws": redraws}  # fmt: skip


def sample(name: str, setting: str, kind: str, walk_id: str, lengths: tuple[int, int, int], **more: Any) -> Any:
    made = {
        "id": name, "setting": setting, "document_type": kind, "walk_id": walk_id, "language": "en", "run_id": "run-1",
        "lengths": dict(zip(("context", "instruction", "response"), lengths, strict=True)), "grounded_share": 1.0,
        "generator": {"teacher": "offline", "model": "m", "prompt_sha": "p3"}, "instruction": ASKED,
        "documents": [document("d1", 0, 100)], "document_shares": [{"doc_id": "d1", "share": 1.0}],
        "evidence": [span("d1", 20, 40)],
    }  # fmt: skip
    return made | more


def chosen(name: str, setting: str, kind: str, n_tokens: int, documents: list[str], reason: str | None = None) -> Any:
    return {"id": f"t-{name}", "sample": name, "setting": setting, "document_type": kind, "n_tokens": n_tokens,
            "documents": documents, "teacher": "offline", "reject_reason": reason}  # fmt: skip


def counted(name: str, setting: str, kind: str, field: str, value: str, count: int) -> dict[str, Any]:
    return {"node": name, "setting": setting, "document_type": kind, "field": field, "value": value, "count": count}


def edge(source: str, target: str, count: int) -> dict[str, Any]:
    return {"setting": "single", "document_type": "report", "source": source, "target": target, "count": count}


def path(name: str, setting: str, kind: str, nodes: list[Any]) -> dict[str, Any]:
    return {"id": name, "setting": setting, "document_type": kind, "nodes": nodes}


def wait(name: str, epoch: int, reason: str | None, number: int) -> dict[str, Any]:
    return {"stage": "meta_records", "epoch": epoch, "input_id": name, "reason": reason, "pass": number}


def ran(sequence: int, stage: str, epoch: int, seconds: float, rows_out: int, calls: int) -> dict[str, Any]:
    return {"sequence": sequence, "stage": stage, "epoch": epoch, "seconds": seconds, "rows_out": rows_out,
            "calls": calls, "recipe": f"r{epoch}", "output_version": sequence, "run_id": "run-1",
            "made_from": "{}", "state": "done", "inputs": {}, "detail": "{}"}  # fmt: skip


def ended(sequence: int, run: str, state: str, paid: Any) -> dict[str, Any]:
    """What a run noted when it ended, or when it began."""
    return {"sequence": sequence, "stage": "run", "epoch": 0, "seconds": 0.0, "state": state, "run_id": run,
            "recipe": "", "output_version": -1, "made_from": "{}", "inputs": {},
            "detail": json.dumps(paid)}  # fmt: skip


def cost(stage: str, calls: int, tokens: int, money: float | None) -> dict[str, Any]:
    return {"stage": stage, "calls": calls, "served": 2, "tokens_in": tokens, "tokens_out": 5, "tokens_cached": 1,
            "money": money, "saved_ledger": money, "saved_cache": None}  # fmt: skip


def around(expected: float) -> dict[str, float]:
    return {"low": expected / 2, "expected": expected, "high": expected * 2}


def planned(stage: str, calls: int, money: float | None, spent: float | None) -> dict[str, Any]:
    return {
        "stage": stage,
        "planned": {"stage": stage, "calls": around(calls), "tokens_in": around(100), "tokens_out": around(10),
                    "money": None if money is None else around(money)},
        "actual": {"calls": 3, "tokens_in": 90, "tokens_out": 12, "tokens_cached": 40, "money": spent},
    }  # fmt: skip


def call(stage: str, status: str, tokens: tuple[int, int], cached: int | None, seconds: float) -> dict[str, Any]:
    return {"stage": stage, "status": status, "tokens_in": tokens[0], "tokens_out": tokens[1],
            "tokens_cached": cached, "seconds": seconds}  # fmt: skip


def written(name: str, prompt: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "teacher": "offline", "model": "m", "prompt_sha": prompt} | more


ROWS: dict[str, list[dict[str, Any]]] = {
    "source_files": [{"id": "f1"}],
    "conversations": [{"id": "c1"}, {"id": "c2"}, {"id": "c3"}, {"id": "c4", "reject_reason": "bad_json"}],
    "long_conversations": [
        {"id": "l1", "language": "en", "source": "WildChat", "licence": "ODC-BY", "n_tokens": 2000},
        {"id": "l2", "language": "de", "source": "WildChat", "licence": "ODC-BY", "n_tokens": 3000},
        {"id": "l3", "language": "en", "source": "WildChat", "licence": "ODC-BY", "reject_reason": TWIN},
    ],
    "meta_records": [
        written("m1", "p1", document_type=["Report"], tasks=["Sum", "sum ", "find"]),
        written("m2", "p1", document_type=["report"], tasks=[]),
    ],
    "conversation_types": [{"id": "k1"}, {"id": "k2"}],
    "deferrals": [wait("x", 1, "waiting:task_rewrites", 0), wait("y", 1, "llm:timeout", 0), wait("y", 1, None, 1),
                  wait("z", 0, "llm:timeout", 0)],
    "documents": [{"id": "d1"}, {"id": "d2"}, {"id": "d3", "reject_reason": "empty"}],
    "long_documents": [
        {"id": "ld1", "document": "d1", "language": "en", "source": "A", "licence": "MIT", "n_tokens": 1000},
        {"id": "ld2", "document": "d2", "language": "en", "source": "B", "n_tokens": 500},
    ],
    "typed_documents": [{"id": "td1", "document_type": "report"}, {"id": "td2", "document_type": "report"}],
    "seed_paths": [
        path("p1", "single", "report", [SUM, CALM]), path("p2", "single", "report", [SUM, DRY]),
        path("p3", "single", "novel", [NOVEL_DRY]), path("p4", "multi", "report", [MERGE]),
    ],
    "nodes": [
        counted("n1", "single", "report", "tasks", "sum", 1), counted("n1", "single", "report", "tasks", "sum", 1),
        counted("n2", "single", "report", "tone", "calm", 1), counted("n3", "single", "report", "tone", "dry", 1),
        counted("n4", "single", "novel", "tone", "dry", 1), counted("n5", "single", "report", "tone", "gone", 1),
        counted("n5", "single", "report", "tone", "gone", -1), counted("n6", "multi", "report", "tasks", "merge", 1),
    ],
    "edges": [edge("n1", "n2", 1), edge("n1", "n3", 1), edge("n1", "n5", 1), edge("n1", "n5", -1)],
    "graph_stats": [
        {"setting": "single", "document_type": "report", "nodes": 4, "edges": 3, "components": 2,
         "largest_component": 3, "communities": 2, "mean_degree": 1.5, "max_degree": 2},
    ],
    "walks": [
        walk("w1", "single", "report", [SUM, CALM], 2, False, 0),
        walk("w2", "single", "report", [SUM, DRY], 1, True, 2),
        walk("w3", "single", "novel", [NOVEL_DRY], 1, False, 0), walk("w4", "multi", "report", [MERGE], 1, False, 0),
    ],
    "instructions": [
        written("i1", "p2", setting="single"), written("i2", "p2", setting="single"),
        written("i3", "p2", setting="single"), written("i4", "p2", setting="single", reject_reason=TWIN),
        written("i5", "p2", setting="multi"),
    ],
    "pairings": [{"id": f"pair{n}"} for n in range(5)],
    "samples": [
        sample("s1", "single", "report", "w1", (1000, 4, 16), evidence=[span("d1", 0, 10), span("d1", 90, 100, False)],
               answerable_with=True, answerable_without=False, draw=1),
        sample("s2", "single", "report", "w2", (500, 8, 32), grounded_share=0.5, run_id="run-2",
               answerable_with=True, answerable_without=True, draw=2, other_call="c1",
               instruction="Please summarize the dates. Write a short list."),
        sample("s3", "multi", "report", "w4", (1500, 16, 64), evidence=[span("d1", 50, 60), span("d2", 100, 120)],
               documents=[document("d1", 12, 112), document("d2", 150, 350)],
               document_shares=[{"doc_id": "d1", "share": 0.25}, {"doc_id": "d2", "share": 0.75}],
               answerable_with=False, answerable_without=False),
        sample("s4", "single", "novel", "w3", (64, 2, 2), grounded_share=0.1, reject_reason="ungrounded",
               answerable_with=False, answerable_without=True, draw=1, other_call="c2"),
        sample("s5", "single", "novel", "w3", (64, 2, 2)),
    ],
    "training_set": [
        chosen("s1", "single", "report", 1020, ["d1"]), chosen("s2", "single", "report", 540, ["d1"]),
        chosen("s3", "multi", "report", 1580, ["d1", "d2"]), chosen("s5", "single", "novel", 68, ["d1"], "over_target"),
    ],
    "llm_calls": [
        call("samples", "ok", (10, 1), 4, 2.0), call("samples", "lasting", (20, 2), None, 1.0),
        call("meta_records", "ok", (5, 0), None, 0.5),
    ],
    "stage_runs": [
        ran(1, "meta_records", 0, 1.0, 1, 0), ran(2, "meta_records", 1, 3.0, 1, 1), ran(3, "samples", 0, 3.0, 6, 2),
        ran(4, "samples", 0, 1.0, 2, 0), ran(5, "samples", 0, 0.0, 0, 0),
        ended(6, "run-1", "begun", {"job": "synthesize", "settings": {}}),
        ended(7, "run-1", "stopped",
              {"costs": [cost("samples", 3, 9, 0.5)], "plan": [planned("samples", 9, 1.0, 0.5)]}),
        ended(8, "run-2", "done", {"costs": [cost("samples", 1, 4, 0.25), cost("meta_records", 2, 7, None)],
                                   "plan": [planned("meta_records", 4, None, None), planned("samples", 8, 1.5, 0.75)]}),
        ended(9, "run-3", "done", {"costs": [], "plan": []}), ended(10, "run-0", "done", {}),
    ],
}  # fmt: skip


def small_session(spark: SparkSession) -> SparkSession:
    """A session with views of its own, its plans interpreted as those of small roots are."""
    own = spark.newSession()
    for key, value in {**INTERPRETED, "spark.sql.shuffle.partitions": "1"}.items():
        own.conf.set(key, value)
    return own


class SmallTables(Tables):
    """The rows above as tables; what is not there was never written."""

    def __init__(self, spark: SparkSession, rows: dict[str, list[dict[str, Any]]] = ROWS) -> None:
        super().__init__(spark, StorageSettings(root="small"))
        self._rows = rows

    def version(self, name: str) -> int:
        return 2 if name in self._rows else MISSING

    def layout(self, name: str) -> int:
        return LAYOUT

    def read(self, name: str, session: SparkSession | None = None, version: int | None = None) -> DataFrame:
        return (session or self.spark).createDataFrame(self._rows.get(name, []), sql.columns(name)).coalesce(1)
