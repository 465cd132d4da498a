"""The line that tells what a long stage is doing."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from jobs.runtime import progress
from jobs.runtime.launch import TERMINAL
from jobs.runtime.progress import CLEAR, Calls, Progress, Tasks, spooled_calls


def telling(tasks: Tasks, calls: Calls | None = None, columns: str = "120") -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(lambda: tasks, lambda stage: calls or Calls(), {TERMINAL: columns}, out), out


def test_a_line_tells_stages_tasks_rate_and_what_is_left() -> None:
    told, _ = telling(Tasks(5, 20), Calls(90))
    assert told.line(time.monotonic()) == ""
    with told.running("meta_records"):
        line = told.line(time.monotonic() + 90)
    assert line == "… meta_records 1 min 30 s 90 calls (60 a minute), 5 of 20 tasks, about 4 min 30 s left of this step"
    assert told.line(time.monotonic()) == ""


@pytest.mark.parametrize(
    ("calls", "age", "told"),
    [
        (Calls(90, 360, 1.5), 90, "90 of 360 calls (60 a minute, about 4 min 30 s left) 1.50 USD"),
        (Calls(5, 360, 0.0), 5, "5 of 360 calls (60 a minute)"),  # too early to tell
        (Calls(90, 90, 1234.5), 90, "90 calls (60 a minute) 1,234.50 USD"),
        (Calls(90, 90, 1.5, 0.25), 90, "90 calls (60 a minute) 1.50 USD, 0.25 saved"),
        (Calls(90, 90, None, 0.25), 90, "90 calls (60 a minute)"),  # no price, no money
        (Calls(0, 360), 90, ""),
    ],
)
def test_calls_tell_what_is_left_and_spent(calls: Calls, age: float, told: str) -> None:
    progress, _ = telling(Tasks(), calls)
    with progress.running("samples"):
        line = progress.line(time.monotonic() + age)
    assert line == f"… samples {'1 min 30 s' if age == 90 else '5 s'} {told}".rstrip()


def test_young_stages_and_few_tasks_promise_nothing() -> None:
    told, _ = telling(Tasks(1, 2))
    with told.running("samples"), told.running("documents"):
        assert told.line(time.monotonic() + 4) == "… samples 4 s, documents 4 s, 1 of 2 tasks"


def test_a_log_hears_of_long_stages_only() -> None:
    told, _ = telling(Tasks(1, 8), columns="")
    with told.running("samples"):
        assert told.line(time.monotonic() + 20) == ""
        assert told.line(time.monotonic() + 40) == "… samples 40 s, 1 of 8 tasks, about 4 min 40 s left of this step"


def test_lines_that_stay_clear_the_changing_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LIVE_S", 0.01)
    told, out = telling(Tasks(), columns="24")
    with told.told(), told.running("a_stage_with_a_long_name"):
        end = time.monotonic() + 5
        while "a_stage" not in out.getvalue() and time.monotonic() < end:
            time.sleep(0.01)
        told.say("done")
    text = out.getvalue()
    assert f"{CLEAR}done\n" in text
    assert all(len(part) < 24 for part in text.replace("\n", CLEAR).split(CLEAR))
    plain, out = telling(Tasks(), columns="")
    plain.say("done")
    assert out.getvalue() == "done\n"


def test_finished_calls_are_counted_in_the_spool(tmp_path: Path) -> None:
    folder = tmp_path / "a spool" / "samples"
    folder.mkdir(parents=True)
    (folder / "run~p00000~x.jsonl").write_text('{"a": 1}\n{"a": 2}\n{"torn')
    count = spooled_calls(str(tmp_path / "a spool"))
    assert (count("samples"), count("walks"), spooled_calls("s3://bucket/_spool")("samples")) == (2, 0, 0)
