"""A response in parts for a model with a short window: nothing left out, nothing without what stands before it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from udfs.models.influence.recipe import NotMeasured, Parts

HEAD, ASK = -1, -2


def parts(context: int, question: int, response: int) -> Parts:
    ask = np.full(question, ASK)
    return Parts(np.array([HEAD]), np.arange(context), ask, ask[:2], np.arange(context, context + response), question)


@given(st.integers(1, 400), st.integers(3, 40), st.integers(1, 500), st.integers(46, 300))
def test_every_token_of_a_response_is_predicted_once_behind_half_a_room(
    context: int, question: int, response: int, window: int
) -> None:
    found = parts(context, question, response).readings(window)
    room = window - 1 - question
    at = context
    for each in found:
        text = each.ids[each.ids >= 0]
        before = text[: len(text) - each.response_tokens]
        assert len(each.ids) <= window and (each.ids == HEAD).sum() == 1 and (each.ids == ASK).sum() == question
        assert len(before) >= min(at, room // 2)
        assert text.tolist() == list(range(at - len(before), at + each.response_tokens))  # one stretch of the text
        assert (before < context).sum() == each.context_tokens
        at += each.response_tokens
    assert at == context + response
    assert (context + response <= room) <= (len(found) == 1)


def test_a_question_that_fills_the_window_leaves_no_room() -> None:
    assert len(parts(50, 97, 3).readings(100)) == 3
    with pytest.raises(NotMeasured) as fault:
        parts(50, 98, 3).readings(100)
    assert fault.value.reason == "no_room_for_context"
