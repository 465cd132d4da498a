"""Answers an instruction from its documents: adapts it to them, extracts, lays out, and quotes what it used.

Every statement of the answer is a sentence of a document; what it adds are headings, labels and lead-ins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from udfs.llm.offline.choice import pick
from udfs.llm.offline.code_parts import CodePart, code_parts
from udfs.llm.offline.comparison import joined, own_terms, shared_terms
from udfs.llm.offline.extraction import Point, operation_named, points, with_following
from udfs.llm.offline.genres import Genre, clear_genre, genre_named
from udfs.llm.offline.layouts import Form, form_of, lay_out, within
from udfs.llm.offline.naming import Adapted, Named, adapt, mention, name_document, speakers
from udfs.llm.offline.operations import Operation
from udfs.llm.offline.passages import Passage
from udfs.llm.offline.phrasing import core_task
from udfs.llm.offline.refitting import refit
from udfs.llm.offline.source import Source
from udfs.llm.offline.task_forms import task_of_draft

Nodes = Sequence[Mapping[str, str]]

_MIN_QUOTE = 20
_DEFAULT_SHAPE = "bullets"
_LEAST_EACH, _MOST_EACH = 2, 5  # points from each of several documents
_FEW_WORDS, _SOME_WORDS = 160, 300
_LEAST_COMMENT = 3  # words
_MIN_CODE_PARTS, _MOST_CODE_PARTS = 4, 12
_BROAD = frozenset({"paragraphs", "sections"})  # forms in which a point may bring its neighbour along
_UNANSWERABLE: dict[str, Any] = {"answerable": False, "instruction": "", "response": "", "quotes": []}


def answer(documents: Sequence[Mapping[str, str]], document_type: str, instruction: str, path: Nodes) -> dict[str, Any]:
    """The reply of the answer task. Not answerable when a document has too few usable sentences."""
    key = "\x1f".join((instruction, *(str(document.get("doc_id", "")) for document in documents)))
    kind = genre_named(document_type)
    sources = [Source.of(document["text"]) for document in documents]
    own = [clear_genre(source.text) for source in sources]
    has_task = any(node["field"] == "tasks" for node in path)
    fitted = refit(instruction, core_task(path) if has_task else task_of_draft(instruction), kind, own, key)
    operation = operation_named(fitted.task.operation)
    if len(sources) == 1 and (operation.mode == "code" or _is_code(own[0])):
        made = _code_answer(sources[0], own[0], fitted.draft, path, key)
        if made is not None:
            return made
    if not sources or not all(source.is_usable for source in sources):
        return dict(_UNANSWERABLE)
    named = [name_document(source, genre, "document") for source, genre in zip(sources, own, strict=True)]
    adapted = adapt(fitted.draft, named, key, operation.mode)
    form = form_of(path, _DEFAULT_SHAPE, may_be_short=len(named) == 1 and operation.fits_one_sentence)
    if len(named) == 1:
        return _single(named, operation, adapted, form, key)
    return _several(named, operation, adapted, form, key)


def _is_code(genre: Genre | None) -> bool:
    return genre is not None and genre.name == "source code"


def _single(named: Sequence[Named], operation: Operation, adapted: Adapted, form: Form, key: str) -> dict[str, Any]:
    """The answer from one document."""
    document = named[0]
    source = document.source
    if operation.name == "discussion" and not source.has_speakers:
        operation = operation_named("arguments")
    if adapted.asks_topic:
        operation = operation_named("question")
    found = points(source, operation, form.count, adapted.topics)
    if operation.name == "discussion":
        found = _of_speaker(source, operation, adapted, form) or found
    if form.shape in _BROAD:
        found = _with_neighbours(source, found)
    found = within(found, form.most)
    topic = mention(adapted.topics[0]) if adapted.topics else "this"
    lead = pick(operation.leads, "lead", key).format(noun=document.noun, topic=topic)
    response = lay_out(found, form, lead[:1].upper() + lead[1:])
    used = [(1, passage) for point in found for passage in point.passages]
    return _reply(adapted.instruction, response, named, used)


def _of_speaker(source: Source, operation: Operation, adapted: Adapted, form: Form) -> list[Point]:
    """Points of the one speaker the instruction names; empty when it names none, or one who says too little."""
    named = [speaker for speaker in speakers(source) if speaker in adapted.instruction]
    if not named:
        return []
    own = tuple(p for p in source.passages if p.speaker == named[0])
    if len(own) < form.count:
        return []
    positions = {passage.index: at for at, passage in enumerate(own)}
    narrowed = Source(
        source.text,
        tuple(replace(passage, index=positions[passage.index]) for passage in own),
        tuple(
            replace(term, places=frozenset(positions[place] for place in term.places if place in positions))
            for term in source.terms
        ),
        source.title,
    )
    return points(narrowed, operation, form.count)


def _several(named: Sequence[Named], operation: Operation, adapted: Adapted, form: Form, key: str) -> dict[str, Any]:
    """The answer from several documents: the same operation on each, then what they share and what they do not."""
    room = _room(form)
    parts = [
        within(points(document.source, operation, room.points, document.about), room.words // len(named))
        for document in named
    ]
    shown = [frozenset(p.index for point in part for p in point.passages) for part in parts]
    shared = shared_terms(named, shown, room.shared)
    also = [known | {term.passages[at].index for term in shared} for at, known in enumerate(shown)]
    own = own_terms(named, also, room.own if shared else max(1, room.own))
    response = joined(named, parts, shared, own, form, key)
    used = [(at, p) for at, part in enumerate(parts, 1) for point in part for p in point.passages]
    used += [(at, p) for term in shared for at, p in enumerate(term.passages, 1)]
    if form.shape != "paragraph":  # there they are only named
        used += [(term.document + 1, term.passage) for term in own]
    return _reply(adapted.instruction, response, named, used)


@dataclass(frozen=True)
class _Room:
    """What an answer over several documents has room for: points of each, their words, terms to compare."""

    points: int
    words: int
    shared: int
    own: int


def _room(form: Form) -> _Room:
    """Room by form and word limit; a comparison has its share of the words."""
    if form.shape == "paragraph" or 0 < form.most <= _FEW_WORDS:
        return _Room(2 if form.shape == "paragraph" else 1, form.most // 2, 1, 0)
    if 0 < form.most <= _SOME_WORDS:
        return _Room(2, form.most // 2, 1, 1)
    return _Room(min(_MOST_EACH, max(_LEAST_EACH, (form.count + 1) // 2)), 0, 3, 2)


def _with_neighbours(source: Source, found: Sequence[Point]) -> list[Point]:
    """Points with the sentence that follows, none of them shown twice."""
    shown = {passage.index for point in found for passage in point.passages}
    wider = []
    for point in found:
        candidate = with_following(source, point)
        if candidate is not point and candidate.passages[-1].index not in shown:
            shown.add(candidate.passages[-1].index)
            wider.append(candidate)
        else:
            wider.append(point)
    return wider


def _reply(
    instruction: str, response: str, named: Sequence[Named], used: Sequence[tuple[int, Passage]]
) -> dict[str, Any]:
    """The reply with one quote for each passage used."""
    quotes = []
    for number, passage in dict.fromkeys(used):
        text = named[number - 1].source.text[passage.start : passage.end]
        if len(text) >= _MIN_QUOTE:
            quotes.append({"document": number, "text": text})
    return {"answerable": True, "instruction": instruction, "response": response, "quotes": quotes}


def _code_answer(source: Source, genre: Genre | None, instruction: str, path: Nodes, key: str) -> dict[str, Any] | None:
    """An inventory of a source file's parts; None when the text has too few definitions with comments."""
    parts = [
        part
        for part in code_parts(source.text)
        if part.comment[:1].isalnum() and len(part.comment.split()) >= _LEAST_COMMENT
    ]
    if len(parts) < _MIN_CODE_PARTS:
        return None
    named = name_document(source, genre, "code")
    step = max(1, len(parts) // _MOST_CODE_PARTS)
    chosen = parts[::step][:_MOST_CODE_PARTS]
    listed = ", ".join(f"`{part.name}`" for part in chosen[:3])
    adapted = adapt(f"{instruction} Cover {listed} and the other parts.", [named], key, "parts")
    form = form_of(path, _DEFAULT_SHAPE)
    body = _code_list(chosen, form)
    quotes = [{"document": 1, "text": source.text[start:end]} for part in chosen for start, end in _code_spans(part)]
    response = f"{pick(_CODE_LEADS, 'lead', key)}\n\n{body}"
    return {"answerable": True, "instruction": adapted.instruction, "response": response, "quotes": quotes}


_CODE_LEADS = ("The parts of the file and what their comments say:", "Building blocks, in the order of the file:")


def _code_list(parts: Sequence[CodePart], form: Form) -> str:
    """The parts of a source file with their comments, in the asked form."""
    if form.shape == "table":
        rows = [f"| `{part.name}` | {part.comment.replace('|', '/')} |" for part in parts]
        return "\n".join(("| Part | Comment |", "|---|---|", *rows))
    if form.shape in {"paragraph", "paragraphs", "short"}:
        return " ".join(f"`{part.name}`: {part.comment.rstrip('.')}." for part in parts)
    numbered = form.shape in {"numbered", "sections"}
    return "\n".join(
        f"{f'{number}.' if numbered else '-'} `{part.name}`: {part.comment}" for number, part in enumerate(parts, 1)
    )


def _code_spans(part: CodePart) -> list[tuple[int, int]]:
    """The spans that back an entry, long enough to be quotes."""
    spans = [(part.start, part.end), *([part.comment_span] if part.comment_span else [])]
    return [(start, end) for start, end in spans if end - start >= _MIN_QUOTE]
