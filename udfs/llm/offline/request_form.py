"""Reads tasks, register, mood and conditions off the words of a request.

It works by signal words in English and a few other languages; a request without any gives the plain values.
"""

from __future__ import annotations

import re

from udfs.llm.offline.task_forms import TaskForm, task_forms, tasks_in
from udfs.llm.offline.words import NO_SPACE, tokens

# A task that only makes sense with some genres, and what it becomes elsewhere.
_GENRE_TASKS = {
    "meeting transcript": {"summarize the document": "summarize a discussion"},
    "earnings call transcript": {"play a role": "answer questions about the document"},
    "customer reviews": {"summarize the document": "summarize customer feedback"},
    "screenplay": {"write a scene or script": "summarize the plot"},
    "fiction": {"summarize the document": "summarize the plot"},
    "patent description": {"play a role": "summarize the document"},
    "legal contract": {"extract specific facts": "highlight contract clauses for review"},
    "public service guide": {"answer questions about the document": "find requirements for an application"},
}
_ALSO_ASKED = frozenset(
    {"answer questions about the document", "extract specific facts", "work with the document", "explain a topic"}
)

_STYLES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("polite", re.compile(r"(?i)\bplease\b|\bkindly\b|thank|would you|could you|пожалуйста|请|por favor|s'il")),
    ("formal", re.compile(r"(?i)\b(?:therefore|regarding|pursuant|hereby|in accordance|given the (?:above|points)|would like)\b")),
    ("casual", re.compile(r"(?i)\b(?:hey|hi|hello|gonna|wanna|cool|stuff|yeah|thx|pls|let's|i'm not)\b|[a-z]'s up")),
    ("technical", re.compile(r"(?i)\b(?:code|function|api|sql|script|algorithm|dataset|model|parameters?|class|server|python|hypothesis|baseline)\b|\w\(\)|\w_\w")),
    ("academic", re.compile(r"(?i)\b(?:abstract|related work|literature|paper|scholarly|citation|essay|theor\w+|research)\b")),
    ("narrative", re.compile(r"(?i)\b(?:story|scene|character|plot|vivid|episode)\b|小说|truyện")),
    ("instructional", re.compile(r"(?i)\b(?:must|rules?|always|never|ensure|make sure|step by step|follow)\b")),
)
_SENTIMENTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("frustrated", re.compile(r"(?i)\b(?:too slow|does(?:n't| not) work|not working|can't|cannot (?:find|get|see)|wrong|error|don't know how|again and again|lost my)\b|WA\?")),
    ("urgent", re.compile(r"(?i)\b(?:asap|urgent|quickly|deadline|immediately|right now|soon)\b")),
    ("concerned", re.compile(r"(?i)\b(?:worried|risk|should be reviewed|careful|problem|afraid|eligible|allowed|suspen|do i (?:need|have))\b")),
    ("critical", re.compile(r"(?i)\b(?:review|critique|blame|weakness|suggestions?|limitations?|gaps?|against)\b")),
    ("enthusiastic", re.compile(r"(?i)\b(?:amazing|awesome|exciting|ultra|epic|cool|wild|love|best|powerful|advanced)\b|!{1,}")),
    ("playful", re.compile(r"(?i)\b(?:funny|comedy|joke|teas\w+|anime|shenanigans|princess|battle)\b")),
    ("hopeful", re.compile(r"(?i)\b(?:hope|would like|wish|want to learn|could you help)\b")),
    ("appreciative", re.compile(r"(?i)\b(?:thank|appreciate|grateful|please help)\w*\b")),
    ("curious", re.compile(r"(?i)\b(?:why|how (?:do|does|did|is|are|has|would)|what (?:is|are|does|do|did|if))\b|^\W*who\b")),
    ("focused", re.compile(r"(?i)\b(?:list|extract|generate|write|create|find|highlight|solve|select|implement)\b")),
)
_CONSTRAINTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("choose one of the given options", re.compile(r"(?m)^\s*\(?[A-D][.)]\s+\S[\s\S]*^\s*\(?[B-D][.)]\s+\S|(?i:select one)")),
    ("quote the wording of the text", re.compile(r"(?i)highlight the parts|verbatim|quote|exact (?:words|wording)|cite the")),
    ("include suggestions and questions", re.compile(r"(?i)suggestions? and|raise some questions|provide some suggestions")),
    ("cite the given sources", re.compile(r"(?i)have to cite|citations?|references?\b|in-?text")),
    ("no bullet points", re.compile(r"(?i)(?:no|without|avoid) (?:any )?bullet|fluent way")),
    ("use only the given text", re.compile(r"(?i)based on (?:the|this)|according to (?:the|this)|described in the (?:document|text)|in the (?:article|document|passage)|given the information|from the text|section for this paper")),
    ("follow the given rules", re.compile(r"(?i)\brules?\b|must (?:always|follow)|guidelines|adhere|requirements?:|following (?:format|template)")),
    ("avoid certain names", re.compile(r"(?i)never use (?:the )?names?|do(?: not|n't) (?:mention|use the word)")),
    ("complete working code", re.compile(r"(?i)\b(?:code|script|program|app|application|module|game|config)\b.{0,200}\b(?:complete|full|all|working|single file|everything)|single file|ready to (?:run|use)")),
    ("first person narration", re.compile(r"(?i)first[- ]person")),
    ("explain step by step", re.compile(r"(?i)step[- ]by[- ]step|every (?:single )?step|chain.of.thought")),
    ("include examples", re.compile(r"(?i)with (?:an )?examples?|give (?:me )?(?:an )?examples?|for example")),
    ("plain language", re.compile(r"(?i)plain|simple (?:words|language|terms)|simplest|layman|easy to understand")),
    ("be concise", re.compile(r"(?i)\b(?:brief|concise|short|in a nutshell|one sentence)\b")),
    ("be detailed", re.compile(r"(?i)\b(?:detailed|in[- ]depth|thorough|comprehensive|elaborate|long)\b")),
    ("stay neutral", re.compile(r"(?i)\b(?:objective|neutral|unbiased|impartial)\b|overall")),
    ("be precise", re.compile(r"(?i)\b(?:exact(?:ly)?|precise(?:ly)?|which|what (?:date|models?|kind|dataset)|when|how (?:many|much|big|long))\b")),
    ("write in another language", re.compile(r"(?i)\bin (?:italian|spanish|french|german|russian|chinese|japanese|korean|hindi|english|portuguese|arabic)\b")),
)
_SCRIPTS = re.compile(f"[\u0370-\u06ff\u0900-\u0dff{NO_SPACE}\uac00-\ud7af]")
_VIETNAMESE = re.compile(r"[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_TERSE_WORDS = 9
_DETAILED_WORDS = 120


def asked_tasks(request: str, genre: str) -> list[TaskForm]:
    """The tasks a request asks for, fitted to the genre, most specific first; catch-alls only when alone."""
    forms = task_forms()
    swaps = _GENRE_TASKS.get(genre, {})
    fitted = [forms[swaps.get(task.value, task.value)] for task in tasks_in(request)]
    specific = [task for task in fitted if task.value not in _ALSO_ASKED]
    kept = specific[:2] + [task for task in fitted if task.value in _ALSO_ASKED][: 1 if len(specific) < 2 else 0]
    return list({task.value: task for task in kept or fitted[:1]}.values())


def language_styles(request: str, message: str) -> list[str]:
    """One to three words for the register of a request."""
    found = [name for name, pattern in _STYLES if pattern.search(request)]
    words = len(tokens(request))
    if words >= _DETAILED_WORDS or len(message) > 1_500 and words > 60:
        found.append("detailed and specific")
    elif words <= _TERSE_WORDS:
        found.append("terse")
    if re.search(r"[?？]", request) or re.match(r"(?i)\W*(?:who|what|when|where|why|how|which)\b", request):
        found.append("inquisitive")
    if _is_foreign(request):
        found.append("non-English")
    return found[:3] or ["direct"]


def sentiments(request: str) -> list[str]:
    """One or two moods; neutral when the words show none."""
    found = [name for name, pattern in _SENTIMENTS if pattern.search(request)]
    return found[:2] or ["neutral"]


def constraints(request: str, reply: str) -> list[str]:
    """Conditions a request sets, at most three."""
    found = [name for name, pattern in _CONSTRAINTS if pattern.search(request)]
    if _is_foreign(request) and not _is_foreign(reply) and "write in another language" not in found:
        found.append("write in another language")
    return found[:3]


def _is_foreign(text: str) -> bool:
    """Whether a text is visibly not English: by script, or by letters."""
    letters = sum(character.isalpha() for character in text) or 1
    return len(_SCRIPTS.findall(text)) > 0.2 * letters or len(_VIETNAMESE.findall(text.lower())) > 0.03 * letters
