"""A few small calls that tell what an endpoint can do: does it answer, hold replies to a schema, grant how much?

What a server is called tells nothing of this: the same model is served with a strict schema here and without one there.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Literal

from udfs.llm.openai_teacher import OpenAITeacher
from udfs.llm.requests import call_parameters
from udfs.llm.teacher import ErrorKind, Limits, Message, Reply, Request, Teacher
from udfs.settings import LlmSettings

JsonMode = Literal["schema", "object_schema", "object", "prompt"]
LONGEST_REPLY = 256
# A value that no model says by itself: only a server that holds to the schema brings it.
_MARK = "longloom-7f3c"
_SCHEMA = {
    "type": "object",
    "properties": {"probe": {"type": "string", "enum": [_MARK]}},
    "required": ["probe"],
    "additionalProperties": False,
}
_WISHES: dict[JsonMode, str] = {
    "schema": "Say hello in one word.",
    "object_schema": "Say hello in one word as JSON.",
    "object": "Say hello as a JSON object with the one field greeting.",
    "prompt": "Say hello in one word.",
}
# Refusals that may be meant for the form of the reply; any other failure is the endpoint's.
_OF_THE_FORM = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.SERVER, ErrorKind.LENGTH, ErrorKind.EMPTY})


@dataclass(frozen=True)
class Examined:
    """What was found: the strictest `json_mode` that works, or the failed reply in which every call ended."""

    json_mode: JsonMode | None
    reply: Reply

    @property
    def limits(self) -> Limits | None:
        """What the server says it grants."""
        return self.reply.limits


def examine(settings: LlmSettings) -> Examined:
    """Ask the endpoint of these settings; at most four calls, each tried once. Runs its own event loop."""

    async def all_modes() -> Examined:
        teacher = OpenAITeacher(settings)
        try:
            return await _examine(teacher, settings)
        finally:
            await teacher.aclose()

    return asyncio.run(all_modes())


async def _examine(teacher: Teacher, settings: LlmSettings) -> Examined:
    reply = None
    for mode in _WISHES:
        reply = await teacher.complete(_request(settings, mode))
        talks = mode == "prompt" and reply.error_kind == ErrorKind.LENGTH  # it only says too much
        if talks or (reply.status == "ok" and _holds(mode, reply.text or "")):
            return Examined(mode, reply)
        if reply.status != "ok" and reply.error_kind not in _OF_THE_FORM:
            break
    assert reply is not None
    return Examined(None, reply)


def _request(settings: LlmSettings, mode: JsonMode) -> Request:
    parameters = {**call_parameters(settings), "json_mode": mode, "max_tokens": LONGEST_REPLY}
    return Request("", "probe", {}, (Message(role="user", content=_WISHES[mode]),), parameters, _SCHEMA)


def _holds(mode: JsonMode, text: str) -> bool:
    """Whether a reply has the form that its mode asks for."""
    if mode == "prompt":
        return True
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return isinstance(value, dict) and (mode == "object" or value == {"probe": _MARK})
