"""Reads the form of a reply: its layout and its length.

It looks at lines and marks, never at what the reply says.
"""

from __future__ import annotations

import re

from udfs.llm.offline.words import tokens

_BULLET = re.compile(r"(?m)^\s*[-*•–]\s+\S")
_NUMBER = re.compile(r"(?m)^\s*\(?\d{1,2}[.)]\s+\S")
_HEADING = re.compile(
    r"(?m)^\s*#{1,4} \S|^\s*\*\*[^*\n]{2,80}\*\*:?\s*$|^[─═━-]{6,}\s*$|^\s*[IVX\d]+\. [A-Z][^.!?\n]{3,60}$"
)
_TABLE = re.compile(r"(?m)^\s*\|.*\|.*\|\s*$")
_STEP = re.compile(r"(?im)^\W*step \d|^\W*(?:шаг|bước|步骤) ?\d")
_CODE = re.compile(
    r"```|(?m:^\s*(?:def |class |#include|import \w|using \w|package \w|const \w+ =|public class|fn \w+\())"
)
_HTML = re.compile(r"(?i)^\s*(?:```html\s*)?<(?:!doctype|html|div|head)")
_DIALOGUE = re.compile(r"(?m)^\s*(?:\*\*)?[A-Z][\w .'-]{1,24}(?:\*\*)?: ?\S|^[\"“][^\"”\n]{3,}")
_LETTERS = re.compile(r"^\(?[A-E]\)?[.,:]?(?:\s|$)|^[A-E]{1,4}$")
_YES_NO = re.compile(r"(?i)^(?:yes|no|true|false)\b")
_FEW_WORDS, _LEAST_ENTRIES = 45, 3
_WRITING = frozenset({"write a story", "write a scene or script", "play a role"})

# Upper bound of words -> value.
_LENGTHS = (
    (8, "answer with the decisive detail"),
    (100, "fewer than 100 words"),
    (300, "100 to 300 words"),
    (800, "300 to 800 words"),
)


def output_formats(reply: str, task: str) -> list[str]:
    """One or two words for the layout of a reply, the leading one first."""
    text = reply.strip()
    words = len(tokens(text))
    short = _short_form(text, words)
    if short:
        return [short]
    if _HTML.match(text):
        return ["html"]
    if text[:1] in "{[" and text[-1:] in "}]":
        return ["json"]
    found = _long_forms(text, words, task)
    if not found:
        paragraphs = len([part for part in re.split(r"\n\s*\n", text) if part.strip()])
        found = ["single paragraph"] if paragraphs <= 1 else ["several paragraphs"]
    return found[:2]


def length_constraint(reply: str) -> str:
    """The length a reply keeps to, as a condition."""
    words = len(tokens(reply))
    return next((value for bound, value in _LENGTHS if words <= bound), "more than 800 words")


def _short_form(text: str, words: int) -> str:
    """The form of a reply of a few words, or an empty string."""
    if _LETTERS.match(text) and words <= 40:
        return "multiple-choice letter"
    if _YES_NO.match(text) and words <= 12:
        return "yes or no answer"
    if words <= 10:
        return "short phrase"
    listed = len(_BULLET.findall(text)) + len(_NUMBER.findall(text)) >= _LEAST_ENTRIES
    return "one or two sentences" if words <= _FEW_WORDS and not listed else ""


def _long_forms(text: str, words: int, task: str) -> list[str]:
    """Layouts a longer reply shows, by how many lines show them."""
    code = text.count("```") // 2 + len(_CODE.findall(text))
    counts = {
        "complete program": 3 * code if code and words > 900 else 0,
        "code with explanation": 3 * code if code and words <= 900 else 0,
        "table": 2 * len(_TABLE.findall(text)),
        "step-by-step instructions": 4 * len(_STEP.findall(text)),
        "numbered list": 2 * len(_NUMBER.findall(text)) if len(_NUMBER.findall(text)) >= 3 else 0,
        "bullet list": 2 * len(_BULLET.findall(text)) if len(_BULLET.findall(text)) >= 3 else 0,
        "sections with headings": 4 * len(_HEADING.findall(text)) if len(_HEADING.findall(text)) >= 2 else 0,
        "dialogue": len(_DIALOGUE.findall(text)) if len(_DIALOGUE.findall(text)) >= 12 else 0,
    }
    if "review" in task and words > 80:
        counts["review with headed parts"] = 5
    if task in _WRITING and words > 300:
        counts["narrative prose"] = 8
    if words > 1_500 and counts["sections with headings"]:
        counts["long structured article"] = counts.pop("sections with headings") + 1
    return [name for name in sorted(counts, key=lambda name: -counts[name]) if counts[name] > 0]
