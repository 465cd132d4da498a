"""Requests: a task's prompt file and variables become messages, and messages become a keyed row.

Variables are only ever data: they are put inside fences as they are and never rendered as templates. Who
answers a request, and whether it was answered before, is not known here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import pyarrow as pa
from jinja2 import StrictUndefined, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from udfs.llm.schemas import json_schema
from udfs.llm.tasks import TASKS, Task, task_named
from udfs.llm.teacher import Message, Request
from udfs.llm.text import canonical_json, encodable, fence
from udfs.settings import LlmSettings

REQUEST_DDL = (
    "key string, input_id string, document string, task string, variables string, "
    "messages array<struct<role:string,content:string>>, parameters string, prompt_sha string"
)
REQUEST_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("input_id", pa.string()),
        ("document", pa.string()),
        ("task", pa.string()),
        ("variables", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
        ("parameters", pa.string()),
        ("prompt_sha", pa.string()),
    ]
)

Batches = Iterator[pa.RecordBatch]
CORRECTION_FILE = "correction.j2"
CORRECTION = "correction"  # the prompt of a further turn, not of a task
PROMPTS = (*TASKS, CORRECTION)
HELD_TO_SCHEMA = ("schema", "object_schema")  # modes in which the server is given the schema, in its own form


class PromptError(ValueError):
    """A task was given other variables than its prompt names: a fault of the caller, not of a row."""


@dataclass(frozen=True)
class Rendered:
    """Messages of one request and the hash of the prompt text that made them."""

    messages: tuple[Message, ...]
    prompt_sha: str


def _prompt_text(name: str) -> str:
    """Text of one prompt file; also found when the package runs from a zip."""
    file = resources.files("udfs.llm").joinpath("prompts", name)
    if not file.is_file():
        raise TemplateNotFound(name)
    return file.read_text(encoding="utf-8")


def _as_json(value: Any) -> str:
    """JSON for people and models to read: one element of a list per line, letters as they are."""
    if isinstance(value, list):
        return "\n".join(json.dumps(item, ensure_ascii=False, sort_keys=True) for item in value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    """The one template environment; it renders prompt files only, never a variable."""
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["fence"] = fence
    environment.filters["as_json"] = _as_json
    return environment


@cache
def prompt_sha(task_name: str) -> str:
    """sha256 of a prompt file; a task's is part of the recipe of what it makes."""
    return hashlib.sha256(prompt_text(task_name).encode("utf-8")).hexdigest()


def prompt_text(name: str) -> str:
    """One of PROMPTS, as it is hashed."""
    return _prompt_text(CORRECTION_FILE if name == CORRECTION else task_named(name).prompt_file)


def _block(prompt_file: str, block: str, variables: Mapping[str, Any]) -> str:
    """One block of a prompt file with its variables."""
    template = _template(prompt_file)
    return encodable("".join(template.blocks[block](template.new_context(dict(variables))))).strip()


@cache
def _template(prompt_file: str) -> Any:
    return _environment().from_string(_prompt_text(prompt_file))


def _schema_note(task: Task) -> str:
    """What a server without strict schemas has to be told in words."""
    schema = json.dumps(json_schema(task.reply), ensure_ascii=False)
    return f"Reply with one JSON object and nothing else. It must satisfy this JSON schema:\n{schema}"


def render(task_name: str, variables: Mapping[str, Any], json_mode: str = "schema") -> Rendered:
    """Messages for a task: one system and one user message.

    In the modes "object" and "prompt" the schema is told in words: behind the document where the document
    comes first, else among the fixed instructions, so that the shared prefix stays shared.
    Raises PromptError when variables are missing or unknown, and for the mode "auto": no request is made in it.
    """
    if json_mode == "auto":
        raise PromptError(f"task {task_name!r}: json_mode auto must be decided before a request is rendered")
    task = task_named(task_name)
    if set(variables) != task.variables:
        missing, unknown = sorted(task.variables - set(variables)), sorted(set(variables) - task.variables)
        raise PromptError(f"task {task_name!r}: variables missing {missing}, unknown {unknown}")
    system = _block(task.prompt_file, "system", variables)
    user = _block(task.prompt_file, "user", variables)
    if json_mode not in HELD_TO_SCHEMA:
        note = _schema_note(task)
        system, user = (system, f"{user}\n\n{note}") if task.document_first else (f"{system}\n\n{note}", user)
    messages = (Message(role="system", content=system), Message(role="user", content=user))
    return Rendered(messages, prompt_sha(task_name))


def call_parameters(settings: LlmSettings) -> dict[str, Any]:
    """What shapes a reply besides its messages; time-outs, concurrency and addresses do not."""
    parameters: dict[str, Any] = {
        "model": settings.model,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "json_mode": settings.json_mode,
    }
    if settings.seed is not None:
        parameters["seed"] = settings.seed
    if settings.extra_body:
        parameters["extra_body"] = dict(settings.extra_body)
    return parameters


def reply_limit(parameters: Mapping[str, Any]) -> int:
    """The most tokens that a reply may have: what `extra_body` says of it wins over ours, as on the wire."""
    extra = parameters.get("extra_body", {})
    return int(extra.get("max_completion_tokens") or extra.get("max_tokens") or parameters["max_tokens"])


def request_key(messages: Sequence[Message], parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """sha256 of the canonical request: model and parameters, messages, reply schema."""
    content = [{"role": message["role"], "content": message["content"]} for message in messages]
    whole = canonical_json({"messages": content, "parameters": dict(parameters), "schema": dict(schema)})
    return hashlib.sha256(whole.encode("ascii")).hexdigest()


def make_request(task_name: str, variables: Mapping[str, Any], settings: LlmSettings) -> Request:
    """One request, ready for a teacher; for callers on the driver that need no table."""
    return build_request(task_name, variables, call_parameters(settings))


def build_request(
    task_name: str, variables: Mapping[str, Any], parameters: Mapping[str, Any], document: str | None = None
) -> Request:
    """One request with the parameters of `call_parameters`. Raises PromptError as `render` does."""
    rendered = render(task_name, variables, str(parameters["json_mode"]))
    schema = json_schema(TASKS[task_name].reply)
    key = request_key(rendered.messages, parameters, schema)
    return Request(key, task_name, variables, rendered.messages, parameters, schema, document)


def request_row(request: Request, input_id: str, variables: str) -> dict[str, Any]:
    """A request as a row of REQUEST_DDL; `variables` is its JSON text."""
    return {
        "key": request.key,
        "input_id": input_id,
        "document": request.document,
        "task": request.task,
        "variables": variables,
        "messages": list(request.messages),
        "parameters": canonical_json(dict(request.parameters)),
        "prompt_sha": prompt_sha(request.task),
    }


def correction(request: Request, reply_text: str, problem: str) -> Request:
    """The one further turn after a reply that does not fit its schema; it has a key of its own."""
    user = _block(CORRECTION_FILE, "user", {"problem": problem})
    turns = (
        Message(role="assistant", content=encodable(reply_text)),
        Message(role="user", content=user),
    )
    messages = request.messages + turns
    key = request_key(messages, request.parameters, request.reply_schema)
    return replace(request, key=key, messages=messages)


def longer(request: Request, max_tokens: int) -> Request:
    """The same request with room for a longer reply; it has a key of its own."""
    parameters = {**request.parameters, "max_tokens": max_tokens}
    extra = parameters.get("extra_body", {})
    if "max_completion_tokens" in extra:  # the name that newer models have for it wins over ours
        parameters["extra_body"] = {**extra, "max_completion_tokens": max_tokens}
    key = request_key(request.messages, parameters, request.reply_schema)
    return replace(request, key=key, parameters=parameters)


def next_draw(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The same parameters with the next seed, 1 where there was none: the same request, drawn once more."""
    drawn = {**parameters, "seed": parameters.get("seed", 0) + 1}
    extra = parameters.get("extra_body", {})
    if isinstance(extra.get("seed"), int):  # it wins over ours
        drawn["extra_body"] = {**extra, "seed": extra["seed"] + 1}
    return drawn


def build_requests(task_name: str, settings: LlmSettings) -> Callable[[Batches], Batches]:
    """A function for `DataFrame.mapInArrow`: (input_id, document, variables JSON) to REQUEST_DDL rows."""
    task_named(task_name)  # an unknown name fails on the driver

    def run(batches: Batches) -> Batches:
        parameters = call_parameters(settings)
        for batch in batches:
            columns = zip(
                batch.column("input_id").to_pylist(),
                batch.column("document").to_pylist(),
                batch.column("variables").to_pylist(),
                strict=True,
            )
            rows = []
            for input_id, document, variables in columns:
                request = build_request(task_name, json.loads(variables), parameters, document)
                rows.append(request_row(request, input_id, variables))
            yield pa.RecordBatch.from_pylist(rows, schema=REQUEST_SCHEMA)

    return run
