"""The account of a run: sums over rounds, balance, reasons without ids."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jobs.runtime.errors import LongloomError, StorageFault
from jobs.runtime.summary import StageTally, Summary, reason_code


def test_reason_codes_drop_ids_only() -> None:
    assert reason_code("near_duplicate:" + "a1" * 32) == "near_duplicate"
    assert reason_code("llm:bad_json") == "llm:bad_json"
    assert reason_code("too_short") == "too_short"
    assert reason_code("language:de") == "language:de"


def test_rounds_add_up() -> None:
    summary = Summary()
    summary.tally(StageTally("walks", 3, 2, 1, 0, 3, Counter(walk_too_short=1), seconds=1.0))
    summary.tally(StageTally("walks", 2, 2, 0, 0, 2, seconds=0.5))
    told = summary.as_dict()["stages"]
    assert told[0]["in"] == 5
    assert told[0]["kept"] == 4
    assert told[0]["reasons"] == {"walk_too_short": 1}
    assert told[0]["money"] is None, "without a price the cost is unknown, not 0"


@pytest.mark.parametrize(
    ("other", "told"),
    [(2.5, "money: 3.50 USD spent; "), (None, "money: at least 1.00 USD spent (7 calls at unknown prices); ")],
)
def test_an_unknown_price_is_never_a_price_of_nothing(other: float | None, told: str) -> None:
    summary = Summary()
    summary.tally(StageTally("meta_records", 3, 3, calls=3, money=1.0, saved_ledger=0.0, saved_cache=0.0))
    summary.tally(StageTally("samples", 7, 7, calls=7, money=other))
    assert any(line.startswith(told) for line in summary.lines()), list(summary.lines())


def test_a_lost_row_is_a_bug() -> None:
    StageTally("x", 3, 1, 1, 1).require_balance()
    with pytest.raises(AssertionError, match="4 rows in, but 1 kept"):
        StageTally("x", 4, 1, 1, 1).require_balance()


def test_it_is_written_to_any_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("memory://bucket/deep/told.json", "deep/told.json", str(tmp_path / "told.json")):
        Summary(run_id="r", warnings=["größer"]).write(path)
    here = (tmp_path / "deep/told.json").read_text(encoding="utf-8")
    assert json.loads(here)["warnings"] == ["größer"]
    assert here.encode() == MemoryFileSystem().cat("/bucket/deep/told.json") == (tmp_path / "told.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "told.json"], "and not to a folder `memory:`"


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LongloomError, match=r"--summary .*told.json: cannot be written \(.*stage_runs"):
        Summary().write(str(tmp_path / "file" / "told.json"))

    def full(*given: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MemoryFileSystem, "open", full)
    with pytest.raises(StorageFault, match=r"memory://told.json, .* is full"):
        Summary().write("memory://told.json")
