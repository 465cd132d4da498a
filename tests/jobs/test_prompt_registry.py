"""Prompts in MLflow: one version per text, found by its hash, in the local store."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from jobs.runtime import prompt_registry
from jobs.runtime.prompt_registry import alias_of, register_prompts
from udfs.llm.requests import PROMPTS, prompt_sha, prompt_text


def test_a_text_has_one_version_and_is_found_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(tracking_uri=store, registry_uri=store)
    first = register_prompts(client)
    assert first == {task: {"version": "1", "sha": prompt_sha(task)} for task in PROMPTS}
    assert "correction" in first
    assert register_prompts(client) == first, "again, nothing is new"
    found = client.get_prompt_version_by_alias("longloom-task-rewrite", alias_of(prompt_sha("task_rewrite")))
    assert found.template == prompt_text("task_rewrite")
    assert found.tags["longloom.sha256"] == prompt_sha("task_rewrite")

    edited = "9" * 64
    monkeypatch.setattr(prompt_registry, "prompt_sha", lambda task: edited if task == "meta" else prompt_sha(task))
    again = register_prompts(client)
    assert again["meta"] == {"version": "2", "sha": edited}
    assert {task: told for task, told in again.items() if task != "meta"} == {
        task: told for task, told in first.items() if task != "meta"
    }
