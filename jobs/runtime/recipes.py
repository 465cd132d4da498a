"""The identity of what makes a row: settings that matter, prompt, model, revision of the stage.

Targets, inputs, budgets, time-outs and concurrency are left out on purpose: they change how much and
how fast, not what a row says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from jobs.runtime.settings import Settings
from jobs.runtime.stage import Stage
from udfs.llm.requests import prompt_sha
from udfs.llm.teachers import who_answers

NOT_IN_RECIPE: Mapping[str, frozenset[str]] = {
    "llm": frozenset({"base_url", "query", "api_key_env", "key_header", "cache_key", "coordinator_port", "stages"})
    | {"raised_max_tokens", "context_tokens", "concurrency", "timeout_s", "max_error_share"}
    | {"requests_per_minute", "tokens_per_minute", "rate_window_s"}
    | {"batch_requests", "batch_bytes", "batch_tokens", "batch_poll_s", "batch_wait_s"}
    | {"budget_calls", "budget_usd", "price_input", "price_output", "price_cached"},
    "tokenizer": frozenset({"engine", "parity_documents"}),  # every engine gives the reference's counts
    "embedder": frozenset({"batch_tokens", "device"}),
    "walks": frozenset({"max_candidates_per_target"}),
    "targets": frozenset({"single", "multi", "max_rounds", "expected_acceptance"}),
    "classifier": frozenset({"floor", "floor_rows"}),
    "influence": frozenset({"batch_tokens", "device"}),
}


def recipe(stage: Stage, settings: Settings) -> dict[str, Any]:
    """What makes the rows of `stage`, as plain data; a stage that asks a teacher adds the teacher's settings."""
    names = dict.fromkeys([*stage.sections, *(["llm"] if stage.asks else [])])
    made_from: dict[str, Any] = {"revision": stage.revision}
    for name in names:
        section = settings.llm.of(stage.name) if name == "llm" else getattr(settings, name)
        values = section.model_dump(mode="json")
        kept = {key: value for key, value in values.items() if key not in NOT_IN_RECIPE.get(name, ())}
        for one in stage.follow_ups:
            if name == one.section and not values[one.switch]:
                del kept[one.switch]  # a call that is not made changes nothing, and older roots know no switch
        if name == "llm":
            kept["teacher"] = who_answers(kept["teacher"])
        if kept:
            made_from[name] = kept
    if stage.takes_seed:
        made_from["seed"] = settings.seed
    if stage.task is not None:
        made_from["prompt_sha"] = prompt_sha(stage.task)
    for follow_up in stage.following(settings):
        if not follow_up.redraws:  # the prompt of a second draw is the stage's own
            made_from["follow_up_sha"] = prompt_sha(follow_up.task)
    return made_from


def identity(made_from: Mapping[str, Any]) -> str:
    """sha256 of the recipe, first 16 hex digits."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]


def differences(stored: Mapping[str, Any], now: Mapping[str, Any]) -> Iterable[str]:
    """Each key that changed, as `section.key: was → is`."""
    old, new = dict(_flat(stored)), dict(_flat(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)!r} → {new.get(key)!r}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
