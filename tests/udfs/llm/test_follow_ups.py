"""What follows an answer, by what the answer says: the same rule that accepts samples, and requests of their own."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from udfs.assemble import assemble_one
from udfs.llm.follow_ups import REDRAWN, Following, follow_up, takes_place
from udfs.llm.requests import make_request
from udfs.llm.teacher import Request
from udfs.settings import EvidenceSettings, LlmSettings, TokenizerSettings

TEXTS = (
    "The river rose by four metres in March. Boats were moved to the upper quay. Nobody was hurt in the flood.",
    "The mill burned down in the spring of 1911. Its owner built a larger one of brick. It ground rye for the town.",
)
SENTENCES = [sentence for text in TEXTS for sentence in text.split(". ")]
INVENTED = ["Dragons ate the harbour", "Elves sang for hours", "Wizards wept"]
SECOND = Following("answer", EvidenceSettings(), redraws=True)

told = st.builds(
    lambda answerable, said, quotes: json.dumps(
        {
            "answerable": answerable,
            "instruction": "Say what happened.",
            "response": ". ".join(said),
            "quotes": [{"document": 1, "text": text} for text in quotes],
        }
    ),
    st.booleans(),
    st.lists(st.sampled_from(SENTENCES + INVENTED), min_size=1, max_size=6),
    st.lists(st.sampled_from(SENTENCES + INVENTED), max_size=4),
)
texts = st.one_of(told, st.just("no JSON"))
seeds = st.one_of(st.none(), st.integers(0, 2**31))
extras = st.one_of(st.just({}), st.fixed_dictionaries({"top_p": st.floats(0, 1)}, optional={"seed": st.integers(0, 9)}))


def asked(documents: int, **changes: Any) -> Request:
    """A request for an answer about the first so many documents."""
    held = [{"doc_id": f"d{number}", "text": text} for number, text in enumerate(TEXTS[:documents])]
    variables = {"setting": "multi", "document_type": "report", "documents": held, "instruction": "Say.", "path": []}
    return make_request("answer", variables, LlmSettings(**changes))


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(1, 2))
def test_what_follows_is_decided_by_the_reason_that_a_sample_would_have(text: str, documents: int) -> None:
    request = asked(documents)
    row = {"input_id": "p", "reason": None, "text": text, "variables": json.dumps(dict(request.variables))}
    made = assemble_one(row, EvidenceSettings(), TokenizerSettings())
    reason = made["reject_reason"]
    assert (follow_up(request, text, SECOND) is not None) == (reason in REDRAWN)
    assert takes_place(request, text, SECOND) == (reason is None)
    judged, judged_alone = Following("answerability"), *SECOND.behind((Following("answerability"),))
    assert (follow_up(request, text, judged) is not None) == (made["response"] is not None)
    assert (follow_up(request, text, judged_alone) is not None) == (reason is None)
    assert not takes_place(request, text, judged)


@given(seeds, extras, st.floats(0, 2))
def test_a_second_draw_differs_from_the_first_by_its_seed_alone(
    seed: int | None, extra: dict[str, Any], temperature: float
) -> None:
    first = asked(1, seed=seed, extra_body=extra, temperature=temperature)
    text = json.dumps({"answerable": True, "instruction": "Say.", "response": "Wizards wept.", "quotes": []})
    second = follow_up(first, text, SECOND)
    assert second is not None and second.key != first.key
    assert (second.messages, second.task, second.document) == (first.messages, first.task, first.document)
    changed = dict(second.parameters)
    assert changed.pop("seed") == (1 if seed is None else seed + 1)
    if "seed" in extra:
        assert changed.pop("extra_body") == {**extra, "seed": extra["seed"] + 1}
    assert changed.items() <= first.parameters.items()
