"""MLflow lineage: one run per invocation, a child per stage, inputs and outputs with Delta versions.

MLflow is imported and its database opened in a thread while Spark starts, because both take seconds. It is an account
beside the tables: what fails in it once a run has begun is a warning, and the run goes on.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobs.runtime.errors import LongloomError, StorageFault, said
from jobs.runtime.history import Execution
from jobs.runtime.prompt_registry import register_prompts
from jobs.runtime.settings import Settings
from jobs.runtime.storage_faults import storage_fault
from jobs.runtime.summary import StageTally, Summary
from jobs.runtime.tracking_store import local_store, make_whole

BUGS = (AssertionError, AttributeError, LookupError, NameError, TypeError)  # never what a server or a store does
# What MLflow takes, 3.8 as 3.17 (mlflow/utils/validation.py): a run holds any number of parameters, a batch a hundred.
PARAMS_AT_ONCE = 100
LONGEST_PARAM = 6_000  # bytes of a value: our MLflow counts characters, its REST interface promises bytes

Executed = tuple[Execution, StageTally]  # an execution of a stage with its own counts

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # it tells each step of making its database


def preload() -> None:
    """Begin importing MLflow, which takes seconds, while other things start."""
    threading.Thread(target=lambda: __import__("mlflow"), daemon=True).start()


class Lineage:
    """The MLflow run of this invocation. `run_id` waits for the background start."""

    def __init__(self, settings: Settings, state: str, config: Mapping[str, Any], name: str) -> None:
        self._name = name
        self._settings = settings
        self._config = config
        self._state = state
        self._own_store = None if settings.lineage.tracking_uri else local_store(state)
        self.tracking_uri = settings.lineage.tracking_uri or f"sqlite:///{self._own_store}"
        self.artifacts = settings.lineage.artifact_location or (
            None if settings.lineage.tracking_uri else Path(state, "_mlflow", "artifacts").absolute().as_uri()
        )
        self._run_id = ""
        self._experiment = ""
        self._failure: BaseException | None = None
        self._client: Any = None
        self._prompts: dict[str, dict[str, str]] = {}
        self._stages: list[dict[str, Any]] = []  # executions as they stand in `lineage.json`
        self.warning: str | None = None  # when prompts could not be registered: they stand on rows by hash all the same
        self._missing: set[str] = set()  # what the summary says is not in MLflow
        self._thread = threading.Thread(target=self._start, daemon=True)
        self._thread.start()

    @property
    def run_id(self) -> str:
        """Id of the MLflow run. Raises StorageFault where the root has no room for it, else LongloomError."""
        self._thread.join()
        if self._failure is not None:
            if self._own_store is not None and (full := storage_fault(self._failure, self._state)):
                raise full from self._failure
            raise LongloomError(
                f"MLflow at {self.tracking_uri} cannot be used: {self._failure}. "
                "Check lineage.tracking_uri and lineage.artifact_location; nothing was written."
            ) from self._failure
        return self._run_id

    def _start(self) -> None:
        try:
            import mlflow

            # It logs with a traceback what it raises as well: a full disk ends a run with one sentence.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            if self._own_store is not None:
                make_whole(self._own_store)
            self._client = mlflow.MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            name = self._settings.lineage.experiment
            found = self._client.get_experiment_by_name(name)
            self._experiment = (
                found.experiment_id
                if found is not None
                else self._client.create_experiment(name, artifact_location=self.artifacts)
            )
            run = self._client.create_run(self._experiment, run_name=self._name, tags={"longloom.kind": "run"})
            self._register_prompts()
            self._run_id = run.info.run_id
        except BaseException as error:  # told to whoever asks for the run id
            self._failure = error

    def _register_prompts(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._prompts = register_prompts(self._client)
        except MlflowException as error:
            self.warning = f"prompts could not be registered in MLflow at {self.tracking_uri}: {error.message}"

    @contextmanager
    def _sparing(self, summary: Summary, missing: str) -> Iterator[None]:
        """Turn what fails in MLflow into a warning that says what is `missing` there.

        Clients of servers and of stores for artifacts have errors of their own, so all but bugs count. A full or
        refusing storage of the root itself is no such failure, and its error is raised as it is.
        """
        try:
            yield
        except BUGS:
            raise
        except Exception as error:
            if full := self.own_fault(error):
                if not summary.status.startswith("stopped"):  # else it is known why the run ended
                    summary.status = f"stopped: {full}"
                raise
            sentence = (
                f"MLflow at {self.tracking_uri} failed ({said(error)}), so {missing} not there, or not whole; the "
                "Delta tables and their stage_runs hold it all"
            )
            print(f"warning: {sentence}", file=sys.stderr, flush=True)  # a run may go on for weeks before its summary
            if missing not in self._missing:  # once in the summary: what is said in brackets may differ each time
                self._missing.add(missing)
                summary.warn(sentence)

    def own_fault(self, error: BaseException) -> StorageFault | None:
        """The sentence for an error behind which the root's storage stands; None for every other error.

        It is the root's where MLflow's database lies in it, and not where it may be that of artifacts elsewhere.
        """
        if self._own_store is None:
            return None
        if self._settings.lineage.artifact_location is not None and "sqlite3." not in str(error):
            return None
        return storage_fault(error, self._state)

    def register_classifier(self, model: bytes, figures: Mapping[str, Any], name: str, summary: Summary) -> str | None:
        """Log the forest (skops bytes, no pickle) and register it, once; returns its model version, None without."""
        version: str | None = None
        with self._sparing(summary, "the registered classifier is"):
            version = self._registered(model, figures, name)
        return version  # noqa: RET504 (mypy takes it that a context lets every error through)

    def _registered(self, model: bytes, figures: Mapping[str, Any], name: str) -> str:
        import mlflow.exceptions

        folder = f"classifier/{hashlib.sha256(model).hexdigest()[:16]}"
        for known in self._client.search_model_versions(f"name='{name}'"):
            if known.source.endswith(f"/{folder}"):
                return str(known.version)
        self._log_bytes(model, folder, "forest.skops")
        self._log_bytes(json.dumps(figures, indent=2, sort_keys=True).encode(), folder, "figures.json")
        try:
            self._client.create_registered_model(name)
        except mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self._client.get_run(self.run_id).info.artifact_uri}/{folder}"
        return str(self._client.create_model_version(name, source, run_id=self.run_id).version)

    def close(self, summary: Summary, executed: Sequence[Executed], locations: Mapping[str, str], status: str) -> None:
        """Log parameters, a child run per stage with its datasets, and `lineage.json`."""
        with self._sparing(summary, "the account of the run is"):
            self._log_account(summary)
            self._log_stages(executed, locations)
            with self._sparing(summary, "lineage.json or summary.json of the run is"):
                self._log_files(summary)  # they may be kept elsewhere, so the run is ended without them
            self._client.set_terminated(self.run_id, status)

    def log_stages(self, summary: Summary, executed: Sequence[Executed], locations: Mapping[str, str]) -> None:
        """Log executions of stages; they go into `lineage.json` when the run is closed."""
        with self._sparing(summary, "the account of some executions of stages is"):
            self._log_stages(executed, locations)

    def _log_account(self, summary: Summary) -> None:
        """Parameters, counts and prompts of the run."""
        from mlflow.entities import Metric, RunTag

        versions = [RunTag(f"longloom.prompt.{task}", told["version"]) for task, told in self._prompts.items()]
        metrics = [
            Metric(f"{name}.{field}", float(value), 0, 0)
            for name, tally in summary.stages.items()
            for field, value in tally.as_dict().items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        self._log_facts(self.run_id, metrics, self._config, [RunTag("longloom.status", summary.status), *versions])

    def _log_facts(self, run: str, metrics: Sequence[Any], told: Mapping[str, Any], tags: Sequence[Any] = ()) -> None:
        """Log metrics, tags and all of `told` as parameters of a run, in as many batches as they need."""
        from mlflow.entities import Param

        params = [Param(key, _cut(str(value))) for key, value in sorted(_flat(told))]
        self._client.log_batch(run, metrics, params[:PARAMS_AT_ONCE], tags)
        for start in range(PARAMS_AT_ONCE, len(params), PARAMS_AT_ONCE):
            self._client.log_batch(run, params=params[start : start + PARAMS_AT_ONCE])

    def _log_stages(self, executed: Sequence[Executed], locations: Mapping[str, str]) -> None:
        for done, _ in executed:  # first for the file, which names those as well that could not be logged
            told = {"inputs": dict(done.inputs), "output_version": done.output_version}
            self._stages.append({"stage": done.stage, **told, "recipe": done.recipe, "epoch": done.epoch})
        for done, tally in executed:
            self._log_stage(done, tally, locations)

    def _log_files(self, summary: Summary) -> None:
        record = {"run_id": self.run_id, "status": summary.status, "prompts": self._prompts, "stages": self._stages}
        self._log_bytes(json.dumps(record, indent=2).encode(), "", "lineage.json")
        self._log_bytes(json.dumps(summary.as_dict(), indent=2).encode(), "", "summary.json")

    def log_file(self, content: bytes, name: str) -> None:
        """Log a file and end the run, which has begun."""
        self._log_bytes(content, self._name, name)
        self._client.set_terminated(self.run_id, "FINISHED")

    def _log_stage(self, done: Execution, tally: StageTally, locations: Mapping[str, str]) -> None:
        """A nested run for one execution of a stage; datasets carry their Delta versions in the digest."""
        from mlflow.data.delta_dataset_source import DeltaDatasetSource
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag, Metric

        tags = {"mlflow.parentRunId": self.run_id, "longloom.kind": "stage", "longloom.recipe": done.recipe}
        child = self._client.create_run(self._experiment, run_name=done.stage, tags=tags)
        told = tally.as_dict()
        metrics = [Metric(key, float(value), 0, 0) for key, value in told.items() if isinstance(value, int | float)]
        self._log_facts(child.info.run_id, metrics, done.made_from)
        versions = [(name, version, "input") for name, version in done.inputs.items() if version >= 0]
        versions.append((done.stage, done.output_version, "output"))
        datasets = []
        for name, version, role in versions:
            # MLflow drops version 0 from the source, so the digest and a tag carry it too.
            source = DeltaDatasetSource(path=locations[name], delta_table_version=version)
            meta: Any = MetaDataset
            dataset = meta(source, name=name, digest=f"v{version}")
            labels = [InputTag("mlflow.data.context", role), InputTag("delta_version", str(version))]
            datasets.append(DatasetInput(dataset._to_mlflow_entity(), labels))
        self._client.log_inputs(child.info.run_id, datasets)
        self._client.set_terminated(child.info.run_id, "FINISHED")

    def _log_bytes(self, content: bytes, folder: str, name: str) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, name)
            file.write_bytes(content)
            self._client.log_artifact(self.run_id, str(file), folder or None)


def log_artifact(settings: Settings, state: str, content: bytes, kind: str, name: str) -> str:
    """Log a file that was made from a root as the artifact of a run of its own; the run's id.

    Raises StorageFault where it lies in the root and there is no room, LongloomError where it cannot be reached.
    """
    lineage = Lineage(settings, state, {}, kind)
    run_id = lineage.run_id  # waits for the start
    try:
        lineage.log_file(content, name)
    except BUGS:
        raise
    except Exception as error:  # clients of servers and stores have errors of their own
        raise lineage.own_fault(error) or LongloomError(
            f"MLflow at {lineage.tracking_uri} failed ({said(error)}), so {name} is not there; the file itself was "
            "written"
        ) from error
    return run_id


def _cut(value: str) -> str:
    """As much of a value as MLflow takes; what is cut off stands in `stage_runs`."""
    return value.encode("utf-8", errors="replace")[:LONGEST_PARAM].decode("utf-8", errors="ignore")


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        pairs += _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return pairs
