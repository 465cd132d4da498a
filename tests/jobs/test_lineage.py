"""MLflow is an account beside the tables: what fails in it while a run goes on is a warning, and the run goes on."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from pyspark.sql import SparkSession

from jobs.runtime.errors import Interrupted, LongloomError, StorageFault
from jobs.runtime.history import Execution
from jobs.runtime.lineage import LONGEST_PARAM, PARAMS_AT_ONCE, Lineage, log_artifact
from jobs.runtime.runs import runs
from jobs.runtime.settings import LineageSettings, Settings, load_settings
from jobs.runtime.summary import StageTally, Summary
from jobs.runtime.synthesis import Choices, Synthesis
from jobs.runtime.tables import Tables
from jobs.stages import STAGES
from tests.roots import prose, write_conversations, write_documents

SERVER = "http://mlflow:5000"
DONE = (Execution("documents", 0, "recipe", {}, {}, 3, "done", {}), StageTally("documents", 2, 2))
# As MLflow wraps what requests raises, as requests raises it, and as the client of a store for artifacts does.
FAULTS: tuple[Exception, ...] = (
    MlflowException("API request to http://mlflow:5000 failed with exception [Errno 111]\n Connection refused"),
    ConnectionError("Max retries exceeded"),
    type("S3UploadFailedError", (Exception,), {})("Failed to upload lineage.json: AccessDenied"),
)
FULL = MlflowException("(sqlite3.OperationalError) database or disk is full")


class Away:
    """A client whose calls fail from some call on."""

    def __init__(self, fault: Exception, first: str = "") -> None:
        self.fault, self.first, self.called = fault, first, list[str]()

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> MagicMock:
            self.called.append(name)
            if not self.first or self.first in self.called:
                raise self.fault
            return MagicMock()

        return call


def lineage_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: Away, uri: str | None = SERVER) -> Lineage:
    """One whose run has begun."""
    monkeypatch.setattr(Lineage, "_start", lambda self: None)
    made = Lineage(Settings(lineage=LineageSettings(tracking_uri=uri)), str(tmp_path / "root"), {}, "synthesize")
    made._client, made._run_id = client, "run"
    return made


def runner_of(root: Path) -> MagicMock:
    summary = Summary(run_id="run")
    summary.tally(StageTally("documents", 2, 2))
    runner = MagicMock(summary=summary, executed=[DONE], history=MagicMock())
    runner.tables.state = str(root)
    (root / "_scratch").mkdir(parents=True)
    return runner


def job_with(monkeypatch: pytest.MonkeyPatch, file: Path, **choices: Any) -> Synthesis:
    monkeypatch.setattr("jobs.runtime.synthesis.against_plan", lambda runner, history: [])
    return Synthesis(MagicMock(), Settings(), (), Choices(summary=str(file), **choices))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("outcome", ["FINISHED", "FAILED"])
def test_a_run_ends_as_it_would_where_mlflow_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    fault: Exception,
    outcome: str,
) -> None:
    """Of a run that is done, and of one that stopped: the summary says what MLflow does not hold."""
    runner, file = runner_of(tmp_path / "root"), tmp_path / "summary.json"
    job, lineage = job_with(monkeypatch, file), lineage_with(monkeypatch, tmp_path, Away(fault))
    if outcome == "FINISHED":
        job._close(runner, lineage, outcome)
    else:
        job._close_what_can_be(runner, lineage)
    told = json.loads(file.read_text())
    (warning,) = told["warnings"]
    assert f"MLflow at {SERVER} failed ({type(fault).__name__}: " in warning and "\n" not in warning
    assert "the account of the run is not there" in warning and "stage_runs hold it all" in warning
    assert told["status"] == "done" and not (tmp_path / "root/_scratch").exists()
    assert capsys.readouterr().err == f"warning: {warning}\n"


def test_the_summary_is_there_before_mlflow_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its client tries for minutes, and a scheduler may not wait for it."""
    runner, file = runner_of(tmp_path / "root"), tmp_path / "summary.json"
    lineage = MagicMock()
    lineage.close.side_effect = lambda *_: (json.loads(file.read_text()), runner.tables.state)
    job_with(monkeypatch, file)._close(runner, lineage, "FINISHED")
    lineage.close.assert_called_once()
    assert not (tmp_path / "root/_scratch").exists()


def test_a_run_is_ended_in_mlflow_where_only_its_files_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    client, summary = Away(FAULTS[2], "log_artifact"), Summary()
    summary.tally(StageTally("documents", 2, 2))
    client.set_terminated = ended = MagicMock()  # type: ignore[attr-defined]
    lineage_with(monkeypatch, tmp_path, client).close(summary, [], {}, "FINISHED")
    ended.assert_called_once_with("run", "FINISHED")
    assert "lineage.json or summary.json of the run is not there" in summary.warnings[0]


def test_a_run_that_goes_on_outlives_mlflow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runner, stop = runner_of(tmp_path / "root"), MagicMock()
    stop.wait.side_effect = [None, None, Interrupted(15)]
    job = job_with(monkeypatch, tmp_path / "summary.json", continuous=1.0)
    lineage = lineage_with(monkeypatch, tmp_path, Away(FAULTS[0], "log_batch"))

    def one_pass(*_: object) -> None:
        runner.executed[:] = [DONE]

    monkeypatch.setattr(job, "_pass", one_pass)
    with pytest.raises(Interrupted):
        job._passes(runner, lineage, stop)
    assert runner.executed == [] and stop.wait.call_count == 3
    (warning,) = runner.summary.warnings
    assert "the account of some executions of stages is not there" in warning
    assert capsys.readouterr().err.count("warning: MLflow at") == 3, "each pass says so in the log"
    assert len(lineage._stages) == 3, "the file of the run names them all the same"


def test_a_child_run_has_the_counts_of_its_own_execution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The stages of a round are executed many times, and the summary counts them together."""
    client, summary, first = MagicMock(), Summary(), StageTally("samples", 3, 3, calls=3)
    done = Execution("samples", 0, "recipe", {}, {}, 3, "done", {})
    for tally in (first, StageTally("samples", 2, 2, calls=2)):
        summary.tally(tally)
    assert (summary.stages["samples"].calls, first.calls) == (5, 3)
    lineage = lineage_with(monkeypatch, tmp_path, client)
    lineage.log_stages(summary, [(done, first)], {"samples": str(tmp_path)})
    (metrics,) = [call.args[1] for call in client.log_batch.call_args_list]
    assert {each.key: each.value for each in metrics}.items() >= {"calls": 3.0, "in": 3.0}.items()


def test_a_classifier_that_cannot_be_registered_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = Summary()
    lineage = lineage_with(monkeypatch, tmp_path, Away(FAULTS[0]))
    assert lineage.register_classifier(b"forest", {}, "types", summary) is None
    assert "the registered classifier is not there" in summary.warnings[0]


def test_a_root_that_is_full_in_mlflows_database_stops_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The database of a root is a part of it; the disk of somebody's server is not."""
    runner, file = runner_of(tmp_path / "root"), tmp_path / "summary.json"
    job = job_with(monkeypatch, file)
    with pytest.raises(MlflowException, match="disk is full"):
        job._close(runner, lineage_with(monkeypatch, tmp_path, Away(FULL), uri=None), "FINISHED")
    assert json.loads(file.read_text())["status"].startswith(f"stopped: the storage of {tmp_path}/root")
    runner.summary.status = "done"
    job._close(runner, lineage_with(monkeypatch, tmp_path, Away(FULL)), "FINISHED")
    assert runner.summary.status == "done" and len(runner.summary.warnings) == 1
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space"):
        lineage_with(monkeypatch, tmp_path, Away(full), uri=None).log_stages(Summary(), [DONE], {})
    assert StorageFault.exit_status == 6


def test_files_that_a_store_elsewhere_refuses_are_not_the_roots(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MLflow's database lies in the root, and the files of its runs do not."""
    summary = Summary()
    lineage = lineage_with(monkeypatch, tmp_path, Away(FAULTS[2]), uri=None)
    elsewhere = LineageSettings(artifact_location="s3://bucket/files")
    lineage._settings = Settings(lineage=elsewhere)
    assert lineage.register_classifier(b"forest", {}, "types", summary) is None
    assert "AccessDenied" in summary.warnings[0] and summary.status == "done"
    lineage._client = Away(FULL)
    with pytest.raises(MlflowException, match="disk is full"):
        lineage.register_classifier(b"forest", {}, "types", summary)


def test_a_bug_is_no_failure_of_mlflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The account of the run is written all the same."""
    runner, file = runner_of(tmp_path / "root"), tmp_path / "summary.json"
    job = job_with(monkeypatch, file)
    with pytest.raises(KeyError):
        job._close(runner, lineage_with(monkeypatch, tmp_path, Away(KeyError("source_files"))), "FINISHED")
    assert file.is_file() and not (tmp_path / "root/_scratch").exists() and not runner.summary.warnings


@pytest.mark.spark
def test_a_run_that_dies_of_a_bug_is_not_called_done(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl", [["Sum this up.", "In short: rice."]])
    given = [f"inputs={{conversations: ['{talk}'], documents: ['{talk}']}}"]
    root, file = tmp_path / "root", tmp_path / "summary.json"

    def broken(*_: object) -> None:
        raise KeyError("a text of somebody's")

    monkeypatch.setattr(Synthesis, "_passes", broken)
    settings = load_settings(None, given, str(root))
    with pytest.raises(KeyError):
        Synthesis(spark, settings, STAGES, Choices(summary=str(file))).run()
    assert json.loads(file.read_text())["status"] == "stopped: KeyError, which nobody foresaw; see the traceback"
    assert [one.status for one in runs(Tables(spark, settings.storage))] == ["stopped"]


@pytest.mark.spark
def test_a_whole_run_whose_mlflow_goes_away(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    talk = write_conversations(tmp_path / "talk.jsonl", [[f"Sum this up. {prose('rice', 4)}", "In short: rice."]])
    papers = write_documents(tmp_path / "papers.jsonl", [prose("tides", 10)])
    given = [f"inputs.conversations=['{talk}']", f"inputs.documents=['{papers}']"]
    root, file = tmp_path / "root", tmp_path / "summary.json"

    def away(*_: object, **__: object) -> None:
        raise FAULTS[0]

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", away)
    choices = Choices(until="documents", summary=str(file))
    assert Synthesis(spark, load_settings(None, given, str(root)), STAGES, choices).run() == 0
    told = json.loads(file.read_text())
    assert told["status"] == "done" and "the account of the run is not there" in told["warnings"][0]
    assert not (root / "_scratch").exists() and not (root / "_lock").exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_cannot_be_logged_is_told_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: Exception
) -> None:
    def begin(self: Lineage) -> None:
        self._client, self._run_id = Away(fault, "log_artifact"), "run"

    monkeypatch.setattr(Lineage, "_start", begin)
    settings = Settings(lineage=LineageSettings(tracking_uri=SERVER))
    with pytest.raises(LongloomError, match=r"so report\.html is not there; the file itself was written"):
        log_artifact(settings, str(tmp_path), b"<!doctype html>", "report", "report.html")


def test_a_root_without_room_for_the_copy_of_a_file_is_told_as_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As where the room runs out before the run begins; somebody's server may be full without being ours."""

    def begin(self: Lineage) -> None:
        self._client, self._run_id = Away(FULL, "log_artifact"), "run"

    monkeypatch.setattr(Lineage, "_start", begin)
    with pytest.raises(StorageFault, match="is full"):
        log_artifact(Settings(), str(tmp_path), b"<!doctype html>", "report", "report.html")
    elsewhere = Settings(lineage=LineageSettings(tracking_uri=SERVER))
    with pytest.raises(LongloomError, match="the file itself was written") as fault:
        log_artifact(elsewhere, str(tmp_path), b"<!doctype html>", "report", "report.html")
    assert not isinstance(fault.value, StorageFault)


def keys_of(values: dict[str, Any], prefix: str = "") -> set[str]:
    """The names of all values that a mapping holds, however deep."""
    found: set[str] = set()
    for key, value in values.items():
        found |= keys_of(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"}
    return found


def test_every_setting_arrives_in_the_run(tmp_path: Path) -> None:
    """MLflow takes a hundred parameters in a batch, and any number in a run: of its stages as of itself."""
    settings = Settings()
    told = settings.model_dump(mode="json")
    wanted = keys_of(told)
    assert len(wanted) > PARAMS_AT_ONCE and {"selection.per_type", "walks.tau"} <= wanted
    globs = [f"/data/ü{number:03d}/*.jsonl" for number in range(60)]
    told["inputs"] |= {"conversations": globs, "documents": globs * 10}
    lineage = Lineage(settings, str(tmp_path), told, "synthesize")
    summary = Summary(run_id=lineage.run_id)  # which waits for the start
    summary.tally(StageTally("documents", 2, 2))
    made_from = {f"key{number:03d}": number for number in range(2 * PARAMS_AT_ONCE + 1)}
    done = Execution("documents", 0, "recipe", made_from, {}, 3, "done", {})
    executed = [(done, summary.stages["documents"])]
    lineage.close(summary, executed, {"documents": str(tmp_path / "documents")}, "FINISHED")
    assert summary.warnings == []
    client = mlflow.MlflowClient(tracking_uri=lineage.tracking_uri)
    run = client.get_run(lineage.run_id)
    assert set(run.data.params) == wanted
    assert run.data.params["inputs.conversations"] == str(globs) and len(str(globs)) > 1_000
    cut = run.data.params["inputs.documents"]
    assert str(globs * 10).startswith(cut) and LONGEST_PARAM - 2 <= len(cut.encode()) <= LONGEST_PARAM
    assert run.data.tags["longloom.status"] == "done" and run.data.metrics["documents.kept"] == 2
    (child,) = client.search_runs([run.info.experiment_id], "tags.`longloom.kind` = 'stage'")
    assert child.data.params == {key: str(value) for key, value in made_from.items()}
