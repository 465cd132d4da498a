"""Reading replies: what is taken as it is, what is mended, and what is an error."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from udfs.llm.parse import parse_reply, reply_reader
from udfs.llm.schemas import LabelReply

GOOD = '{"label": "Legal Texts"}'
ANSWER = {
    "answerable": True,
    "instruction": "What?",
    "response": "That.",
    "quotes": [{"document": 1, "text": "a quote"}],
}


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        (GOOD, False),
        (f"\n  {GOOD}  \n", False),
        (f"```json\n{GOOD}\n```", False),
        (f"```\n{GOOD}\n```\n", False),
        (f"<think>maybe {{x}} or not</think>\n{GOOD}", False),
        (f"Here you are:\n{GOOD}\nAnything else?", True),
        ('{"label": "Legal Texts",}', True),
        ("{'label': 'Legal Texts'}", True),
        ('{"label": "Legal Texts"', True),
        ('{label: "Legal Texts"}', True),
        (f"[{GOOD}]", True),
    ],
)
def test_readable_replies(text: str, repaired: bool) -> None:
    parsed = parse_reply(text, "type_label")
    assert parsed.value == LabelReply(label="Legal Texts")
    assert (parsed.error, parsed.repaired) == (None, repaired)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "empty"),
        ("  ", "empty"),
        ("I would rather not.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("null", "no JSON object"),
        ('{"label": null}', "label: Input should be a valid string"),
        ('{"label": "  "}', "label: Value error, must not be blank"),
        ('{"label": ["a"]}', "label: Input should be a valid string"),
        ('{"label": "a", "why": "b"}', "why: Extra inputs are not permitted"),
        ("{}", "label: Field required"),
        ("[" * 100_000, "no JSON object"),
        ("{" + '"a":{' * 50_000, ""),
    ],
)
def test_unreadable_replies(text: str | None, error: str) -> None:
    parsed = parse_reply(text, "type_label")
    assert parsed.value is None
    assert parsed.error is not None and error in parsed.error


def test_errors_name_fields_but_neither_values_nor_all_of_them() -> None:
    parsed = parse_reply('{"document_type": "SECRETVALUE", "x": 1}', "meta")
    assert parsed.error is not None and "SECRETVALUE" not in parsed.error
    assert parsed.error.endswith("and 8 more")


def test_quotes_count_documents_from_one() -> None:
    assert parse_reply(json.dumps(ANSWER), "answer").value is not None
    wrong = {**ANSWER, "quotes": [{"document": 0, "text": "a"}]}
    assert "quotes.0.document" in str(parse_reply(json.dumps(wrong), "answer").error)


@given(st.text(max_size=200) | st.from_regex(r"[\[{\"',:}\]a1 ]{0,60}"))
@settings(max_examples=200, deadline=None)
def test_no_text_raises(text: str) -> None:
    parsed = parse_reply(text, "answer")
    assert (parsed.value is None) == (parsed.error is not None)


@given(st.text(min_size=1, max_size=200).filter(str.strip))
@settings(max_examples=100, deadline=None)
def test_every_string_survives_json(label: str) -> None:
    parsed = parse_reply(json.dumps({"label": label}), "type_label")
    assert parsed.value == LabelReply(label=label.strip()) or "\ud800" <= max(label) <= "\udfff"


@pytest.mark.spark
def test_replies_become_structs_in_spark(spark: SparkSession) -> None:
    rows = spark.createDataFrame([(json.dumps(ANSWER),), ("no",), (None,)], "text string")
    read = [row.read for row in rows.select(reply_reader("answer")("text").alias("read")).collect()]
    assert read[0].value.quotes[0].text == "a quote" and read[0].error is None
    assert read[1].value is None and "no JSON object" in read[1].error
    assert read[2].value is None and "empty" in read[2].error


def test_thinking_without_its_beginning_is_no_reply() -> None:
    """Chat templates of reasoning models write the opening tag into the prompt."""
    thought = 'The set {a, b}: unclear. {"label": "Draft"}\n</think>\n'
    for reply in (thought + GOOD, thought + f"```json\n{GOOD}\n```", "<think>\n" + thought + thought + GOOD):
        assert parse_reply(reply, "type_label").value == LabelReply(label="Legal Texts")
    unended = parse_reply('<think>\n{"label": "Draft"}', "type_label")
    assert unended.value is None and "within its thinking" in str(unended.error)
    said = parse_reply(json.dumps({"label": "a </think> b"}), "type_label")
    assert said.value == LabelReply(label="a </think> b"), "what stands in a text is text"


@pytest.mark.parametrize(
    "reply",
    [
        '{"label": "Use the </think> tag twice",}',
        '{"label": "Use the </think> tag {twice}",}',
        '```json\n{"label": "Use the </think> tag twice",}\n```',
        'Here it is: {"label": "Use the </think> tag twice",}',
        'Is it {a}?</think>\n{"label": "Use the </think> tag twice"}',
        'Is it {a}?</think>\n{"label": "Use the </think> tag twice",}',
    ],
)
def test_a_reply_is_not_cut_within_a_string(reply: str) -> None:
    parsed = parse_reply(reply, "type_label")
    assert isinstance(parsed.value, LabelReply) and parsed.value.label.startswith("Use the </think> tag"), parsed.error


def test_thinking_is_no_reply_though_nothing_else_holds_an_object() -> None:
    for reply in ('Perhaps {"label": "Draft"}.\n</think>\nI would rather not.', 'Is it {"label": "Draft"}?</think>'):
        parsed = parse_reply(reply, "type_label")
        assert parsed.value is None and "no JSON object" in str(parsed.error)
    begun = parse_reply('{"label": "Draft"}, or not?\n</think>\n' + GOOD, "type_label")
    assert begun.value == LabelReply(label="Legal Texts"), "thinking may begin with a draft"


def test_many_lines_behind_a_code_fence_are_quick() -> None:
    started = time.perf_counter()
    assert parse_reply("```json" + "\n" * 20_000 + GOOD, "type_label").value == LabelReply(label="Legal Texts")
    assert time.perf_counter() - started < 5
