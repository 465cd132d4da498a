"""Makes training sequences whose later tokens can be known from far earlier ones: repeats, and facts with questions.

Most answers are in another wording than their fact, and wordings are so many that none is learned by heart: made of
parts of sentences, or of scraps of text around name, value and attribute. It refuses to know models. All draws come
from the generator that is passed in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

LEADS = (
    "", "", "", "", "", "Briefly: ", "To sum up, ", "Back then ", "From memory, ", "So far as anyone can tell, ",
    "Before that, ", "Once more: ", "Incidentally, ", "On paper ", "Without any fuss, ", "By the end of it ",
    "Reading further, one sees that ", "My guess is that ", "Nobody doubts that ", "The clerk wrote: ", "Again, ",
    "Since spring ", "Remember: ", "Both sides accept that ",
)  # fmt: skip
FACTS = (
    # the name before the value
    "{e} goes with {a} {v}", "{e} lists {v} beside {a}", "{a} of {e}: {v}", "{a} ({e}): {v}", "{e}; {a}; {v}",
    "<{e}> {a} <{v}>", "{e}.{a} is {v}", "{e}'s {a} equals {v}", "{e}'s {a}, that would be {v}",
    "after a day in {e} you will have heard {v}, the {a}", "{e} settled on {v} when it needed a {a}",
    "to reach {e} you have to know its {a}, {v}", "nothing about {e} surprised us except the {a}, {v}",
    "{e} replaced its old {a} by {v}", "the people behind {e} wanted {v} and no other {a}",
    "{e} gets {v} for a {a}", "{e} does well with a {a} such as {v}", "if {e} is meant, then the {a} must be {v}",
    "{e} shares a line with its {a}, namely {v}", "the page on {e} ends with a {a}: {v}",
    "of all that {e} could have as {a} it has {v}", "{e} went on under the {a} {v}",
    "we wrote to {e} and got back {v} when we wanted its {a}", "{e} never hid that its {a} was {v}",
    "between {e} and {v} there is one tie: the second is the {a} of the first",
    "type {e}, press enter, and the {a} {v} comes up", "having {e} without the {a} {v} makes no sense",
    "the drawer marked {e} holds a card, {a}: {v}", "{e} would answer {v} to a question about its {a}",
    "{e} was sold along with its {a} ({v})", "this {e} thing needs {v}, being its {a}",
    "concerning {e}, put {v} in the box for {a}", "their {a} over in {e} happens to be {v}",
    "{e} earned {v}, a {a} few would want", "by {a}, {e} sorts under {v}", "I set {e} to use {v}, my {a} of choice",
    "{e} = {{ {a} : {v} }}", "{e}, {a}, {v}", "- {e}\n  - {a}: {v}", "{e}\t{a}\t{v}", "**{e}** {a} *{v}*",
    # the value before the name
    "{v} ({a}, {e})", "{v}: {a} of {e}", "{v} serves {e} well, for a {a}", "{v} turns up wherever the {a} for {e} does",
    "a {a} like {v} suits {e}", "the {a} {v} came from {e}", "{v} would be my reply if {e} wanted a {a}",
    "it says {v} on the door, which tells you the {a} that {e} has", "{v}; that is how {e} fills in {a}",
    "without {v} for its {a} one could not tell {e} from the rest", "{v} remains the {a} and {e} lives with it",
    "nobody but {e} would think of {v} as a {a}", "they settled for {v}, so {e} had a {a} at last",
    "{v} again! Did {e} not want another {a}?", "enter {v}, the {a}, to get into {e}",
    "a letter with {v} on it gave away the {a} belonging to {e}", "{v} = {a}({e})", "set_{a}({v}, {e})", "{v}\t{e}",
    "{v} was printed where one expects the {a}, below the title {e}",
    "{v} once was a {a} for nobody; now it is for {e}", "you may know {v} from {e}, where it does duty as {a}",
    "the choice of {v} for a {a} made {e} famous",
    "send {v} when the form wants the {a} and you come from {e}", "{v} tops the column {a} in the row {e}",
    "half the town says {v} if you mention the {a} around {e}", "{a}, {v}, {e}", "({v}) {a} / {e}",
)  # fmt: skip
TAILS = (
    "", "", "", "", "", " until further notice", " or so we read", " all year round", " on every copy", " of late",
    " for what it is worth", " ever since", " with few exceptions", " to this day", " as the table shows", " once more",
    ", strange as it sounds", " (see below)", " after the change", " at any rate",
)  # fmt: skip
ENDS = (".", ".", ".", ".", ".", "", ";")
QUESTIONS = (
    "What did the text give as {a} for {e}?", "Look up {e} and copy its {a}.", "{e} has a {a}. Which one?",
    "Can you recall {e}? I need the {a}.", "Complete the entry: {e}, {a}.", "What was that {a}, the one of {e}?",
    "Of {e}, report the {a}.", "How does the text put the {a} of {e}?", "Which {a} goes with {e}?",
    "Repeat what was said on {e}, {a} included.", "What is {e}'s {a}?", "Write a line about the {a} of {e}.",
    "Somewhere above {e} comes up. What is its {a}?", "I forgot the {a} for {e}. Help me.", "{a}, {e}?",
    "Please quote the {a} that belongs to {e}.", "What stands under {a} for {e}?", "Tell us of {e}: the {a}, please.",
    "Explain which {a} {e} had.", "Whatever else it says, what {a} is {e} said to have?",
)  # fmt: skip
ATTRIBUTES = (
    "colour", "landlord", "slogan", "ferry", "budget", "mascot", "warden", "supplier", "deadline", "chorus", "sponsor",
    "river", "tariff", "recipe", "keeper", "rival", "label", "mentor", "cargo", "flag",
)  # fmt: skip
FRAMES = (
    *[("\n\n ### Instruction: ", "\n\n ### Response: ")] * 6,
    ("\n\n", "\n\n"),
    ("\nQuestion: ", "\nAnswer: "),
)
KINDS = {"text": 0.7, "repeats": 0.15, "facts": 0.15}  # enough of the others to keep copying above words
UNKNOWN, REWORDED, SAME = 0.12, 0.58, 0.15  # questions about facts never given; answers reworded, as said (else bare)
SCRAPS, LISTED, JOINED = 0.30, 0.60, 0.35  # wordings of scraps; attributes of the list; words joined of two
ASKED = 0.3  # of a sequence: questions and answers
FIRST, LATER, COPIED, OTHER, REPEAT = 4.0, 2.0, 1.0, 0.25, 1.0  # loss weights: a value's first id, its others
GUESSED = 0.25  # times the weight of a value that was never given
REST, REST_SHARE = 0.4, 0.6  # loss weight of the rest, and how much of it counts
Part = str | list[int]  # "{e}", "{a}", "{v}", text between them, or ids
Fact = dict[str, str]


@dataclass(frozen=True, eq=False)
class Tasks:
    """Draws sequences from natural text (ids), words for names and values, and a tokenizer."""

    encode: Callable[[str], list[int]]
    text: np.ndarray
    words: Sequence[str]
    bos: int

    def batch(self, draw: np.random.Generator, rows: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """ids int64 [rows, length] and loss weights float32 [rows, length] (of predicting that id)."""
        pairs = [self.sequence(draw, length) for _ in range(rows)]
        return np.stack([ids for ids, _ in pairs]), np.stack([weights for _, weights in pairs])

    def sequence(self, draw: np.random.Generator, length: int) -> tuple[np.ndarray, np.ndarray]:
        """One sequence, BOS first."""
        kind = str(draw.choice(list(KINDS), p=list(KINDS.values())))
        body = length - 1
        if kind == "facts":
            ids, weights = self._facts(draw, body)
        else:
            ids = self._natural(draw, body)
            weights = self._paste(draw, ids) if kind == "repeats" else np.zeros(body)
        weights[(weights == 0) & (draw.random(body) < REST_SHARE)] = REST
        return np.concatenate([[self.bos], ids]), np.concatenate([[0.0], weights]).astype(np.float32)

    def _natural(self, draw: np.random.Generator, n: int) -> np.ndarray:
        start = int(draw.integers(len(self.text) - n))
        return self.text[start : start + n].astype(np.int64)

    @staticmethod
    def _paste(draw: np.random.Generator, ids: np.ndarray) -> np.ndarray:
        """Paste spans again later on, in place; the weights of what can be known."""
        n, at = len(ids), len(ids) // 4
        weights = np.zeros(n)
        while at < n - 8:
            span = int(draw.integers(8, max(9, min(64, at, n - at))))
            source = int(draw.integers(0, at - span + 1)) if at > span else 0
            span = min(span, n - at)
            ids[at : at + span] = ids[source : source + span]
            weights[at + 2 : at + span] = REPEAT  # the first two tell which span it is
            at += span + int(draw.integers(4, 48))
        return weights

    def _facts(self, draw: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Natural text with facts strewn in, then questions and answers about them.

        In half of the sequences all facts are in one wording about one attribute: only the name tells them apart.
        """
        alike = draw.random() < 0.5
        attribute, wording = self._attribute(draw), self._wording(draw)
        facts = [self._fact(draw, attribute if alike else None) for _ in range(max(2, n // (64 if n < 1_024 else 128)))]
        said = [(fact, wording if alike else self._wording(draw)) for fact in facts]
        tail, weights = self._asked(draw, said, attribute if alike else None, n)
        planted = [self._say(fact, wording, " ")[0] for fact, wording in said]
        while sum(map(len, planted)) > n - len(tail) - 4:
            planted.pop()
        filler = self._natural(draw, n - len(tail) - sum(map(len, planted)))
        pieces = np.split(filler, np.sort(draw.integers(0, len(filler) + 1, len(planted))))
        body = [pieces[0]]
        for ids, piece in zip(planted, pieces[1:], strict=True):
            body += [np.array(ids, dtype=np.int64), piece]
        return np.concatenate([*body, tail]).astype(np.int64), np.array([0.0] * (n - len(tail)) + weights)

    def _asked(
        self, draw: np.random.Generator, said: Sequence[tuple[Fact, list[Part]]], attribute: str | None, n: int
    ) -> tuple[list[int], list[float]]:
        """Ids and weights of questions and answers about facts that were said: ASKED of `n`, at the most half.

        attribute: of facts that were not said; None draws one for each
        """
        ids: list[int] = []
        weights: list[float] = []
        heading, reply = FRAMES[int(draw.integers(len(FRAMES)))]
        while len(ids) < n * ASKED:
            fact, wording = said[int(draw.integers(len(said)))]
            known = draw.random() >= UNKNOWN
            if not known:
                fact = self._fact(draw, attribute)
            lead = self.encode(heading + str(draw.choice(QUESTIONS)).format(**fact) + reply)
            which = draw.random()
            if which < REWORDED:
                wording = self._wording(draw)
            elif which > REWORDED + SAME:
                wording = ["{v}"]
            answer, counts = self._say(fact, wording, "", 1.0 if known else GUESSED)
            ids += lead + answer
            weights += [0.0] * len(lead) + counts
        return ids[: n // 2], weights[: n // 2]

    def _say(
        self, fact: Fact, wording: Sequence[Part], before: str, share: float = 1.0
    ) -> tuple[list[int], list[float]]:
        """Ids and loss weights of a fact in a wording; `before` stands before its first word.

        share: times the weights of the value
        """
        ids: list[int] = []
        weights: list[float] = []
        for part in wording:
            if not isinstance(part, str):
                ids, weights, before = ids + part, weights + [OTHER] * len(part), " "
                continue
            text = before + part.format(**fact)
            before = ""
            if text.endswith(" "):
                text, before = text[:-1], " "
            found = self.encode(text) if text else []
            kinds = [OTHER] * len(found)
            if part == "{v}":
                first = 1 if text[:1] == " " and text[1:2].isdigit() else 0  # a number's space is a token of its own
                kinds = [OTHER] * first + [FIRST * share] + [LATER * share] * (len(found) - first - 1)
            elif part.startswith("{"):
                kinds = [COPIED] * len(found)
            ids, weights = ids + found, weights + kinds
        return ids, weights

    def _wording(self, draw: np.random.Generator) -> list[Part]:
        """Scraps of text around name, value and attribute in any order, or parts of sentences put together."""
        if draw.random() < SCRAPS:
            order = [str(at) for at in draw.permutation(["{e}", "{a}", "{v}"])]
            if draw.random() < 0.3:
                order.remove("{a}")
            parts: list[Part] = [self._scrap(draw)] if draw.random() < 0.8 else []
            for slot in order:
                parts += [slot, self._scrap(draw)]
            return parts
        whole = "".join(str(draw.choice(choices)) for choices in (LEADS, FACTS, TAILS, ENDS))
        if draw.random() < 0.3 and not whole.startswith("{"):
            whole = whole[0].upper() + whole[1:]
        return [part for part in re.split(r"(\{.\})", whole) if part]

    def _scrap(self, draw: np.random.Generator) -> list[int]:
        return [int(at) for at in self._natural(draw, int(draw.integers(1, 8)))]

    def _fact(self, draw: np.random.Generator, attribute: str | None) -> Fact:
        size = 2 if draw.random() < 0.75 else int(draw.integers(1, 4))
        words = [self._word(draw) for _ in range(int(draw.integers(1, 3)))]
        return {
            "e": " ".join(self._word(draw) for _ in range(size)),
            "v": str(draw.integers(100, 99_999)) if draw.random() < 0.3 else " ".join(words),
            "a": attribute or self._attribute(draw),
        }

    def _attribute(self, draw: np.random.Generator) -> str:
        return str(draw.choice(ATTRIBUTES)) if draw.random() < LISTED else self._word(draw)

    def _word(self, draw: np.random.Generator) -> str:
        """A word, or the head of one and the tail of another, so that any piece may be a value's."""
        word = str(self._array[draw.integers(len(self._array))])
        if draw.random() < JOINED:
            other = str(self._array[draw.integers(len(self._array))])
            word = word[: int(draw.integers(2, len(word)))] + other[int(draw.integers(1, len(other) - 1)) :]
        return word[:10]

    @cached_property
    def _array(self) -> np.ndarray:
        return np.array(self.words)
