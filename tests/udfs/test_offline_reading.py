"""The offline teacher reads conversations and documents: requests, genres, fields, labels, sentences, terms."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.llm.offline.asking import part_message
from udfs.llm.offline.code_parts import code_parts
from udfs.llm.offline.genres import genre_named, genre_of, genres
from udfs.llm.offline.keyterms import key_terms, title_of
from udfs.llm.offline.labels import document_label
from udfs.llm.offline.passages import clean, is_usable, passages
from udfs.llm.offline.rewrites import rewritten
from udfs.llm.offline.task_forms import task_forms, task_of, task_of_draft, tasks_in
from udfs.llm.offline.teacher import answer
from udfs.llm.offline.vocabulary import load
from udfs.llm.schemas import MetaReply

CONTRACT = "\n".join(
    [
        "SUPPLY AGREEMENT",
        "",
        'This Supply Agreement (this "Agreement") is made by and between Harbour Foods and Mill Bakery, from '
        "the Effective Date.",
        "",
        "1.1 Deliveries. Mill Bakery shall deliver the ordered bread to Harbour Foods before six on every working day.",
        "1.2 Quality. Mill Bakery shall replace any bread that Harbour Foods has rejected within two days, at no cost.",
        "2.1 Payment. Harbour Foods shall pay each invoice within thirty days, pursuant to the terms set forth herein.",
        "2.2 Liability. Neither party shall be liable for indirect damage, and Mill Bakery shall indemnify the other.",
        "3.1 Termination. Either party may terminate this Agreement by ninety days' written notice under Section 5.",
        "3.2 Secrecy. The Parties shall keep all Confidential Information secret during the Term and thereafter.",
        "",
    ]
)
PAPER = "\n".join(
    [
        "1 INTRODUCTION",
        "In this paper we propose a tidal model that predicts harbour currents from gauge data (Miller et al., 2014).",
        "Previous models ignore wind, and our experiments show that this costs a third of the accuracy.",
        "2 METHOD",
        "The tidal model is trained on gauge data from forty harbours, and baselines are trained on the same dataset.",
        "We evaluate harbour currents against buoy measurements, as in earlier work (Okafor and Lind, 2019).",
        "3 RESULTS",
        "Our method outperforms the state-of-the-art baselines on the dataset, as Table 2 shows for all harbours.",
        "However, the tidal model fails in storms, because gauge data are missing for most of them.",
    ]
)
MEETING = "\n".join(
    f"{speaker}: {line}"
    for speaker, line in [
        ("Project Manager", "Welcome to the meeting, today we should decide on the colour of the kettle ."),
        ("Designer", "Um , I think the kettle should be green , because green kettles sold best last year ."),
        ("Engineer", "The green paint does not stand the heat of the handle , that is the problem ."),
        ("Project Manager", "Okay , so we need a second paint for the handle of the kettle ."),
        ("Engineer", "Yeah , a second paint will cost us about ten cents for each kettle ."),
    ]
    * 2
)


@pytest.mark.parametrize(
    ("message", "request_part"),
    [
        (f"{PAPER * 3}\n\nPlease write an abstract for this paper.", "Please write an abstract for this paper."),
        (f"Summarize the agreement below.\n\n{CONTRACT * 3}", "Summarize the agreement below."),
        (f"{PAPER * 8}\n\nwho proposed the tidal model", "who proposed the tidal model"),
        ("change this code to print twice import os\nprint(os.name)", "change this code to print twice"),
        ("What is a kettle?", "What is a kettle?"),
    ],
)
def test_request_is_parted_from_what_was_pasted(message: str, request_part: str) -> None:
    asking = part_message(message)
    assert asking.request == request_part
    assert request_part not in asking.pasted


def test_a_question_with_options_takes_its_options_along() -> None:
    question = "Why was the kettle green?\n\n (A) It sold best\n (B) It was cheap\n (C) Nobody knows\n (D) By mistake"
    asking = part_message(f"{MEETING * 3}\n\n{question}")
    assert asking.request.startswith("Why was the kettle green?") and "(D) By mistake" in asking.request


@pytest.mark.parametrize(
    ("text", "genre"),
    [
        (CONTRACT * 3, "legal contract"),
        (PAPER * 4, "academic paper"),
        (MEETING * 4, "meeting transcript"),
        ("import os\n\ndef run(path):\n    return os.stat(path)\n\nclass Job:\n    pass\n" * 20, "source code"),
        (
            "Review #0: The room was clean and the staff was friendly. Great breakfast! Review #1: Noisy hotel.\n" * 20,
            "customer reviews",
        ),
    ],
)
def test_genre_is_told_from_cues(text: str, genre: str) -> None:
    assert genre_of(text).name == genre
    labels = ["recipe", "academic paper", "legal contract", "meeting transcript", "source code", "customer reviews"]
    assert document_label(text, labels) == genre


ANY_CASE = [
    (genre, at) for genre, entry in load("genres").items() for at, cue in enumerate(entry["cues"]) if "(?i)" in cue[0]
]


CUE_WORDS = sorted(
    {word for genre, at in ANY_CASE for word in re.findall(r"\w+", load("genres")[genre]["cues"][at][0])}
)


@given(st.lists(st.sampled_from([*CUE_WORDS, "1.", "\n", "(a)", "the"]), max_size=60), st.data())
def test_cues_in_lower_case_count_what_the_vocabulary_says(words: list[str], data: st.DataObject) -> None:
    turned = [data.draw(st.sampled_from([str.upper, str.lower, str.title, str]))(word) for word in words]
    text = " ".join(turned)
    for genre, at in ANY_CASE:
        pattern = re.compile(load("genres")[genre]["cues"][at][0], re.MULTILINE)
        cue = genres()[genre].cues[at]
        assert cue.lowered and cue.hits(text, text.lower()) == len(pattern.findall(text))


def test_vocabularies_hang_together() -> None:
    abilities = load("fields")["long_context_capability"]
    for genre in genres().values():
        assert set(genre.near) <= set(genres())
        assert set(genre.capabilities) <= set(abilities)
        assert all(genre_named(variant) is genre for variant in genre.variants)
    for task in task_forms().values():
        assert task.operation in load("operations")
        assert task_of(task.value) is task and task_of(task.multi) is task
        assert all("{doc}" in core for core in task.single_core) and all("{docs}" in core for core in task.multi_core)
    assert all(ability in abilities for values in load("fields")["capabilities"].values() for ability in values)


def test_meta_fills_all_thirteen_fields_from_closed_vocabularies() -> None:
    asked = f"{PAPER * 4}\n\nPlease write a review for this paper and raise some questions in your review."
    reply = MetaReply.model_validate(answer("meta", {"user": asked, "assistant": "The paper proposes a model. " * 60}))
    assert "academic" in reply.document_type
    assert reply.tasks[0] == "write a critical review"
    assert (
        reply.simplified_instruction == "Please write a review for this paper and raise some questions in your review."
    )
    assert all(getattr(reply, field) for field in MetaReply.model_fields)
    assert reply == MetaReply.model_validate(
        answer("meta", {"user": asked, "assistant": "The paper proposes a model. " * 60})
    )


def test_conversations_of_a_kind_share_values() -> None:
    replies = [
        answer(
            "meta",
            {"user": f"{CONTRACT * n}\n\nHighlight the parts of this contract on {topic}.", "assistant": "a " * 200},
        )
        for n, topic in ((4, "payment"), (5, "liability"))
    ]
    shared = [
        field
        for field in ("tasks", "user_profile", "output_format", "constraint")
        if set(replies[0][field]) & set(replies[1][field])
    ]
    assert len(shared) >= 3


@pytest.mark.parametrize(
    ("reply", "form"),
    [
        ("(B) It was cheap", "multiple-choice letter"),
        ("No.", "yes or no answer"),
        ("- one thing here\n- another thing\n- a third\n" * 5, "bullet list"),
        ('{"a": "' + "b " * 60 + '"}', "json"),
        ("| a | b | c |\n|---|---|---|\n" + "| one more | row | here |\n" * 30, "table"),
        ("It was a long day. " * 30, "single paragraph"),
    ],
)
def test_form_of_a_reply(reply: str, form: str) -> None:
    assert answer("meta", {"user": "Tell me about kettles.", "assistant": reply})["output_format"][0] == form


def test_type_label_names_the_genre_and_avoids_taken_ones() -> None:
    examples = ["academic research paper", "academic paper", "academic paper on biology", "news article"]
    first = answer("type_label", {"examples": examples, "taken": []})["label"]
    assert first == "academic paper"
    taken = [first]
    for _ in range(12):
        label = answer("type_label", {"examples": examples, "taken": taken})["label"]
        assert label.lower() not in {other.lower() for other in taken} and 1 <= len(label.split()) <= 4
        taken.append(label)
    assert answer("type_label", {"examples": [], "taken": []})["label"]


@given(st.text(max_size=300), st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_document_label_never_leaves_the_list(text: str, labels: list[str]) -> None:
    assert answer("document_label", {"text": text, "labels": labels})["label"] in labels


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("summarize the document", "summarize several documents and compare their main points"),
        ("Summarize the plot.", "summarize several stories and compare how their plots unfold"),
        ("translate the text into Dutch", "translate the texts into Dutch and compare them"),
    ],
)
def test_task_values_are_rewritten_for_several_documents(value: str, expected: str) -> None:
    assert rewritten("academic paper", "tasks", value) == expected


def test_instructions_are_rewritten_for_several_documents() -> None:
    one = rewritten("government report", "simplified_instruction", "Please summarize this government report.")
    assert "the government reports" in one and "this government report" not in one and one.endswith(".")
    question = rewritten("academic paper", "simplified_instruction", "What dataset is used?")
    assert "What dataset is used?" in question and "documents" in question
    assert rewritten("x", "simplified_instruction", question) != ""


def test_drafts_are_recognised_by_their_wording() -> None:
    for task in task_forms().values():
        draft = f"I am a reader. Please {task.single_core[0].replace('{doc}', 'the attached document')}."
        assert task_of_draft(draft) is task
    assert tasks_in("")[0].value == "work with the document"


def test_passages_are_exact_slices_without_furniture() -> None:
    page = f"© 2020 All rights reserved. Click here to subscribe today.\n\n{CONTRACT}\n\nSource: SEC, 8-K"
    found = passages(page)
    assert found and all(page[p.start : p.end].strip() == page[p.start : p.end] for p in found)
    assert not any("subscribe" in p.text or "SUPPLY AGREEMENT" in p.text for p in found)
    assert any(p.text.startswith("Mill Bakery shall deliver") for p in found)
    assert [p.index for p in found] == list(range(len(found)))


def test_speakers_and_headings_are_kept() -> None:
    assert {p.speaker for p in passages(MEETING)} >= {"Designer", "Engineer"}
    assert {p.heading for p in passages(PAPER)} >= {"Method", "Results"}
    page = (
        "<H1> Tides </H1> <P> The tide is the rise and fall of the sea under the pull of the moon. </P> "
        + "<Li> x </Li> " * 20
    )
    assert passages(page)[0].heading == "Tides"


def test_display_is_cleaned() -> None:
    assert clean("The model BIBREF3 , which we {vocalsound} call `` Tide '' , works ( Miller et al. , 2014 ) .") == (
        "The model, which we call “Tide”, works."
    )
    assert not is_usable("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 a b.")


def test_key_terms_and_title() -> None:
    terms = [term.text for term in key_terms(passages(PAPER))]
    assert "tidal model" in terms and "gauge data" in terms
    assert title_of("Muddy Waters\n\nBy A. Writer\n\nIt rained.") == "Muddy Waters"
    assert title_of("1 INTRODUCTION\nThe sea is large.") == "" and title_of("Exhibit 10.1\n\nText") == ""


def test_code_parts_carry_their_comments() -> None:
    code = (
        'def load_table(path: str) -> list:\n    """Read a table from a file on disk.\n\n    More.\n    """\n\n'
        "// Adds two numbers and returns them.\nfunction addNumbers(a, b) {\n}\n"
    )
    parts = {part.name: part for part in code_parts(code)}
    assert parts["load_table"].comment == "Read a table from a file on disk."
    assert parts["addNumbers"].comment == "Adds two numbers and returns them."
    assert all(code[part.start : part.end] in code for part in parts.values())
