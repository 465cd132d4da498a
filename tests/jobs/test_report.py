"""The report: figures are answers, documents stay text, and a browser draws it without a complaint."""

from __future__ import annotations

import base64
import copy
import errno
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from jobs import report
from jobs.runtime.analysis import Analyst
from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.lineage import log_artifact
from jobs.runtime.report import figures
from jobs.runtime.report.figures import gather
from jobs.runtime.report.page import FOLDER, SCRIPTS, drop_reports, embedded, page, write
from jobs.runtime.settings import load_settings
from tests.sql.small_root import ROWS, SmallTables, small_session

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<!-- --> \u202ereversed\u2028line {{data}} ${1} &lt;b&gt; 😀 \\u003c"
)
VENDORED = {"vendor/echarts.min.js": "b66b25aeb4df84e33199dc21694014d336d222cbd9deb0e5a7c14bd6aa0d0fd0"}  # 6.1.0
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--virtual-time-budget=6000",
    "--enable-logging=stderr",
    "--v=0",
)
Data = dict[str, Any]


@pytest.fixture(scope="module")
def data(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The small root's report, with a document that would like to be a program."""
    rows = copy.deepcopy(ROWS)
    first = rows["samples"][0]
    first["context"] = HOSTILE + "." * (100 - len(HOSTILE))
    first["response"] = first["instruction"] = HOSTILE
    first["document_type"] = rows["training_set"][0]["document_type"] = "<b>report</b>"
    rows["samples"][1]["context"] = "0123456789" * 10
    tables = SmallTables(small_session(spark), rows)
    return gather(tables, Analyst(tables))


@pytest.mark.spark
def test_rows_carry_their_documents_in_pieces(data: Data) -> None:
    rows = {row["id"]: row for row in data["rows"]}
    assert {key: row["status"] for key, row in rows.items()} == {
        "s1": "selected", "s2": "selected", "s3": "selected", "s4": "rejected", "s5": "accepted",
    }  # fmt: skip
    assert rows["s5"]["reason"] == "over_target" and rows["s4"]["reason"] == "ungrounded"
    text = "0123456789" * 10
    assert rows["s2"]["documents"][0]["pieces"] == [
        ["text", text[:20]], ["evidence", text[20:40]], ["text", text[40:]],
    ]  # fmt: skip
    assert rows["s1"]["walk"] == [["tasks", "sum"], ["tone", "calm"]]
    verdicts = [(rows[key].get("answerable_with"), rows[key].get("answerable_without")) for key in ("s1", "s2", "s4")]
    assert verdicts == [(True, False), (True, True), (False, True)]
    assert [rows[key].get("draw") for key in ("s1", "s2", "s5")] == [1, 2, None]


@pytest.mark.spark
def test_the_summary_tells_what_the_questions_answer(data: Data) -> None:
    told = data["summary"]
    assert told["title"] == "3 training rows for long contexts"
    assert "3 rows (2 single, 1 multi) of 2 document types in 1 language" in told["paragraph"]
    assert "Of 5 answers 1 were turned away by the gates and 1 accepted without being selected." in told["paragraph"]
    assert [one["value"] for one in told["numbers"]][:4] == ["3", "3,140", "1,020", "80 %"]
    assert len(told["numbers"]) == 8 and "not training-grade" in told["warnings"][0]


@pytest.mark.spark
def test_a_picture_is_drawn_of_the_graph_behind_a_selected_row(data: Data) -> None:
    graph = data["graph"]
    assert (graph["setting"], graph["document_type"], graph["row"]) == ("single", "report", "s2")
    assert graph["walk"] == ["n1", "n3"]
    assert {node["node"]: node["on_walk"] for node in graph["nodes"]} == {"n1": True, "n3": True, "n2": False}
    edges = [(node["node"], edge["target"], edge["weight"]) for node in graph["nodes"] for edge in node["edges"]]
    assert sorted(edges) == [("n1", "n2", 1), ("n1", "n3", 1)]


@pytest.mark.spark
def test_an_unfinished_root_is_told_about(spark: SparkSession) -> None:
    half = {name: rows for name, rows in ROWS.items() if name in ("source_files", "documents", "conversations")}
    tables = SmallTables(small_session(spark), half)
    found = gather(tables, Analyst(tables))
    assert found["rows"] == [] and found["graph"] is None and "samples" in found["unwritten"]
    assert "The root holds 4 conversations and 3 documents; 0 answers were written" in found["summary"]["paragraph"]
    assert "No training row yet" in page(found)


@pytest.mark.spark
def test_stale_tables_are_warned_of(spark: SparkSession) -> None:
    """Once each, however often something was forgotten, and not any more when they were made again."""
    gone = {"id": "t", "parent_ids": [], "recipe": "", "subject_table": "documents", "subject": "d", "asked": "d"}
    stones = [{**gone, "run_id": f"forget-{n}", "stale": {"classifier": 0, "document_types": 7}} for n in (1, 2)]
    tables = SmallTables(small_session(spark), {**ROWS, "tombstones": stones})
    _, warning = gather(tables, Analyst(tables))["summary"]["warnings"]
    assert warning == (
        "The table classifier is stale: it was made while rows were there that run forget-1 and 1 more forgot; "
        "run with --refit classifier to make it again without them."
    )


@pytest.mark.spark
def test_large_roots_are_sampled_by_hash_and_by_score(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst row is shown though rows that were never measured would come before it."""
    assert figures.SELECTED + 2 * figures.OTHERS + 6 * figures.EDGES <= 500
    for limit, most in (("SELECTED", 0), ("OTHERS", 0), ("EDGES", 1)):
        monkeypatch.setattr(figures, limit, most)
    scores = {"s1": (0.9, 3.0, 0.1), "s2": (0.2, 1.0, 0.2)}
    placed = [
        {**row, **dict(zip(("score", "hmp", "cas"), scores.get(row["sample"], (None,) * 3), strict=True))}
        for row in ROWS["training_set"]
    ]
    tables = SmallTables(small_session(spark), {**ROWS, "training_set": placed})
    found = gather(tables, Analyst(tables))
    assert {row["id"]: row["score"] for row in found["rows"]} == {"s1": 0.9, "s2": 0.2}
    assert sorted((one["score"], one["hmp"], one["selected"]) for one in found["points"]) == [
        (0.2, 1.0, True), (0.9, 3.0, True),
    ]  # fmt: skip


@pytest.mark.spark
def test_tables_that_lack_a_column_are_told_about(spark: SparkSession) -> None:
    """A root of an older layout that nobody brought up: what can be shown is shown, the rest says what it lacks."""

    class Older(SmallTables):
        def read(self, name: str, session: SparkSession | None = None, version: int | None = None) -> DataFrame:
            return super().read(name, session, version).drop("novel", "nearest_seed_path")

    tables = Older(small_session(spark))
    found = gather(tables, Analyst(tables))
    lacks = "the root's tables have no column 'novel'; if it is not misspelt, a run of this longloom adds it"
    assert found["rows"] == [] and lacks in found["missing"]["walk_novelty"]
    assert "have no column" in found["missing"]["rows"]
    assert found["figures"]["funnel"]["rows"] and "The figures: grounding" not in page(found)


def test_what_was_vendored_is_what_was_published() -> None:
    for name, wanted in VENDORED.items():
        assert hashlib.sha256(FOLDER.joinpath(name).read_bytes()).hexdigest() == wanted
    assert FOLDER.joinpath("vendor/echarts.LICENSE").is_file()


def test_data_cannot_leave_its_element() -> None:
    text = embedded({"text": HOSTILE + "\ud800", "n": 1.5})
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == {"text": HOSTILE + "?", "n": 1.5}


@pytest.mark.spark
def test_the_page_allows_its_own_scripts_and_nothing_else(data: Data) -> None:
    text = page(data)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == len(SCRIPTS)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1])  # type: ignore[index]
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert re.findall(r"'sha256-([^']*)'", policy) == hashes
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", text.partition("<script>")[0])


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsFault, match="cannot be written"):
        write("<!doctype html>", str(tmp_path / "file" / "report.html"))
    with pytest.raises(SettingsFault, match=r"--out nosuch://report\.html: nothing that is installed here opens"):
        write("<!doctype html>", "nosuch://report.html")


@pytest.mark.parametrize(
    ("number", "status", "told"),
    [
        (errno.ENOSPC, 6, "is full"),
        (errno.EDQUOT, 6, "has no quota left"),
        (errno.EACCES, 2, "cannot be written (Permission denied)"),
        (errno.EROFS, 2, "cannot be written (Read-only file system)"),
        (errno.ENOTDIR, 2, "cannot be written (Not a directory)"),
    ],
)
def test_no_room_is_another_fault_than_a_wrong_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, status: int, told: str
) -> None:
    """Only what can be written another time is said to be so."""

    def refuses(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", refuses)
    with pytest.raises(LongloomError, match=re.escape(told)) as fault:
        write("<!doctype html>", str(tmp_path / "report.html"))
    assert fault.value.exit_status == status and str(tmp_path) in str(fault.value)


def job_without_spark(monkeypatch: pytest.MonkeyPatch, fault: Exception | None = None) -> MagicMock:
    """jobs/report.py with nothing to show, or a `fault` where it gathers what there is."""
    build = MagicMock()
    monkeypatch.setattr("jobs.runtime.session.build_session", build)
    monkeypatch.setattr(report, "open_root", MagicMock())
    monkeypatch.setattr(report, "gather", MagicMock(side_effect=fault))
    monkeypatch.setattr(report, "page", MagicMock(return_value="<!doctype html>"))
    return build


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a file that is always full")
def test_a_report_that_finds_no_room_ends_as_a_run_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ["--root", str(tmp_path / "root"), "--no-mlflow", "--out"]
    session = job_without_spark(monkeypatch)
    assert report.main([*given, "/dev/full"]) == 6
    assert "the storage of /dev/full, or the machine's own scratch space, is full" in capsys.readouterr().err
    session.return_value.stop.assert_called_once()
    assert report.main([*given, "/dev/null/report.html"]) == 2
    job_without_spark(monkeypatch, PySparkException("java.io.IOException: No space left on device"))
    assert report.main([*given, str(tmp_path / "report.html")]) == 6
    assert f"the storage of {tmp_path}/root" in capsys.readouterr().err
    job_without_spark(monkeypatch, KeyError("rows"))
    with pytest.raises(KeyError):
        report.main([*given, str(tmp_path / "report.html")])


def test_the_file_is_logged_as_an_artifact(tmp_path: Path) -> None:
    import mlflow

    settings = load_settings(None, [], str(tmp_path))
    run = log_artifact(settings, str(tmp_path), b"<!doctype html>", "report", "report.html")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/_mlflow/mlflow.db")
    assert client.get_run(run).info.status == "FINISHED"
    assert [one.path for one in client.list_artifacts(run, "report")] == ["report/report.html"]
    write("<!doctype html>", str(tmp_path / "report.html"))
    drop_reports(str(tmp_path))
    assert list(tmp_path.rglob("*.html")) == [] and client.get_run(run).info.status == "FINISHED"
    drop_reports(str(tmp_path))


@pytest.mark.spark
def test_a_browser_draws_it_and_runs_no_script_of_a_document(data: Data, tmp_path: Path) -> None:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"none of {', '.join(BROWSERS)} on this machine (Debian: apt-get install chromium)")
    file = tmp_path / "report.html"
    write(page(data), str(file))

    def opened(fragment: str) -> str:
        profile = f"--user-data-dir={tmp_path / 'profile'}"
        command = [browser, *FLAGS, profile, "--window-size=1200,20000", "--dump-dom", f"{file.as_uri()}{fragment}"]
        run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert run.returncode == 0, run.stderr[-2_000:]
        assert "CONSOLE" not in run.stderr, run.stderr[-2_000:]
        return run.stdout

    dom = opened("#row=s1")
    shown = dom.partition("</header>")[2].partition('<script type="application/json"')[0]
    assert "<title>longloom report" in dom and "owned</title>" not in dom
    assert "&lt;/script&gt;&lt;script&gt;document.title" in shown and "<img" not in shown
    assert "with its documents: yes; without them: no." in shown
    assert "<mark>" in shown and 'class="row" open' in shown
    assert shown.count("<svg") >= 8, "charts were drawn"
    assert "1 row of 5 shown here" in opened("#search=0123456789")
    assert "0 rows of 5 shown here" in opened("#search=nowhere")
