"""jobs/score.py: samples made elsewhere are read, measured once, ranked, exported, explained and forgotten."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from jobs import score
from jobs.explain import explain
from jobs.runtime.errors import SettingsFault
from jobs.runtime.exporting import write
from jobs.runtime.forgetting import forget
from jobs.runtime.opening import job_of, opened
from jobs.runtime.settings import load_settings
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.stages import JOBS, SCORING, STAGES
from tests.equality import tables_at
from tests.roots import prose
from tests.udfs.models.influence.families import save_family

pytestmark = pytest.mark.spark
FILES = 2  # that each test reads its samples from
BAD = ("not json", json.dumps({"messages": []}), json.dumps({"instruction": "Why?", "output": "So."}), "[1]", "{")


def longalign(n: int) -> str:
    user = f"{prose(f'rice {n}', 2 + n)}\n\nWhat grew at station {n}?"
    turns = [{"role": "user", "content": user}, {"role": "assistant", "content": f"Sample {n * 7} grew."}]
    return json.dumps({"id": f"rice-{n}", "messages": turns, "length": len(user)})


def explicit(n: int) -> str:
    row = {"context": prose(f"tides {n}", 3), "instruction": "What grew?", "response": f"Station {n}.", "id": f"t{n}"}
    return json.dumps(row)


def run(
    spark: SparkSession, root: Path, given: list[str], stages: Any = SCORING, **choices: Any
) -> tuple[int, dict[str, Any]]:
    summary = root.parent / "summary.json"
    settings = load_settings(None, [*given, "selection.by=influence"], str(root))
    status = Synthesis(spark, settings, stages, Choices(summary=str(summary), **choices)).run()
    return status, json.loads(summary.read_text(encoding="utf-8"))


@pytest.mark.faults
def test_a_root_of_imported_samples(spark: SparkSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, root = tmp_path / "in", tmp_path / "root"
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n".join([*map(longalign, range(5)), *BAD]) + "\n", encoding="utf-8")
    (folder / "b.jsonl").write_text(explicit(0) + "\n", encoding="utf-8")
    short, long = (save_family(tmp_path / name, "llama", seed) for name, seed in (("short", 1), ("long", 2)))
    models = {"short_model": str(short), "long_model": str(long), "short_window": 300, "max_tokens": 700}
    given = [
        f"inputs={json.dumps({'imports': [str(folder)]})}",
        f"influence={json.dumps({**models, 'segment_tokens': 64, 'device': 'cpu'})}",
        "selection.top_count=3",
    ]
    status, summary = run(spark, root, given)
    assert status == 0, summary
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    assert list(stages) == ["imports", "samples", "influence", "training_set"]
    tables = tables_at(spark, root)
    require_reasons(tables, stages["imports"], 6)
    rows = tables.read("training_set").collect()
    assert len(rows) == 6 and {row["paradigm"] for row in rows} == {"imported"}
    assert sorted(row["rank"] for row in rows) == [1, 2, 3, 4, 5, 6]
    assert [row["rank"] for row in rows if row["reject_reason"] is None] and stages["training_set"]["kept"] == 3
    cut = {row["sample"]: row["truncated"] for row in tables.read("influence").collect()}
    assert set(cut.values()) == {True, False}, "the longest ones lost their head"
    pairs = {(row["one"], row["other"]): row for row in summary["scorers"]}
    assert pairs["hmp", "score"]["samples"] == 6 and ("length", "score") in pairs
    told = capsys.readouterr().out
    assert "scorers of 6 samples" in told and "measured without their head" in told

    # Again: nothing is read or measured twice; other norms need no model.
    before = {name: tables.version(name) for name in ("imports", "samples", "influence")}
    for path in (short, long):
        (path / "model.safetensors").rename(path / "model-away.safetensors")  # still found, never loaded
    status, summary = run(spark, root, [*given, "selection.norm=zscore"])
    assert status == 0 and {s["stage"]: s["state"] for s in summary["stages"]}["influence"] == "unchanged"
    tables = tables_at(spark, root)
    assert {name: tables.version(name) for name in before} == before
    best = tables.kept("training_set").orderBy("rank").collect()[0]
    assert "norm zscore" in best["selected_because"]

    # A training row is followed to its line, and exported under the name its source gave it.
    chain = {one["table"]: one["facts"] for level in explain(tables, best["id"])["levels"] for one in level}
    assert {"training_set", "influence", "samples", "imports", "source_files"} <= chain.keys()
    assert chain["imports"]["split"] in ("last_block", "given") and chain["imports"]["position"] >= 0
    assert write(tables, str(tmp_path / "out"), ["jsonl"]) == {"jsonl": 3}
    lines = [json.loads(line) for path in (tmp_path / "out" / "jsonl").iterdir() for line in path.open()]
    assert chain["imports"]["record_id"] in {line["record_id"] for line in lines}
    assert all(line["rank"] in range(1, 7) and len(line["messages"]) == 2 for line in lines)

    # Forgotten by the id of a measurement: everything made of that record goes, and nothing else.
    settings = load_settings(None, given, str(root))
    with opened(spark, settings, print) as runner:
        assert job_of(runner.tables, JOBS) == SCORING
        gone = forget(runner, SCORING, [], [best["parent_ids"][1]])
    assert gone.removed == {
        "imports": 1,
        "samples": 1,
        "influence": 1,
        "training_set": 1,
        "sources": 1,
    }
    tables = tables_at(spark, root)
    assert all(tables.kept(name).count() == 5 for name in ("imports", "samples", "influence"))

    # Neither job works on the other's root or inputs.
    with pytest.raises(SettingsFault, match=r"was made by jobs/score\.py"):
        run(spark, root, [], STAGES)
    with pytest.raises(SettingsFault, match=r"inputs\.documents: jobs/synthesize\.py reads them"):
        run(spark, tmp_path / "other", ["inputs={conversations: [x], documents: [y], imports: [z]}", given[1]])
    assert not (tmp_path / "other").exists()


def require_reasons(tables: Any, told: dict[str, Any], good: int) -> None:
    """Every line of BAD is a row with its reason, and the account has them all."""
    reasons = {"bad_json": 2, "bad_turns": 1, "no_context": 1, "not_an_object": 1}
    read = Counter(row["reject_reason"] for row in tables.read("imports").collect())
    assert read == {None: good, **reasons}
    assert told["reasons"] == reasons
    assert told["in"] == told["kept"] + told["rejected"] == FILES, told  # of files; their records are what comes out
    assert told["out"] == good + len(BAD)


def test_three_forms_are_scored_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    """LongAlpaca, ShareGPT and a parquet of explicit columns; then one more, when the models are others of one name."""
    monkeypatch.setattr("jobs.runtime.session.build_session", lambda name: spark)
    monkeypatch.setattr(spark, "stop", lambda: None)
    folder, root = tmp_path / "in", tmp_path / "root"
    folder.mkdir()
    pasted = f"Below is a paper. {prose('moss', 3)} Now the paper ends. What grew?"
    asked = {"from": "human", "value": f"{prose('basalt', 6)}\n\nWhat was measured?"}
    lines = [json.dumps({"instruction": pasted, "output": "Moss grew."}), *BAD]
    lines.append(json.dumps({"id": "s", "conversations": [asked, {"from": "gpt", "value": "A valley was."}]}))
    (folder / "a.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    columns = {"context": [prose("tides", 2), prose("tides", 4)], "question": ["What grew?", "What fell?"]}
    columns |= {"answer": ["Sample 7.", "Nothing did."], "other": ["", ""]}
    pq.write_table(pa.table(columns), folder / "b.parquet")
    for name, seed in (("short", 1), ("long", 2)):
        save_family(tmp_path / name, "llama", seed)
    models = {"short_model": str(tmp_path / "short"), "long_model": str(tmp_path / "long"), "short_window": 150}
    chosen = {"max_tokens": 400, "segment_tokens": 64, "device": "cpu"}
    command = ["--input", str(folder / "*"), "--root", str(root), "--summary", str(tmp_path / "told.json")]
    command += ["--set", f"influence={json.dumps({**models, **chosen})}"]
    command += ["--set", "selection={norm: paper, top_count: 2}"]
    assert score.main(command) == 0
    summary = json.loads((tmp_path / "told.json").read_text(encoding="utf-8"))
    stages = {stage["stage"]: stage for stage in summary["stages"]}
    tables = tables_at(spark, root)
    require_reasons(tables, stages["imports"], 4)
    split = Counter(row["split"] for row in tables.kept("imports").collect())
    assert split == {"closing_mark": 1, "last_block": 1, "given": 2}
    assert stages["influence"]["kept"] == 4 and stages["training_set"]["kept"] == 2
    rows = tables.read("training_set").collect()
    assert sorted(row["rank"] for row in rows) == [1, 2, 3, 4]
    assert {row["number_type"] for row in rows} == {"float32"}

    # The paper's norm over a short window is told as what it is, by the run and by each row.
    claim = "selection.norm: paper is GATEAU's only where both models read the same context; "
    assert claim + "influence.short_context is window" in summary["warnings"]
    assert {row["selected_because"] for row in rows if row["reject_reason"] is None} == {
        f"rank {rank} by score (norm paper over a short window, not as in the paper), place {rank} of 4 candidates in "
        "their mix of types"
        for rank in (1, 2)
    }


@pytest.mark.faults
def test_models_changed_under_their_name_are_not_ranked_together(spark: SparkSession, tmp_path: Path) -> None:
    """As after an upgrade that ships other weights: the settings are the same, and what was measured stays."""
    folder, root = tmp_path / "in", tmp_path / "root"
    folder.mkdir()
    (folder / "a.jsonl").write_text("\n".join(map(longalign, range(3))) + "\n", encoding="utf-8")
    short, long = (save_family(tmp_path / name, "llama", seed) for name, seed in (("short", 1), ("long", 2)))
    models = {"short_model": str(short), "long_model": str(long), "max_tokens": 400, "device": "cpu"}
    given = [f"inputs={json.dumps({'imports': [str(folder)]})}", f"influence={json.dumps(models)}"]
    assert run(spark, root, given)[0] == 0
    save_family(tmp_path / "long", "llama", 3)
    assert run(spark, root, given)[0] == 0, "nothing new was measured, and all that is ranked is of one pair"

    (folder / "b.jsonl").write_text(explicit(1) + "\n", encoding="utf-8")
    before = tables_at(spark, root).version("training_set")
    status, summary = run(spark, root, given)
    assert status == 6
    assert "samples that different pairs of models measured would be ranked together" in summary["status"]
    assert "run again with --recompute influence" in summary["status"]
    tables = tables_at(spark, root)
    assert tables.version("training_set") == before
    assert tables.read("influence").select("long_model").distinct().count() == 2
    assert run(spark, root, given, recompute=("influence",))[0] == 0
    tables = tables_at(spark, root)
    assert tables.read("training_set").where("score IS NOT NULL").count() == 4
    assert tables.read("training_set").select("measured_by").distinct().count() == 1


def test_models_are_looked_for_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    monkeypatch.setattr("jobs.runtime.session.build_session", lambda name: spark)
    monkeypatch.setattr(spark, "stop", lambda: None)
    (tmp_path / "a.jsonl").write_text(explicit(0), encoding="utf-8")
    given = ["--input", str(tmp_path / "a.jsonl"), "--root", str(tmp_path / "root")]
    assert score.main([*given, "--set", "influence.long_model=./nowhere"]) == 2
    assert "influence: model './nowhere' is not available" in capsys.readouterr().err
    assert not (tmp_path / "root").exists()
