"""Reply models: one pydantic class per task gives the JSON schema sent out and the Spark type stored.

It knows the shape of replies and nothing of prompts, teachers or transports.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from udfs.settings import NOTHINGS

if TYPE_CHECKING:
    from pyspark.sql.types import DataType, StructType

# Strict structured output accepts only these keywords everywhere; the others are still checked by pydantic.
_KEPT_KEYWORDS = ("type", "properties", "required", "items", "enum", "const", "anyOf", "description")


class ReplyModel(BaseModel):
    """Base of all replies: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _as_list(value: object) -> object:
    """A lone string where a list is asked is a list of one: the commonest slip of servers without schemas."""
    return [value] if isinstance(value, str) else value


def _distinct(values: list[str]) -> list[str]:
    """Strip, drop "none"-like values and repeats; order is kept. Marks around a value stay until the graph is made."""
    stripped = (value.strip() for value in values)
    return list(dict.fromkeys(value for value in stripped if value.casefold() not in NOTHINGS))


def _stripped_text(value: str) -> str:
    """Strip; blank text is an error, so that an empty reply is never taken for an answer."""
    text = value.strip()
    if not text:
        raise ValueError("must not be blank")
    return text


Values = Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_distinct)]
Text = Annotated[str, AfterValidator(_stripped_text)]


class MetaReply(ReplyModel):
    """Thirteen facts about one conversation (WildLong, section 3.1)."""

    document_type: Text = Field(description="genre of the pasted text, not of the reply")
    tasks: Values = Field(description="what the user asks for, as short verb phrases")
    user_intention: Values = Field(description="the goal behind the request")
    user_profile: Values = Field(description="who the user seems to be: role or occupation, never a name")
    language_style: Values = Field(description="tone and register of the user's words")
    context: Values = Field(description="situation or domain in which the request is made")
    user_knowledge: Values = Field(description="what the user already knows")
    chatbot_knowledge: Values = Field(description="what one must know to answer well")
    long_context_capability: Values = Field(description="abilities on long text that the request needs")
    output_format: Values = Field(description="form the reply is to take")
    sentiment: Values = Field(description="feeling the user shows")
    constraint: Values = Field(description="limits set on the reply")
    simplified_instruction: Text = Field(description="the request in one sentence, without the pasted text")


class LabelReply(ReplyModel):
    """One label: a new name for a cluster, or a choice from a closed list."""

    label: Text = Field(description="the label, exactly as asked for")


class RewriteReply(ReplyModel):
    """A single-document value rewritten so that it needs several documents."""

    rewritten: Text = Field(description="the rewritten value, of about the same length")


class InstructionReply(ReplyModel):
    """A request that a user might send along with long text."""

    instruction: Text = Field(description="one natural request to somebody who has the attached text")


class Quote(ReplyModel):
    """A passage copied from one of the documents; `document` counts from 1."""

    document: int = Field(ge=1, description="number of the document the passage is copied from")
    text: Text = Field(description="passage copied word for word from that document")


class AnswerReply(ReplyModel):
    """The adapted request, its grounded answer, and the passages the answer rests on."""

    answerable: bool = Field(description="false when the documents do not hold the answer")
    instruction: str = Field(description="the request, adapted to these documents")
    response: str = Field(description="the answer, resting on the documents alone")
    quotes: list[Quote] = Field(description="passages copied word for word that support the answer")

    @model_validator(mode="after")
    def _says_something(self) -> AnswerReply:
        """An answerable request needs both texts; an unanswerable one needs neither."""
        if self.answerable and not (self.instruction.strip() and self.response.strip()):
            raise ValueError("instruction and response must not be blank when answerable is true")
        return self


class AnswerabilityReply(ReplyModel):
    """Whether a request needs its documents; the reason comes first, so that the verdicts follow from it."""

    why: Text = Field(description="one sentence of reasons for both verdicts")
    with_document: bool = Field(description="whether the documents hold all that an answer needs")
    without_document: bool = Field(description="whether it can be answered as well by somebody without the documents")


@cache
def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """JSON schema of `model` as strict structured output wants it.

    References are inlined, every property is required, no object takes further keys, and only keywords that
    every server accepts are kept. Properties stay in the order of the fields: models fill them in that order.
    Made once per model, so the result must not be changed.
    """
    raw = model.model_json_schema()
    return _strict(raw, raw.get("$defs", {}))


def _strict(node: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """One schema node and all below it, in strict form."""
    if "$ref" in node:
        return _strict(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
    if node.get("type") == "object":
        properties = {name: _strict(child, definitions) for name, child in node["properties"].items()}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    kept = {key: value for key, value in node.items() if key in _KEPT_KEYWORDS}
    if "items" in kept:
        kept["items"] = _strict(kept["items"], definitions)
    if "anyOf" in kept:
        kept["anyOf"] = [_strict(child, definitions) for child in kept["anyOf"]]
    return kept


def spark_type(model: type[BaseModel]) -> StructType:
    """Spark struct of a reply model: same names, same order, every field nullable.

    Raises TypeError for an annotation that has no Spark counterpart.
    """
    from pyspark.sql.types import StructField, StructType

    hints = typing.get_type_hints(model)
    return StructType([StructField(name, _spark_type_of(hints[name]), True) for name in model.model_fields])


def _spark_type_of(hint: Any) -> DataType:
    """Spark type of one annotation."""
    from pyspark.sql.types import ArrayType, BooleanType, DoubleType, LongType, StringType

    plain: dict[Any, DataType] = {
        str: StringType(),
        bool: BooleanType(),
        int: LongType(),
        float: DoubleType(),
    }
    if hint in plain:
        return plain[hint]
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return spark_type(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _spark_type_of(arguments[0])
    if origin is list:
        return ArrayType(_spark_type_of(arguments[0]), True)
    if origin is Literal:
        return _spark_type_of(type(arguments[0]))
    if origin in (typing.Union, types.UnionType):
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _spark_type_of(inner)
    raise TypeError(f"{hint!r} in a reply model has no Spark type; use str, bool, int, float, list or a model")
