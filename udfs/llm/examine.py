"""A few small calls that tell what an endpoint can do: does it answer, hold replies to a schema, grant how much?

What a server is called tells nothing of this: the same model is served with a strict schema here and without one there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

from udfs.llm.openai_teacher import OpenAITeacher
from udfs.llm.requests import call_parameters
from udfs.llm.retry import RetryPolicy
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
_OF_THE_FORM = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.LENGTH, ErrorKind.EMPTY})
# Some servers, llama-cpp-python among them, end so when they are asked for a form that they do not know. A gateway's
# 502 to 504 never says it.
_CRASHES = frozenset({500, 501})


@dataclass(frozen=True)
class Examined:
    """What was found: the strictest `json_mode` that works, or the failed reply in which it ended."""

    json_mode: JsonMode | None
    reply: Reply

    @property
    def limits(self) -> Limits | None:
        """What the server says it grants."""
        return self.reply.limits


def examine(settings: LlmSettings, policy: RetryPolicy | None = None) -> Examined:
    """Ask the endpoint of these settings: a small call per form until one works, passing faults tried again.

    Runs its own event loop.
    """

    async def all_modes() -> Examined:
        teacher = OpenAITeacher(settings)
        try:
            return await _examine(teacher, settings, policy or RetryPolicy())
        finally:
            await teacher.aclose()

    return asyncio.run(all_modes())


async def _examine(teacher: Teacher, settings: LlmSettings, policy: RetryPolicy) -> Examined:
    crashed: list[JsonMode] = []
    for mode in _WISHES:
        reply = await _ask(teacher, _request(settings, mode), policy)
        if _works(mode, reply):
            return await _unless_stricter(teacher, settings, policy, crashed, Examined(mode, reply))
        if not _of_the_form(reply):
            break
        if reply.status == "passing":
            crashed.append(mode)
    return Examined(None, reply)


async def _unless_stricter(
    teacher: Teacher, settings: LlmSettings, policy: RetryPolicy, crashed: Sequence[JsonMode], found: Examined
) -> Examined:
    """The strictest of the forms that ended in a crash before, if it works now that the server answers; else `found`.

    Only a form that fails before and after another one worked is one that the server does not know.
    """
    for mode in crashed:
        reply = await _ask(teacher, _request(settings, mode), policy)
        if _works(mode, reply):
            return Examined(mode, reply)
        if not _of_the_form(reply):
            return Examined(None, reply)
    return found


async def _ask(teacher: Teacher, request: Request, policy: RetryPolicy) -> Reply:
    """One reply; a passing fault is tried again as the policy says."""
    for attempt in count(1):
        reply = await teacher.complete(request)
        wait = policy.wait_before(attempt, reply, str(request.parameters["json_mode"]))
        if wait is None:
            break
        await asyncio.sleep(wait)
    return reply


def _works(mode: JsonMode, reply: Reply) -> bool:
    talks = mode == "prompt" and reply.error_kind == ErrorKind.LENGTH  # it only says too much
    return talks or (reply.status == "ok" and _holds(mode, reply.text or ""))


def _of_the_form(reply: Reply) -> bool:
    """Whether what is wrong with a reply may be owed to the form that was asked for."""
    crashed = reply.error_kind == ErrorKind.SERVER and reply.http_status in _CRASHES
    return reply.status == "ok" or reply.error_kind in _OF_THE_FORM or crashed


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
