"""Replies of the fake server: schema-shaped and sensible, made from the words of the prompt alone.

It reads prompts as a model would, by their fences, and imports nothing of the code under test.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

_FENCE = re.compile(r"^<<<([^\n]*?) ([0-9a-f]{12})>>>\n(.*?)\n<<<end \2>>>$", re.DOTALL | re.MULTILINE)
_UNGROUNDED = re.compile(r"\[\[ungrounded:([\w,]+)\]\]")  # seeds with which an answer is not to rest on its documents
_MANY = re.compile(r"\[\[values:(\d+)\]\]")  # how many values of a field a meta reply is to have
_WORD = re.compile(r"[^\W\d_]{5,20}")
_SENTENCE = re.compile(r"[^.!?\n]{30,280}[.!?](?=\s|$)")
_COMMON = re.compile(
    "about|after|again|because|before|being|between|could|every|might|other|please|should|their|there|these|"
    "thing|those|through|under|until|using|where|which|while|would|write"
)

# Small vocabularies: values must meet in many conversations, or no graph connects.
_VALUES = {
    "tasks": ("summarise the text", "compare the claims", "extract the facts", "explain the argument"),
    "user_intention": ("prepare a talk", "understand quickly", "check a decision", "teach a class"),
    "user_profile": ("student", "engineer", "editor", "analyst", "teacher"),
    "language_style": ("plain and direct", "formal", "friendly", "technical"),
    "context": ("classroom", "code review", "newsroom", "research project", "office report"),
    "user_knowledge": ("beginner", "general reader", "practitioner", "expert"),
    "chatbot_knowledge": (
        "subject terms",
        "history of the subject",
        "writing practice",
        "method and evidence",
    ),
    "long_context_capability": ("find one passage", "join distant passages", "compress the whole"),
    "output_format": ("bullet list", "short essay", "table", "numbered steps"),
    "sentiment": ("neutral", "curious", "hurried"),
    "constraint": ("under two hundred words", "no jargon", "cite the text", "keep the order"),
}
_GENRES = ("report", "story", "manual", "essay", "article", "log", "letter", "catalogue", "guide", "record")


def fences(text: str) -> list[tuple[str, str]]:
    """(label, data) of every fence in a prompt."""
    return [(match[1], match[3]) for match in _FENCE.finditer(text)]


def _pick(options: tuple[str, ...] | list[str], *seed: str) -> str:
    """One option, by hash of the seed."""
    digest = hashlib.sha256("\n".join(seed).encode("utf-8", "replace")).digest()
    return options[int.from_bytes(digest[:4], "big") % len(options)]


def _top_words(text: str, count: int) -> list[str]:
    """The commonest content words, ties by first place; filled up when the text has too few."""
    words = [word.lower() for word in _WORD.findall(text)]
    common = Counter(word for word in words if not _COMMON.fullmatch(word))
    top = [word for word, _ in common.most_common(count)]
    return [*top, "matter", "detail", "subject", "outline"][:count]


def _json_lines(data: str) -> list[Any]:
    return [json.loads(line) for line in data.splitlines() if line.strip()]


def _meta(data: dict[str, str]) -> dict[str, Any]:
    user = data["user message"]
    first, second, third = _top_words(user, 3)
    values: dict[str, Any] = {field: [_pick(options, field, user)] for field, options in _VALUES.items()}
    values["context"].append(f"questions about {first}")
    return {
        "document_type": f"{first} {_pick(_GENRES, first)}",
        **values,
        "simplified_instruction": f"{values['tasks'][0].capitalize()}: {first}, {second} and {third}.",
    }


def _type_label(data: dict[str, str]) -> dict[str, Any]:
    taken = {name.casefold() for name in _json_lines(data["names already taken"])}
    words = _top_words(" ".join(_json_lines(data["descriptions in this cluster"])), 8)
    labels = [f"{word.capitalize()} Documents" for word in words]
    return {"label": next((label for label in labels if label.casefold() not in taken), f"{labels[0]} Two")}


def _document_label(data: dict[str, str]) -> dict[str, Any]:
    labels = _json_lines(data["document types"])
    counts = Counter(word.lower()[:6] for word in _WORD.findall(data["document"]))
    scores = [sum(counts[word.lower()[:6]] for word in _WORD.findall(label)) for label in labels]
    if max(scores) > 0:
        return {"label": labels[scores.index(max(scores))]}
    return {"label": _pick(labels, _top_words(data["document"], 1)[0])}


def _task_rewrite(data: dict[str, str]) -> dict[str, Any]:
    return {"rewritten": f"{data['description']}, comparing all the texts"}


def _instruction(data: dict[str, str]) -> dict[str, Any]:
    values = {pair["field"]: pair["value"] for pair in _json_lines(data["properties"])}
    task = values.pop("tasks", "explain what matters")
    wishes = ", ".join(values.values())
    return {"instruction": f"Looking at the attached {data['document type']}, {task}; keep in mind: {wishes}."}


def _answer(data: dict[str, str]) -> dict[str, Any]:
    documents = [data[f"document {number}"] for number in range(1, 9) if f"document {number}" in data]
    wanted = 5 if len(documents) == 1 else 3
    quotes = [
        {"document": number, "text": sentence}
        for number, text in enumerate(documents, 1)
        for sentence in _spread(_SENTENCE.findall(text), wanted, data["rough request"])
    ]
    if len({quote["document"] for quote in quotes}) < len(documents):
        return {"answerable": False, "instruction": "", "response": "", "quotes": []}
    about = " and ".join(_top_words(" ".join(documents), 2))
    response = " ".join(quote["text"].strip() for quote in quotes)
    request = f"{data['rough request'].rstrip('.')}, with regard to {about}."
    return {"answerable": True, "instruction": request, "response": response, "quotes": quotes}


def _answerability(data: dict[str, str]) -> dict[str, Any]:
    documents = [data[f"document {number}"] for number in range(1, 9) if f"document {number}" in data]
    asked = {word.lower() for word in _WORD.findall(data["request"]) if not _COMMON.fullmatch(word.lower())}
    held = [len(asked & {word.lower() for word in _WORD.findall(text)}) for text in documents]
    return {
        "why": f"of {len(asked)} words of the request the documents hold {', '.join(map(str, held))}",
        "with_document": all(held),
        "without_document": not any(held),
    }


def _spread(sentences: list[str], wanted: int, seed: str) -> list[str]:
    """Some sentences from all over a text, in its order; where they begin depends on the seed."""
    distinct = list(dict.fromkeys(sentence.strip() for sentence in sentences))
    if len(distinct) <= wanted:
        return distinct
    step = len(distinct) // wanted
    start = int(_pick([str(number) for number in range(step)], seed))
    return [distinct[start + step * number] for number in range(wanted)]


_REPLIES: dict[str, Callable[[dict[str, str]], dict[str, Any]]] = {
    "meta": _meta,
    "type_label": _type_label,
    "document_label": _document_label,
    "task_rewrite": _task_rewrite,
    "instruction": _instruction,
    "answer": _answer,
    "answerability": _answerability,
}


def shaped(schema: dict[str, Any], words: list[str]) -> Any:
    """Any value that satisfies a schema, filled with the given words: for tasks the server does not know."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: shaped(child, words) for name, child in schema.get("properties", {}).items()}
    if kind == "array":
        return [shaped(schema["items"], words)]
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(str(kind), " ".join(words[:3]))


def reply_to(body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(task, reply object) for a chat request. The same prompt always gets the same reply."""
    first_user = next((m["content"] for m in body["messages"] if m["role"] == "user"), "")
    prompt = "\n".join(m["content"] for m in body["messages"] if m["role"] in ("system", "user"))
    task, schema = _task_and_schema(body, prompt)
    if task in _REPLIES:
        value = _REPLIES[task](dict(reversed(fences(first_user))))
        mark = _UNGROUNDED.search(prompt)
        if task == "answer" and mark and str(body.get("seed")) in mark[1].split(","):
            value["response"] = "Dragons ate whatever there was. Elves sang for hours. Wizards wept until the morning."
        many = _MANY.search(prompt)
        if task == "meta" and many:
            value["tasks"] = [f"task {number}" for number in range(int(many[1]))]
        return task, value
    return task, shaped(schema, _top_words(prompt, 3))


def _task_and_schema(body: dict[str, Any], prompt: str) -> tuple[str, dict[str, Any]]:
    """Name and schema from the response format, else guessed from the prompt's own words."""
    named = body.get("response_format", {}).get("json_schema")
    if named:
        return named["name"], named["schema"]
    given = body.get("response_format", {}).get("schema")
    labels = {label for label, _ in fences(prompt)}
    tells = {
        "meta": "user message",
        "type_label": "names already taken",
        "document_label": "document types",
        "task_rewrite": "description",
        "answer": "rough request",
        "instruction": "example request",
        "answerability": "request",
    }
    task = next((name for name, label in tells.items() if label in labels), "unknown")
    return task, given or {"type": "object", "properties": {"text": {"type": "string"}}}
