"""Makes token sequences out of (context, instruction, response): built from parts, never found by searching.

It refuses to know models: it holds a tokenizer, a template's headings and the rule that only a context is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

Encode = Callable[[str], list[int]]
# Headings before the context, between context and instruction, between instruction and response.
TEMPLATES = {
    "gateau": ("### Input:", "\n\n ### Instruction: ", "\n\n ### Response: "),
    "plain": ("", "\n\n", "\n\n"),
}
# Stand-ins for the three texts while a chat template is cut in pieces; no text of a sample is near it then.
_MARKS = ("\ue000context\ue001", "\ue000instruction\ue001", "\ue000response\ue001")


class NotMeasured(Exception):
    """A sample cannot be measured; `reason` is the code that its row carries."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Sample:
    """What is measured: a long text, a request about it, the answer."""

    context: str | None
    instruction: str | None
    response: str | None


@dataclass(frozen=True)
class Frame:
    """Ids around the three texts: BOS and first heading, second heading, third heading."""

    head: tuple[int, ...]
    between: tuple[int, ...]
    tail: tuple[int, ...]


class Reading(NamedTuple):
    """A sequence (ids), how many of its tokens are context, and how many at its end are response to be predicted."""

    ids: np.ndarray
    context_tokens: int
    response_tokens: int


@dataclass(frozen=True, eq=False)
class Parts:
    """Ids of a sample in their order (int64 arrays). `head` holds BOS, so BOS is in no segment.

    question: second heading, instruction, third heading; headings: the same without the instruction.
    """

    head: np.ndarray
    context: np.ndarray
    question: np.ndarray
    headings: np.ndarray
    response: np.ndarray
    instruction_tokens: int

    def sequence(self, context: np.ndarray) -> np.ndarray:
        """The whole sequence around this context (or segment of it)."""
        return np.concatenate([self.head, context, self.question, self.response])

    def unasked(self) -> np.ndarray:
        """The template without context and instruction, then the response: what IFD compares with."""
        return np.concatenate([self.head, self.headings, self.response])

    def fitted_context(self, window: int) -> np.ndarray:
        """The end of the context that fits a window together with everything else, which stays whole.

        Raises NotMeasured(`no_room_for_context`) when not one token of it fits.
        """
        room = window - (len(self.head) + len(self.question) + len(self.response))
        if room < 1:
            raise NotMeasured("no_room_for_context")
        return self.context[-room:]

    def readings(self, window: int) -> list[Reading]:
        """The response in parts, each behind the text that a model with this window reads before it.

        Head and question stay in every reading. What is left of the window, the room, is one reading where context
        and response fit; else a part takes up to half of it, and the other half holds the response so far and, where
        that is shorter, the context's end. So no response is too long, and none of it is read with next to nothing.
        Raises NotMeasured(`no_room_for_context`) when the question leaves no room for a token of each.
        """
        room = window - (len(self.head) + len(self.question))
        if room < 2:
            raise NotMeasured("no_room_for_context")
        n = len(self.response)
        size = n if len(self.context) + n <= room else room // 2
        found = []
        for start in range(0, n, size):
            part = self.response[start : start + size]
            before = _end(self.response[:start], room - len(part))
            context = _end(self.context, room - len(part) - len(before))
            ids = np.concatenate([self.head, context, self.question, before, part])
            found.append(Reading(ids, len(context), len(part)))
        return found


@dataclass(frozen=True, eq=False)
class Recipe:
    """One tokenisation for both models and all passes."""

    encode: Encode
    frame: Frame

    def parts(self, sample: Sample) -> Parts:
        """Ids of the sample's parts. Each text is tokenised on its own, its look-alikes of special tokens as text.

        Raises NotMeasured (`empty_context`, `empty_instruction`, `empty_response`) for a text that is missing,
        blank, or without a token.
        """
        ids = {}
        for name in ("context", "instruction", "response"):
            text = getattr(sample, name)
            ids[name] = self.encode(text) if isinstance(text, str) and text.strip() else []
            if not ids[name]:
                raise NotMeasured(f"empty_{name}")
        frame = self.frame
        return Parts(
            head=_array(frame.head),
            context=_array(ids["context"]),
            question=_array([*frame.between, *ids["instruction"], *frame.tail]),
            headings=_array([*frame.between, *frame.tail]),
            response=_array(ids["response"]),
            instruction_tokens=len(ids["instruction"]),
        )


def segments(tokens: int, size: int) -> list[tuple[int, int]]:
    """[start, end) of the segments of a context: `size` tokens each by offset, the last one what is left."""
    return list(pairwise([*range(0, tokens, size), tokens]))


def make_recipe(tokenizer: Any, template: str) -> Recipe:
    """The recipe of a transformers tokenizer. BOS leads where the tokenizer has one.

    Raises ValueError when `chat` is asked of a tokenizer without a usable chat template.
    """
    encode = text_encoder(tokenizer)
    if template == "chat":
        return Recipe(encode, _chat_frame(tokenizer))
    first, second, third = TEMPLATES[template]
    bos = () if tokenizer.bos_token_id is None else (int(tokenizer.bos_token_id),)
    return Recipe(encode, Frame((*bos, *encode(first)), tuple(encode(second)), tuple(encode(third))))


def text_encoder(tokenizer: Any) -> Encode:
    """Ids of a text as text: none added, none cut, `<|im_end|>` and its like no special token."""

    def encode(text: str) -> list[int]:
        if not text:
            return []
        # Not verbose: it warns of the tokenizer's own length limit, which is not ours.
        options = {"add_special_tokens": False, "split_special_tokens": True, "truncation": False, "verbose": False}
        return list(tokenizer(text, **options)["input_ids"])

    return encode


def _chat_frame(tokenizer: Any) -> Frame:
    """A chat template's text around a user turn (context, blank line, instruction) and the reply's beginning."""
    context, instruction, response = _MARKS
    turns = [{"role": "user", "content": f"{context}\n\n{instruction}"}, {"role": "assistant", "content": response}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except Exception as fault:  # a template is a program: it raises what it likes
        raise ValueError(f"the tokenizer has no chat template that renders a turn and its reply: {fault}") from fault
    head, found, rest = text.partition(context)
    between, found_too, rest = rest.partition(instruction)
    tail, found_three, _ = rest.partition(response)
    if not (found and found_too and found_three):
        raise ValueError("the tokenizer's chat template changes or drops what is said")

    def special(part: str) -> tuple[int, ...]:
        return tuple(tokenizer(part, add_special_tokens=False)["input_ids"]) if part else ()

    return Frame(special(head), special(between), special(tail))


def _end(ids: np.ndarray, count: int) -> np.ndarray:
    return ids[max(0, len(ids) - count) :]


def _array(ids: list[int] | tuple[int, ...]) -> np.ndarray:
    return np.array(ids, dtype=np.int64)
