"""Reading replies: the text of a reply becomes a checked value, or a sentence saying what is wrong with it.

It repairs what a library can repair and never guesses: a value the model did not give is an error.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import json_repair
from pydantic import BaseModel, ValidationError

from udfs.llm.schemas import spark_type
from udfs.llm.tasks import task_named

if TYPE_CHECKING:
    from pyspark.sql._typing import UserDefinedFunctionLike

_THINKING = re.compile(r"\A\s*<(think|thinking|reasoning)>.*?</\1>", re.DOTALL)
_CODE_FENCE = re.compile(r"\A```[A-Za-z]*[^\S\n]*\n(.*)```\Z", re.DOTALL)  # of a text without white space at its ends
# Chat templates of some models open the tag themselves, so that the reply holds only its end.
_THOUGHT = re.compile(r"</(?:think|thinking|reasoning)>")
_UNENDED = re.compile(r"<(think|thinking|reasoning)>(?!.*</\1>)", re.DOTALL)
_MAX_FAULTS = 5  # named in an error; a reply of prose breaks every field at once


@dataclass(frozen=True)
class Parsed:
    """A checked reply, or why there is none; `repaired` says that the JSON itself had to be mended."""

    value: BaseModel | None
    error: str | None
    repaired: bool


def parse_reply(text: str | None, task_name: str) -> Parsed:
    """Read `text` as the reply model of a task.

    Order: strict JSON without thinking tags and code fences, of what follows an end of thinking where there is one;
    then mended by json-repair. Whatever comes out must satisfy the model; nulls, unknown keys and blank
    required texts do not. Thinking that never ended is no reply.
    """
    model = task_named(task_name).reply
    if text is None or not text.strip():
        return Parsed(None, "the reply is empty", False)
    body = _unfenced(_THINKING.sub("", text))
    if _UNENDED.match(body):
        return Parsed(None, "the reply ends within its thinking", False)
    value, repaired = _strict_json(body), False
    if not isinstance(value, dict):
        body = _behind_thinking(body)
        value = _strict_json(body)
    if not isinstance(value, dict):
        value, repaired = _mended_json(body), True
    if not isinstance(value, dict):
        return Parsed(None, "the reply holds no JSON object", False)
    try:
        return Parsed(model.model_validate(value), None, repaired)
    except ValidationError as error:
        return Parsed(None, _faults(error), repaired)


def _unfenced(text: str) -> str:
    """The text without white space at its ends, and without the code fence around all of it."""
    return _CODE_FENCE.sub(r"\1", text.strip()).strip()


def _behind_thinking(body: str) -> str:
    """What follows the last end of thinking, or the first; all of the text where the tag stands within the reply.

    That is in a string of JSON that has to be mended: the text begins as JSON does, or an object ends behind the tag
    that did not begin there.
    """
    ends = [tag.end() for tag in _THOUGHT.finditer(body)]
    behind = [_unfenced(body[end:]) for end in dict.fromkeys((ends[-1], ends[0]))] if ends else []
    for text in behind:
        if isinstance(_strict_json(text), dict):
            return text
    if not behind or body.startswith(("{", "```")):
        return body
    within = body if "}" in behind[0] else behind[0]
    return next((text for text in behind if "{" in text), within)


def _strict_json(text: str) -> Any:
    """The JSON value of a text, or None."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _mended_json(text: str) -> Any:
    """What json-repair makes of the text from its first brace on; a list of one counts as its one."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        value = json_repair.loads(text[start:], skip_json_loads=True)
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list) and len(value) == 1:
        return value[0]
    return value


def _faults(error: ValidationError) -> str:
    """Field by field what is wrong, without the offending values: they can be long and are only data."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    named = [
        f"{'.'.join(str(part) for part in fault['loc']) or 'reply'}: {fault['msg']}" for fault in faults[:_MAX_FAULTS]
    ]
    more = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    return "; ".join(named + more)


def reply_reader(task_name: str) -> UserDefinedFunctionLike:
    """A Spark UDF from reply text to struct<value, error, repaired>: `value` has the task's reply type."""
    from pyspark.sql.functions import udf
    from pyspark.sql.types import BooleanType, StringType, StructField, StructType

    returned = StructType(
        [
            StructField("value", spark_type(task_named(task_name).reply), True),
            StructField("error", StringType(), True),
            StructField("repaired", BooleanType(), False),
        ]
    )

    def read(text: str | None) -> tuple[Any, str | None, bool]:
        parsed = parse_reply(text, task_name)
        value = None if parsed.value is None else parsed.value.model_dump()
        return value, parsed.error, parsed.repaired

    return udf(lambda text: read(text), returned)  # unhinted, or Spark takes the hints for a pandas UDF's
