"""Reply models: strict schemas, Spark types, and what a reply must satisfy."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ValidationError
from pyspark.sql.types import StructType

from udfs.llm.schemas import AnswerReply, MetaReply, ReplyModel, json_schema, spark_type
from udfs.llm.tasks import TASKS, task_named


def objects(node: Any) -> list[dict[str, Any]]:
    """All object nodes of a schema."""
    if isinstance(node, list):
        return [found for child in node for found in objects(child)]
    if not isinstance(node, dict):
        return []
    below = [found for child in node.values() for found in objects(child)]
    return [node, *below] if node.get("type") == "object" else below


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_schema_is_strict(task: Any) -> None:
    schema = json_schema(task.reply)
    for node in objects(schema):
        assert node["additionalProperties"] is False
        assert node["required"] == list(node["properties"])
    text = repr(schema)
    assert all(word not in text for word in ("$ref", "$defs", "default", "minimum", "title"))
    assert list(schema["properties"]) == list(task.reply.model_fields)


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_spark_type_has_the_names_of_the_model(task: Any) -> None:
    found = spark_type(task.reply)
    assert isinstance(found, StructType)
    assert found.names == list(task.reply.model_fields)


def test_spark_type_of_nested_replies() -> None:
    assert spark_type(AnswerReply).simpleString() == (
        "struct<answerable:boolean,instruction:string,response:string,"
        "quotes:array<struct<document:bigint,text:string>>>"
    )
    assert len(spark_type(MetaReply).names) == 13


def test_spark_type_knows_optional_and_literal_and_names_what_it_cannot() -> None:
    class Plain(ReplyModel):
        choice: Literal["a", "b"]
        maybe: float | None

    class Wild(BaseModel):
        odd: dict[str, str]

    assert spark_type(Plain).simpleString() == "struct<choice:string,maybe:double>"
    assert json_schema(Plain)["properties"]["choice"] == {"enum": ["a", "b"], "type": "string"}
    with pytest.raises(TypeError, match="dict"):
        spark_type(Wild)


def test_lists_are_stripped_distinct_and_free_of_nothings() -> None:
    fields = {name: ["x"] for name in MetaReply.model_fields} | {
        "document_type": " paper ",
        "simplified_instruction": "Do it.",
        "tasks": ["sum up ", "sum up", "None", "n/a", "", "compare"],
        "sentiment": "calm",
    }
    reply = MetaReply.model_validate(fields)
    assert (reply.document_type, reply.tasks, reply.sentiment) == ("paper", ["sum up", "compare"], ["calm"])


def test_an_answerable_reply_says_something() -> None:
    empty = {"answerable": False, "instruction": "", "response": "", "quotes": []}
    assert AnswerReply.model_validate(empty).quotes == []
    with pytest.raises(ValidationError, match="must not be blank"):
        AnswerReply.model_validate({**empty, "answerable": True})


def test_unknown_task_is_named() -> None:
    with pytest.raises(KeyError, match="poem"):
        task_named("poem")
