"""Where a root tells what `json_mode: auto` stood for, and which of it is believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.runtime import json_modes, previewing
from jobs.runtime.endpoints import settle_json_modes
from jobs.runtime.history import Execution
from jobs.runtime.json_modes import decided, in_ledger, in_rows, in_runs, left_open, strictest
from jobs.runtime.runs import BEGUN, MAIN_JOB, Run
from jobs.runtime.settings import Settings, load_settings
from jobs.runtime.synthesis import Choices
from jobs.stages import STAGES
from udfs.settings import LlmSettings

HERE, ELSEWHERE = "http://127.0.0.1:9/v1", "http://127.0.0.1:10/v1"


def llm(**changes: Any) -> LlmSettings:
    """Settings that leave the mode open."""
    return LlmSettings(**{"teacher": "openai", "base_url": HERE, "model": "m", "json_mode": "auto", **changes})


def made(json_mode: str, model: str = "m", teacher: str = "openai") -> dict[str, str]:
    return {"teacher": teacher, "model": model, "json_mode": json_mode}


class Remembered:
    """A history in which stages were made from these settings of the teacher."""

    def __init__(self, **stages: Mapping[str, str]) -> None:
        self._stages = stages

    def last(self, stage: str) -> Execution | None:
        if stage not in self._stages:
            return None
        return Execution(stage, 0, "", {"llm": self._stages[stage]}, {}, 0, "done")


def test_rows_of_the_same_model_tell_the_mode() -> None:
    known = {"meta_records": made("object"), "samples": made("schema", "other"), "walks": made("auto")}
    known["instructions"] = made("schema", teacher="offline")
    look = in_rows(llm(), Remembered(**known))  # type: ignore[arg-type]
    assert look("meta_records") == "object"
    assert in_rows(llm(teacher="openai_batch"), Remembered(**known))("meta_records") == "object"  # type: ignore[arg-type]
    assert [look(name) for name in ("samples", "walks", "instructions", "document_types")] == [None] * 4


def run(number: int, **modes: Mapping[str, str]) -> Run:
    return Run(f"r{number}", number, MAIN_JOB, {}, {}, BEGUN, modes)


def test_the_newest_run_that_left_it_open_tells_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed or not: it is noted at its beginning. A run before or after it was told a mode and notes none."""
    asked: list[object] = []

    def runs(tables: object) -> list[Run]:
        asked.append(tables)
        return [run(1, samples=made("prompt")), run(2, samples=made("object"), walks=made("schema", "other")), run(3)]

    monkeypatch.setattr(json_modes, "runs", runs)
    look = in_runs(llm(), None)  # type: ignore[arg-type]
    assert not asked, "it is read where it is needed"
    assert (look("samples"), look("walks"), look("instructions")) == ("object", None, None) and len(asked) == 1


def test_most_answers_of_a_stage_tell_the_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {("samples", "m", "object"): 2, ("samples", "m", "schema"): 9, ("samples", "other", "prompt"): 99}
    counts |= {("walks", "m", "object"): 5, ("walks", "m", "object_schema"): 5}
    monkeypatch.setattr(json_modes, "_answers", lambda tables: counts)
    look = in_ledger(llm(), None)  # type: ignore[arg-type]
    assert (look("samples"), look("walks"), look("instructions")) == ("schema", "object_schema", None)


def test_what_is_surer_is_believed_whichever_stage_it_is_of() -> None:
    asked = list[LlmSettings]()

    def otherwise(one: LlmSettings) -> str:
        asked.append(one)
        return "prompt"

    given = llm(stages={"samples": {"base_url": ELSEWHERE}})
    rows, ledger = {"instructions": "object"}, {"meta_records": "schema"}
    names = ["meta_records", "instructions", "samples"]
    now = settle_json_modes(given, names, rows.get, ledger.get, otherwise=otherwise)
    assert {name: now.of(name).json_mode for name in names} == {
        "meta_records": "object", "instructions": "object", "samples": "prompt",
    }  # fmt: skip
    assert [one.base_url for one in asked] == [ELSEWHERE], "only where nothing is known"


def test_a_run_notes_what_it_was_not_told() -> None:
    told = llm(stages={"samples": {"json_mode": "prompt"}, "instructions": {"teacher": "offline"}})
    names = [stage.name for stage in STAGES if stage.asks]
    noted = decided(told, settle_json_modes(told, names, otherwise=strictest), STAGES)
    assert noted["meta_records"] == made("schema") and noted.keys() == set(names) - {"samples", "instructions"}
    assert not decided(told, settle_json_modes(told, names, otherwise=left_open), STAGES), "nothing was decided"


def test_a_preview_asks_in_the_form_that_its_root_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own root is empty, and the answers go into the ledger of the other one."""
    given = load_settings(None, ["llm={teacher: openai, model: m, api_key_env: '', json_mode: auto}"], str(tmp_path))
    kept = given.model_copy(update={"llm": given.llm.model_copy(update={"json_mode": "object"})})
    runs: list[Settings] = []

    class Run:
        def __init__(self, spark: object, small: Settings, *rest: object, **more: object) -> None:
            runs.append(small)

        def run(self) -> int:
            return 0

    @contextmanager
    def opened(spark: object, settings: Settings, *rest: object, **more: object) -> Iterator[SimpleNamespace]:
        assert settings is given and more["stages"] is STAGES
        yield SimpleNamespace(tables=SimpleNamespace(state=str(tmp_path)), settings=kept)

    (tmp_path / "_preview").mkdir()
    monkeypatch.setattr(previewing, "opened", opened)
    monkeypatch.setattr(previewing, "Synthesis", Run)
    monkeypatch.setattr(previewing, "drop_folder", lambda *given: None)
    monkeypatch.setattr(previewing, "_write_records", lambda *given: 4)
    assert previewing.preview(None, given, STAGES, 2, Choices()) == 0  # type: ignore[arg-type]
    assert [small.llm.json_mode for small in runs] == ["object"]
