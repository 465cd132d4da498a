"""Writes one natural instruction for a path through the graph, about documents it has not seen.

Wordings are chosen by a hash of the path, so the same path always gives the same instruction and neighbouring
paths give different ones. It names no facts of any document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from udfs.llm.offline.choice import chance, pick
from udfs.llm.offline.clauses import ability, chatbot, condition, entry, layout, mood, register, situation, unread
from udfs.llm.offline.genres import Genre, genre_named, genres
from udfs.llm.offline.operations import OPERATIONS
from udfs.llm.offline.task_forms import TaskForm, purpose_fits, task_forms, task_of, tasks_in

Nodes = Sequence[Mapping[str, str]]

_SINGLE_REFERENCES = (
    "the attached {noun}",
    "the {noun} I have attached",
    "the {noun} attached here",
    "the enclosed {noun}",
)
_MULTI_REFERENCES = (
    "the two attached {plural}",
    "the two {plural} I have attached",
    "the two {plural} attached here",
    "the two enclosed {plural}",
)
_LEADS = {
    "polite": (
        "Please {core}",
        "Could you please {core}?",
        "Please {core}",
        "Would you please {core}?",
        "Kindly {core}",
    ),
    "formal": ("I would be grateful if you could {core}", "I would ask you to {core}", "Please {core}"),
    "casual": ("Can you {core}?", "Hey, can you {core}?", "Could you {core} for me?", "Hi! I need you to {core}"),
    "inquisitive": ("Could you {core}?", "Can you {core}?", "I wonder whether you could {core}"),
}
NO_IMPERATIVE = re.compile(
    r"(?i)^(?:who|what|when|where|which|how|why|in which|before|somebody|i |answer this|going|is|are|do|does)\b"
)
_SEVERAL_PARTS = re.compile(r"[;:?]|, (?:it|then) ")
_ORDERS_TEXT = (
    "answer use keep give put present number write set split structure divide return format arrange settle name "
    "stay be quote follow prefer choose include cover take do go proceed aim list report leave"
)
_ORDERS = frozenset(_ORDERS_TEXT.split())
_BRIEF = ("Keep the answer short", "A short answer is enough", "Be brief about it")
_PLAIN_NOUN_SHARE = 0.2  # "document" instead of the genre's noun
_SITUATION_FIRST_SHARE = 0.65
# How often a clause is said, where the path has its field: what binds the answer always is.
_ABILITY_SHARE, _UNREAD_SHARE, _MOOD_SHARE, _CHATBOT_SHARE = 0.75, 0.5, 0.35, 0.3
_MOST_FOR_PARAGRAPH = 200  # words
_MOST_SENTENCES = 5
_WIDESPREAD = 3  # a value known from so many genres fits any
_TERSE_SENTENCES = 3


@dataclass(frozen=True)
class _Path:
    """What a path says, by field (the first value counts), and the key all its choices hang on."""

    values: Mapping[str, str]
    key: str

    def get(self, field: str) -> str:
        """The value of a field, or an empty string."""
        return self.values.get(field, "")

    def says(self, share: float, name: str) -> bool:
        """Whether this path is one of the `share` of paths that say something."""
        return chance(share, name, self.key)


def instruction(
    setting: str, document_type: str, path: Nodes, demo_path: Nodes = (), demo_instruction: str = ""
) -> str:
    """One request of one to five short sentences that presumes one attached document, or two for "multi"."""
    read = _read(setting, document_type, path)
    style = register(read.get("language_style")) if read.get("language_style") else "direct"
    task = core_task(path, demo_path, demo_instruction)
    core = _styled(_core(task, setting, document_type, read.key), style, read.key)
    kind = genre_named(document_type)
    purpose = read.get("user_intention")
    who = situation(
        _fitting(read.get("user_profile"), kind, "profiles"),
        _fitting(read.get("context"), kind, "contexts"),
        purpose if purpose_fits(purpose, task) else "",
        read.get("user_knowledge"),
        read.key,
    )
    first = [who] if read.says(_SITUATION_FIRST_SHARE, "situation first") else []
    last = [] if first else [who]
    sentences = [
        *first,
        core,
        *_reading(read, kind),
        *last,
        *_form(read, setting == "single" and OPERATIONS[task.operation].fits_one_sentence),
        *_rest(read),
    ]
    sentences = [sentence for sentence in sentences if sentence]
    most = _TERSE_SENTENCES if style == "terse" else _MOST_SENTENCES
    return " ".join(_sentence(text) for text in sentences[:most])


def core_task(path: Nodes, demo_path: Nodes = (), demo_instruction: str = "") -> TaskForm:
    """The task an instruction is built on: the path's own, else the example's, else what the example asks for."""
    for nodes in (path, demo_path):
        for node in nodes:
            task = task_of(node["value"]) if node["field"] == "tasks" else None
            if task is not None:
                return task
    return tasks_in(demo_instruction)[0] if demo_instruction else task_forms()["summarize the document"]


def _read(setting: str, document_type: str, path: Nodes) -> _Path:
    """The path's values by field, with their key."""
    values: dict[str, str] = {}
    for node in path:
        values.setdefault(node["field"], " ".join(node["value"].split()))
    ordered = json.dumps([[node["field"], node["value"]] for node in path], ensure_ascii=False)
    return _Path(values, f"{setting}\x1f{document_type}\x1f{ordered}")


def _core(task: TaskForm, setting: str, document_type: str, key: str) -> str:
    """The sentence that asks, with its reference to the documents filled in; no stop at its end."""
    genre = genre_named(document_type)
    noun, plural = (genre.noun, genre.plural) if genre else ("document", "documents")
    if chance(_PLAIN_NOUN_SHARE, "plain noun", key):
        noun, plural = "document", "documents"
    if setting == "multi":
        reference = pick(_MULTI_REFERENCES, "docs", key).format(plural=plural)
        return pick(task.multi_core, "core", key).replace("{docs}", reference)
    reference = pick(_SINGLE_REFERENCES, "doc", key).format(noun=noun)
    return pick(task.single_core, "core", key).replace("{doc}", reference)


def _styled(core: str, style: str, key: str) -> str:
    """The core in the register of the path; questions stay as they are."""
    if style not in _LEADS or NO_IMPERATIVE.match(core):
        return core
    lead = pick(_LEADS[style], "style", key)
    if "?" in lead and _SEVERAL_PARTS.search(core):
        lead = "Please {core}"
    return lead.format(core=core[:1].lower() + core[1:])


def _reading(read: _Path, kind: Genre | None) -> list[str]:
    """How the text is to be read."""
    value = _fitting(read.get("long_context_capability"), kind, "capabilities")
    return [ability(value, read.key)] if read.says(_ABILITY_SHARE, "ability") else []


def _fitting(value: str, kind: Genre | None, field: str) -> str:
    """The value, unless the vocabulary only knows it from genres far from this one: then it is dropped."""
    known = [genre for genre in genres().values() if value in getattr(genre, field)]
    near = kind is None or any(genre is kind or genre.name in kind.near or kind.name in genre.near for genre in known)
    return value if not known or len(known) >= _WIDESPREAD or near else ""


def _form(read: _Path, may_be_short: bool) -> list[str]:
    """Layout and condition, in one sentence where both are plain orders; a condition that clashes is dropped."""
    shape = layout(read.get("output_format"), read.key) if read.get("output_format") else ""
    if not may_be_short and entry("output_format", read.get("output_format")).get("shape") == "short":
        shape = pick(_BRIEF, "brief", read.key)
    limit = condition(read.get("constraint"), read.key) if read.get("constraint") else ""
    if limit and _clash(read):
        limit = ""
    if shape and limit and _is_order(shape) and _is_order(limit):
        return [f"{shape} and {limit[:1].lower()}{limit[1:]}"]
    return [shape, limit]


def _clash(read: _Path) -> bool:
    """Whether the constraint contradicts the output format."""
    details = entry("constraint", read.get("constraint"))
    shape = entry("output_format", read.get("output_format")).get("shape", "")
    least = details.get("words", [0])[0]
    too_long = least >= _MOST_FOR_PARAGRAPH and shape == "paragraph"
    return shape in details.get("avoid", ()) or too_long or (shape == "short" and bool(details.get("words")))


def _rest(read: _Path) -> list[str]:
    """What may be said as well, and often is not."""
    return [
        unread(read.get("user_knowledge"), read.key) if read.says(_UNREAD_SHARE, "unread") else "",
        chatbot(read.get("chatbot_knowledge"), read.key) if read.says(_CHATBOT_SHARE, "chatbot") else "",
        mood(read.get("sentiment"), read.key) if read.says(_MOOD_SHARE, "mood") else "",
    ]


def _is_order(clause: str) -> bool:
    """Whether a clause is a plain imperative that another can be joined to."""
    return clause.split()[0].lower() in _ORDERS and not re.search(r"[,;]| and ", clause)


def _sentence(text: str) -> str:
    """The text with a capital and a stop."""
    return text[:1].upper() + text[1:] + ("" if text[-1:] in ".?!" else ".")
