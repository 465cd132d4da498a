"""The offline teacher writes instructions and answers: varied, honest to the document, in the asked form."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.evidence import grounding, locate_quotes
from udfs.llm.offline.phrasing import instruction
from udfs.llm.offline.teacher import MODEL, OfflineTeacher, answer
from udfs.llm.parse import parse_reply
from udfs.llm.schemas import AnswerReply
from udfs.llm.teacher import Request
from udfs.settings import EvidenceSettings

RULES = EvidenceSettings()
SUBJECTS = ("the harbour", "the lighthouse", "the ferry line", "the fish market", "the old shipyard", "the sea wall")
DEEDS = (
    "was repaired in {year} because winter storms had damaged its foundations badly",
    "must be inspected every spring by engineers of the coastal agency",
    "cost the town {year} crowns, which the council regarded as a great deal of money",
    "is described in letters that Captain Holm wrote to his sister in Bergen",
    "should be protected by law, as a committee recommended after long debate",
    "however remained a problem for the fishermen, who complained about the noise",
)


def chronicle(name: str, start: int) -> str:
    """A document of thirty different sentences in three headed parts."""
    parts = []
    for part, heading in enumerate(("Early Years", "The Great Storm", "Later Works")):
        lines = []
        for number, subject in enumerate(SUBJECTS):
            deed = DEEDS[(number + part) % len(DEEDS)].format(year=start + 17 * part + number)
            lines.append(f"In {name}, {subject} {deed}. ")
        lines.append(f"Captain Holm returned to {name} in {start + 30 + part} and found the harbour changed. ")
        parts.append(f"{heading}\n\n{''.join(lines)}")
    return f"Chronicle of {name}\n\n" + "\n\n".join(parts)


OSTVIK, SANDNES = chronicle("Ostvik", 1820), chronicle("Sandnes", 1790)


def node(field: str, value: str) -> dict[str, str]:
    return {"field": field, "value": value}


def ask(documents: list[str], path: list[dict[str, str]], kind: str = "encyclopedia article") -> AnswerReply:
    setting = "multi" if len(documents) > 1 else "single"
    draft = instruction(setting, kind, path)
    rows = [{"doc_id": f"d{number}", "text": text} for number, text in enumerate(documents)]
    variables = {"setting": setting, "document_type": kind, "documents": rows, "instruction": draft, "path": path}
    return AnswerReply.model_validate(answer("answer", variables))


def grounded(reply: AnswerReply, documents: list[str]) -> Any:
    named = [(f"d{number}", text) for number, text in enumerate(documents)]
    spans = locate_quotes([quote.text for quote in reply.quotes], named, RULES)
    assert len(spans) == len(reply.quotes) and all(span.exact for span in spans)
    return grounding(reply.response, spans, named)


PATH = [
    node("tasks", "summarize the document"),
    node("user_profile", "lawyer"),
    node("context", "reviewing a contract before it is signed"),
    node("output_format", "bullet list"),
    node("constraint", "100 to 300 words"),
    node("language_style", "polite"),
]


def test_instruction_is_the_same_for_a_path_and_differs_between_paths() -> None:
    assert instruction("single", "legal contract", PATH) == instruction("single", "legal contract", PATH)
    texts = {instruction("single", "legal contract", list(nodes)) for nodes in combinations(PATH, 4)}
    assert len(texts) == 15
    text = instruction("single", "legal contract", PATH)
    assert "agreement" in text or "document" in text
    assert "bullet" in text.lower() and "300 words" in text
    assert text.count(" and ") <= 4 and text[0].isupper() and text[-1] in ".?!"


def test_instruction_for_two_documents_speaks_of_two() -> None:
    path = [node("tasks", "summarize several documents and compare their main points"), *PATH[1:4]]
    assert " two " in instruction("multi", "legal contract", path)


def test_a_path_without_a_task_takes_that_of_the_example() -> None:
    path = [node("output_format", "table"), node("sentiment", "neutral")]
    demo = [node("tasks", "order events in time")]
    text = instruction("single", "news article", path, demo, "When was the harbour built?").lower()
    assert "timeline" in text or "in order" in text or "when did what" in text or "developed" in text


def test_clashing_values_are_dropped() -> None:
    path = [node("tasks", "answer questions about the document"), node("output_format", "short phrase")]
    for condition in ("more than 800 words", "300 to 800 words"):
        text = instruction("single", "news article", [*path, node("constraint", condition)])
        assert "800" not in text and "too much" not in text and "length is not" not in text


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["tasks", "user_profile", "context", "constraint", "nonsense"]), st.text(max_size=60)
        ),
        max_size=6,
    )
)
@settings(max_examples=80, deadline=None)
def test_any_path_gives_an_instruction(pairs: list[tuple[str, str]]) -> None:
    path = [node(field, value) for field, value in pairs]
    for setting in ("single", "multi"):
        text = instruction(setting, "anything at all", path)
        assert "document" in text and text[-1] in ".?!"


@pytest.mark.parametrize(
    "task",
    [
        "summarize the document",
        "order events in time",
        "give recommendations",
        "identify people or organizations",
        "write a critical review",
        "outline the document",
        "define terms",
        "compare alternatives",
        "summarize the plot",
    ],
)
def test_answers_are_quoted_word_for_word_and_grounded(task: str) -> None:
    reply = ask([OSTVIK], [node("tasks", task), node("output_format", "bullet list")])
    assert reply.answerable and "Chronicle of Ostvik" in reply.instruction
    assert all(quote.text in OSTVIK and len(quote.text) >= 20 for quote in reply.quotes)
    assert grounded(reply, [OSTVIK]).share >= 0.9


def test_summary_covers_the_whole_document() -> None:
    reply = ask([OSTVIK], [node("tasks", "summarize the document"), node("output_format", "bullet list")])
    places = sorted(OSTVIK.find(quote.text) / len(OSTVIK) for quote in reply.quotes)
    assert places[0] < 0.34 and places[-1] > 0.66


@pytest.mark.parametrize(
    ("shape", "mark"),
    [
        ("bullet list", "\n- "),
        ("numbered list", "\n1. "),
        ("table", "|---|"),
        ("sections with headings", "### "),
        ("json", "```json"),
        ("html", "<ul>"),
        ("question and answer pairs", "**What "),
    ],
)
def test_answers_take_the_asked_form(shape: str, mark: str) -> None:
    reply = ask([OSTVIK], [node("tasks", "summarize the document"), node("output_format", shape)])
    assert mark in "\n" + reply.response
    if shape == "json":
        rows = json.loads(reply.response.removeprefix("```json\n").removesuffix("\n```"))
        assert all(row["statement"] for row in rows)


def test_word_limits_are_kept() -> None:
    brief = ask([OSTVIK], [node("tasks", "summarize the document"), node("constraint", "fewer than 100 words")])
    full = ask([OSTVIK], [node("tasks", "summarize the document"), node("constraint", "300 to 800 words")])
    assert len(brief.response.split()) <= 120 < len(full.response.split())


def test_a_topic_question_names_its_topic() -> None:
    reply = ask(
        [OSTVIK], [node("tasks", "answer questions about the document"), node("output_format", "single paragraph")]
    )
    assert "its central topic" not in reply.instruction
    assert grounded(reply, [OSTVIK]).share == 1.0


@pytest.mark.parametrize("shape", ["bullet list", "table", "several paragraphs", "single paragraph", "short phrase"])
def test_two_documents_are_compared_in_balance(shape: str) -> None:
    path = [node("tasks", "summarize several documents and compare their main points"), node("output_format", shape)]
    reply = ask([OSTVIK, SANDNES], path)
    result = grounded(reply, [OSTVIK, SANDNES])
    assert result.share >= RULES.min_grounded_share
    assert min(result.document_shares.values()) >= RULES.min_document_share
    assert {quote.document for quote in reply.quotes} == {1, 2}
    assert "Ostvik" in reply.instruction and "Sandnes" in reply.instruction
    assert all(quote.text in (OSTVIK, SANDNES)[quote.document - 1] for quote in reply.quotes)


@pytest.mark.parametrize(
    "text", ["", "Menu | Home | Contact | Imprint\n" * 200, "x" * 50_000, "1, 2, 3\n4, 5, 6\n" * 300]
)
def test_documents_without_sentences_are_not_answerable(text: str) -> None:
    reply = ask([text], PATH)
    assert not reply.answerable and reply.quotes == []
    assert not ask([OSTVIK, text], PATH).answerable


def test_code_is_answered_by_its_parts() -> None:
    code = "\n".join(
        f'def handle_case_{n}(value: int) -> int:\n    """Return case {n} of the table of values."""\n    return {n}\n'
        for n in range(9)
    )
    reply = ask([code], [node("tasks", "explain the code"), node("output_format", "bullet list")], "source code")
    assert reply.answerable and "`handle_case_0`: Return case 0 of the table of values." in reply.response
    assert all(quote.text in code for quote in reply.quotes)


def test_other_languages_are_quoted_as_they_are() -> None:
    chinese = "".join(f"第{n}座灯塔建于一八{n}0年，至今仍然为来往的船只指引方向。" for n in range(1, 9))
    reply = ask([chinese], PATH)
    assert reply.answerable and all(quote.text in chinese for quote in reply.quotes)


def test_a_long_document_takes_less_than_a_second() -> None:
    long = "\n\n".join(chronicle(f"Town{n}", 1500 + n) for n in range(60))
    assert len(long) > 120_000
    started = time.process_time()
    ask([long], PATH)
    assert time.process_time() - started < 2.0  # of the processor; half a second is usual


def complete(task: str, variables: dict[str, Any]) -> Any:
    request = Request("key", task, variables, (), {}, {})
    return asyncio.run(OfflineTeacher().complete(request))


def test_teacher_replies_with_valid_json_and_never_raises() -> None:
    reply = complete("type_label", {"examples": ["legal contract"], "taken": []})
    assert (reply.status, reply.model) == ("ok", MODEL)
    assert parse_reply(reply.text, "type_label").value is not None
    broken = complete("answer", {"documents": [{"text": None}]})
    assert broken.status == "lasting" and "offline teacher" in broken.error
    assert complete("no such task", {}).status == "lasting"


@given(st.text(max_size=400), st.text(max_size=200))
@settings(max_examples=60, deadline=None)
def test_odd_conversations_give_valid_fields(user: str, assistant: str) -> None:
    reply = complete("meta", {"user": user, "assistant": assistant})
    assert reply.status == "ok" and parse_reply(reply.text, "meta").value is not None


def test_a_draft_that_does_not_suit_the_document_is_exchanged() -> None:
    reviews = "\n".join(
        f"Review #{n}: The staff was friendly and the breakfast in the hotel was excellent on day {n}. "
        f"Unfortunately our room number {n} was noisy and the bathroom was small and dirty."
        for n in range(40)
    )
    path = [node("tasks", "highlight contract clauses for review"), node("user_profile", "lawyer")]
    reply = ask([reviews], path, "legal contract")
    assert reply.answerable and "lawyer" not in reply.instruction and "contract" not in reply.instruction
    assert "reviews" in reply.instruction and grounded(reply, [reviews]).share == 1.0


def test_a_draft_in_other_words_keeps_its_wording() -> None:
    draft = "Tell me everything about the lighthouse keeper's daily routine."
    rows = [{"doc_id": "d0", "text": OSTVIK}]
    variables = {"setting": "single", "document_type": "history", "documents": rows, "instruction": draft, "path": []}
    reply = AnswerReply.model_validate(answer("answer", variables))
    assert reply.answerable and reply.instruction.startswith(draft.rstrip("."))
    assert grounded(reply, [OSTVIK]).share == 1.0


def test_profile_and_context_of_another_genre_are_left_out() -> None:
    path = [
        node("tasks", "summarize the plot"),
        node("user_profile", "patent examiner"),
        node("context", "searching prior art"),
    ]
    text = instruction("single", "fiction", path)
    assert "patent" not in text and "prior art" not in text
    assert "patent examiner" in instruction("single", "patent description", path)


@pytest.mark.parametrize(
    ("request_text", "texts", "verdicts"),
    [
        ("What did Captain Holm write about the lighthouse?", [OSTVIK], (True, False)),
        ("How do Ostvik and Sandnes differ?", [OSTVIK, SANDNES], (True, False)),
        ("How was the harbour of Ostvik paid for?", [OSTVIK, "Mercury boils at 357 degrees."], (False, False)),
        ("What is the boiling point of mercury?", [OSTVIK], (False, True)),
        ("Summarise the attached text.", [OSTVIK], (True, False)),
        ("Summarise the attached text.", [" "], (False, False)),
    ],
)
def test_answerability_goes_by_shared_words(request_text: str, texts: list[str], verdicts: tuple[bool, bool]) -> None:
    rows = [{"doc_id": f"d{number}", "text": text} for number, text in enumerate(texts)]
    told = answer("answerability", {"documents": rows, "instruction": request_text})
    assert (told["with_document"], told["without_document"]) == verdicts, told["why"]
    assert parse_reply(json.dumps(told), "answerability").error is None
