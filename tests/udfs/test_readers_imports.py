"""Samples made elsewhere: every promised shape becomes the same parts; what was parted by a rule says by which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.readers import SourceFile, UnreadableInput, detect_format, read_file
from udfs.readers.imports import LONGEST_INSTRUCTION, import_fields, part

CONTEXT, ASKED, ANSWER = "First part.\n\nSecond part.", "What grew?", "Rice."
PARTS = (CONTEXT, ASKED, ANSWER)


def chat(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(contents)]


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"context": CONTEXT, "instruction": ASKED, "response": ANSWER}, "given"),
        ({"input": CONTEXT, "question": ASKED, "answer": ANSWER}, "given"),
        ({"input": CONTEXT, "instruction": ASKED, "output": ANSWER}, "given"),
        ({"id": "a-0", "messages": chat(f"{CONTEXT}\n\n{ASKED}", ANSWER), "length": 9}, "last_block"),
        ({"messages": chat(f"{CONTEXT} \r\n \n {ASKED}\n\n  \n", ANSWER)}, "last_block"),
        ({"conversations": [{"from": "human", "value": f"{CONTEXT}\n\n{ASKED}"}, {"from": "gpt", "value": ANSWER}]},
         "last_block"),
        ({"messages": [{"role": "system", "content": "Be brief."}, *chat(f"{CONTEXT}\n\n{ASKED}", ANSWER)]},
         "last_block"),
        ({"instruction": f"{CONTEXT}\n\n{ASKED}", "input": "", "output": ANSWER}, "last_block"),
        ({"messages": chat(f"{CONTEXT}\n\n{ASKED}", ANSWER), "context": CONTEXT, "instruction": ASKED}, "given"),
    ],
)  # fmt: skip
def test_shapes(record: dict[str, Any], rule: str) -> None:
    fields = import_fields(record)
    assert isinstance(fields, dict), fields
    assert (fields["context"].strip(), fields["instruction"], fields["response"]) == PARTS
    assert fields["split"] == rule
    assert fields["messages"][-1] == ("assistant", ANSWER)
    assert all(text in fields["messages"][-2].content for text in (CONTEXT, ASKED))
    assert fields["record_id"] == record.get("id")


@pytest.mark.parametrize(
    ("text", "context", "asked"),
    [
        ("Below is a paper.\n The paper begins. \n A.\n\nB \n Now the paper ends. \nWhy?", "A.", "Why?"),
        ("There are two papers.\n Now the first paper ends. B.\n\n Now the second paper ends.\nWhy?", "B.", "Why?"),
        ("From the book. \n A \n Now the material ends. Sum up.\n\nBriefly.", "A", "Sum up.\n\nBriefly."),
    ],
)  # fmt: skip
def test_closing_marks_of_longalpaca(text: str, context: str, asked: str) -> None:
    found = part(text)
    assert found is not None and found.rule == "closing_mark"
    assert context in found.context and found.context.endswith("ends.") and found.instruction == asked


def test_an_instruction_that_comes_first_is_told_by_the_length_of_the_last_block() -> None:
    long = "word " * LONGEST_INSTRUCTION
    assert part(f"Sum this up.\n\n{long}") == (long.strip(), "Sum this up.", "first_block")
    assert part(f"{long}\n\n{long}") is None, "neither end is a request"
    assert part(f"{long}\n\nSum it up.") == (long.rstrip(" ") + " ", "Sum it up.", "last_block")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({}, "no_instruction"),
        ({"instruction": "Why?", "input": ""}, "no_response"),
        ({"instruction": "Why?", "output": "So."}, "no_context"),
        ({"context": "C", "instruction": " ", "response": "R"}, "no_instruction"),
        ({"messages": []}, "bad_turns"),
        ({"messages": "x"}, "bad_turns"),
        ({"messages": chat("a\n\nb")}, "no_response"),
        ({"messages": chat("a\n\nb", " ")}, "no_response"),
        ({"messages": chat("a\n\nb", "c", "d", "e")}, "not_single_turn"),
        ({"messages": chat("a\n\nb", "c")[::-1]}, "not_single_turn"),
        ({"messages": [chat("a")[0], {"role": "tool", "content": "x"}]}, "bad_turns"),
        ({"messages": chat("no blank line", "c")}, "no_context"),
        ({"context": "a\0b", "instruction": "i", "response": "r"}, "nul_bytes"),
        ({"messages": chat("a\n\nb", "\ud800")}, "not_utf8"),
    ],
)
def test_reasons(record: dict[str, Any], reason: str) -> None:
    assert import_fields(record) == reason


@given(st.text(alphabet="ab \n.", max_size=60), st.text(alphabet="ab \n.", max_size=30))
def test_parting_loses_nothing_but_blanks(context: str, asked: str) -> None:
    found = part(f"{context}\n\n{asked}")
    if found is not None:
        assert found.context.strip() and found.instruction.strip()
        assert "".join((found.context + found.instruction).split()) == "".join((context + asked).split())


def test_files_of_every_format_give_the_same_rows(tmp_path: Path) -> None:
    records = [
        {"id": "one", "messages": chat(f"{CONTEXT}\n\n{ASKED}", ANSWER), "document_type": "news"},
        {"id": "two", "messages": chat("no blank line", ANSWER), "document_type": None},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)) + "\nnot json\n", encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    lines = list(read_file(SourceFile("f", str(tmp_path / "a.jsonl"), "jsonl"), "imports"))
    table = list(read_file(SourceFile("f", str(tmp_path / "a.parquet"), "parquet"), "imports"))
    assert [row.get("reject_reason") for row in lines] == [None, "no_context", "bad_json"]
    assert [row.get("reject_reason") for row in table] == [None, "no_context"]
    assert lines[0] | {"path": ""} == table[0] | {"path": ""}
    assert lines[0]["document_type"] == "news" and lines[0]["position"] == 0


def test_columns_of_a_parquet_file_are_told_before_it_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"instruction": ["a"], "output": ["b"]}), tmp_path / "good.parquet")
    assert detect_format(str(tmp_path / "good.parquet"), "imports") == "parquet"
    pq.write_table(pa.table({"instruction": ["a"], "text": ["b"]}), tmp_path / "bad.parquet")
    with pytest.raises(UnreadableInput, match="LongAlpaca: instruction string, output string"):
        detect_format(str(tmp_path / "bad.parquet"), "imports")
    with pytest.raises(UnreadableInput, match="a file of an unknown kind"):
        detect_format(str(tmp_path / "notes.txt"), "imports")
