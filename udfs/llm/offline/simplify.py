"""Reduces a request to one short instruction without the pasted text.

It selects sentences of the request; where there is none, it names the task instead.
"""

from __future__ import annotations

import re

from udfs.llm.offline.asking import Asking
from udfs.llm.offline.genres import Genre
from udfs.llm.offline.task_forms import TaskForm
from udfs.llm.offline.words import NO_SPACE
from udfs.text import sentences

_MAX_WORDS = 60
_MAX_CHARS = 420
_MIN_WORDS, _MIN_CUT = 6, 80
_SEARCHED_CHARS = 4_000
_OPTION = re.compile(r"^\s*\(?[A-Ha-h][.)]\s+")
_LIST_MARK = re.compile(r"^\s*(?:[-*•>#]+|\d{1,2}[.)]|question \d+\.?)\s*", re.IGNORECASE)
_ASKS = re.compile(
    r"(?i)^\W*(?:please |kindly |can you |could you |i want you to |i want |i need |help me |you are asked )|"
    r"\bplease\b|[?？]|"
    r"^\W*(?:summari[sz]e|write|explain|generate|create|translate|re-?write|list|find|extract|identify|highlight|describe|"
    r"analy[sz]e|compare|review|give|provide|tell|make|answer|fix|improve|check|change|convert|add|modify|implement|"
    r"solve|use|act|imagine|consider|design|develop|build|who|what|when|where|why|how|which|complete|show|calculate)\b|"
    r"пожалуйста|напиши|доработай|добавь|найди|请|写|要求|hãy |tolong"
)
# Sentences on manner, reader and occasion: they ask for something, but not for what is to be done.
_ASIDE = re.compile(
    r"(?i)\W*(?:please (?:be|keep)|use (?:only|an? [\w, ]*tone|plain|simple)|keep|start with|close with|do not|don't|"
    r"be |sound|mark|name the|no item|write (?:it|soberly|formally|in (?:a|plain)|for)|make (?:it|sure)|"
    r"i (?:am|'m|have|know|work|will|need this|want to (?:understand|know) what changed))\b"
)
_CODE = re.compile(r"[{};]|</|<[!/A-Za-z]|=>|=\s*\w+[.(]|==|\w\(\)|https?://|^\s*(?:import|from|def|class|#include)\b")
_CJK = re.compile(f"[{NO_SPACE}]")
_ENDED = re.compile(r"[.!?。！？…:][\"'”’)]*$")
_WH = re.compile(r"(?i)^(?:who|what|when|where|why|how|which|is|are|do|does|did|can|could|has|have)\b")
_DETAIL = re.compile(r"\s*Details?:.*$", re.DOTALL)
_REFERENCES = re.compile(r",? and you have to cite these papers:?.*$|\s+\d+\.\s+Title:.*$", re.DOTALL | re.IGNORECASE)


def simplified(asking: Asking, task: TaskForm, genre: Genre) -> str:
    """The request in at most 60 words, as one or two sentences that begin with a capital and end with a stop."""
    pasted = "" if genre.name == "source code" else asking.pasted[:_SEARCHED_CHARS]
    chosen = _asking_sentences(asking.request) or _shortened(asking.request) or _asking_sentences(pasted)
    if not chosen:
        value = task.value.replace("the document", f"the {genre.noun}").replace("the text", f"the {genre.noun}")
        chosen = value
    text = " ".join(chosen.split()).strip(" \"'*_-–|")
    if not text:
        text = task.value
    text = text[:1].upper() + text[1:]
    if not _ENDED.search(text):
        text += "?" if _WH.match(text) else "。" if _CJK.search(text[-1:]) else "."
    return text[:-1] + "." if text.endswith(":") else text


def without_references(request: str) -> str:
    """A request without the list of works it wants cited: their titles ask for nothing."""
    return _REFERENCES.sub(".", request)


def _asking_sentences(text: str) -> str:
    """The sentence that asks, with the one after it where both are short; empty when none asks."""
    lines = [line for line in text.splitlines() if line.strip() and not _OPTION.match(line) and not _CODE.search(line)]
    body = without_references(_DETAIL.sub("", "\n".join(_LIST_MARK.sub("", line) for line in lines)))
    found = [body[start:end].strip() for start, end in sentences(body)]
    asking = [index for index, sentence in enumerate(found) if _ASKS.search(sentence) and _is_short(sentence)]
    asking = [index for index in asking if not _ASIDE.match(found[index])] or asking
    if not asking:
        return next((sentence for sentence in found if _is_short(sentence) and len(sentence) > 12), "")
    first = asking[0]
    following = " ".join(found[first : first + 2])
    if first + 1 in asking and _is_short(following):
        return following
    return found[first]


def _shortened(text: str) -> str:
    """The beginning of a request that is one long sentence, up to a comma; empty for code and fragments."""
    words = text.split()
    if len(words) < _MIN_WORDS or _CODE.search(text[:_MAX_CHARS]):
        return ""
    head = " ".join(words[:_MAX_WORDS])[:_MAX_CHARS]
    cut = max(head.rfind(mark, _MIN_CUT) for mark in (", ", "; ", " - ", " ("))
    return head[:cut] if cut > 0 else " ".join(words[: _MAX_WORDS // 2])


def _is_short(text: str) -> bool:
    """Within the limits of a simplified instruction."""
    if _CJK.search(text):
        return len(text) <= _MAX_CHARS // 2
    return len(text.split()) <= _MAX_WORDS and len(text) <= _MAX_CHARS
