"""Prompts in MLflow's registry: a version per text, found by the hash that stands on every row a prompt made.

The text in `udfs/llm/prompts` is the truth; the registry is told of it and never read back.
"""

from __future__ import annotations

from typing import Any

from udfs.llm.requests import PROMPTS, prompt_sha, prompt_text

PREFIX = "longloom-"
UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # of an alias that no version has


def alias_of(sha: str) -> str:
    """The alias under which the version of a text is found: `prompts:/longloom-answer@sha-…`."""
    return f"sha-{sha[:16]}"


def register_prompts(client: Any) -> dict[str, dict[str, str]]:
    """Register every prompt text that is not registered yet; version and hash by name (a task, or the correction turn).

    `client` is an MlflowClient. Raises MlflowException where its registry does not take prompts.
    """
    return {task: {"version": _version(client, task), "sha": prompt_sha(task)} for task in PROMPTS}


def _version(client: Any, task: str) -> str:
    from mlflow.exceptions import MlflowException

    name, sha = f"{PREFIX}{task.replace('_', '-')}", prompt_sha(task)
    try:
        return str(client.get_prompt_version_by_alias(name, alias_of(sha)).version)
    except MlflowException as error:
        if error.error_code not in UNKNOWN:
            raise
    made = client.register_prompt(name, prompt_text(task), tags={"longloom.sha256": sha})
    client.set_prompt_alias(name, alias_of(sha), made.version)
    return str(made.version)
