"""Plain text out of what packages ship: markup off, ASCII only, cut at paragraphs.

Knows nothing of where a text comes from or what it is for.
"""

from __future__ import annotations

import html
import re
import unicodedata

LEGIBLE = 0.995  # share of characters that must survive the way to ASCII
BADGE = re.compile(r"^\s*(\.\. \|?image|\.\. \||\[?!\[|:target:|:alt:|<(img|a|p|div|br|h1|/)|\[!\[).*$", re.MULTILINE)
LINK = re.compile(r"\[([^\]\n]+)\]\((?:[^()\s]|\([^()]*\))+(?:\s+\"[^\"]*\")?\)")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]+")
TAG = re.compile(r"</?[A-Za-z][^<>]*>")
# Tags that occur in Markdown; anything else in angle brackets may be meant.
MARKUP = re.compile(
    r"</?(?:a|b|br|code|details|div|em|h[1-6]|i|img|kbd|li|ol|p|picture|source|span|strong|su[bp]|summary|table|tbody|td"
    r"|th|thead|tr|ul)\b[^<>]*>",
    re.IGNORECASE,
)
QUOTES = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-", "\u2212": "-"}
    | {"\u2026": "...", "\u00a0": " ", "\u2022": "*", "\u00d7": "x", "\u2192": "->", "\u2190": "<-", "\u2265": ">="}
    | {
        "\u2264": "<=",
        "\u2713": "yes",
        "\u2705": "yes",
        "\u274c": "no",
        "\u00ae": "(R)",
        "\u2122": "(TM)",
        "\u00a9": "(C)",
    }
)


def to_ascii(text: str) -> str | None:
    """The text in ASCII with tidy line ends; None where too much of it is lost on the way (another script)."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n").translate(QUOTES)
    folded = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    if not text or len(folded) < LEGIBLE * len(text):
        return None
    folded = re.sub(r"[ \t]+\n", "\n", CONTROL.sub("", folded))
    return re.sub(r"\n{3,}", "\n\n", folded).strip() + "\n"


def from_markdown(text: str) -> str:
    """Markdown or reStructuredText without badges, images, raw HTML and link targets."""
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    return html.unescape(MARKUP.sub("", LINK.sub(r"\1", BADGE.sub("", text))))


def from_html(text: str) -> str:
    """The words of an HTML fragment: lists become dashes, paragraphs become paragraphs."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"<li>\s*(<p>)?", "\n- ", text)
    text = re.sub(r"</?(p|ul|ol|dl|dd|dt|note|important|br|h\d|tr|div|title|head|body|section)\b[^>]*>", "\n\n", text)
    text = html.unescape(TAG.sub("", text))
    text = re.sub(r" *\n *", "\n", re.sub(r" {2,}", " ", text))
    return re.sub(r"\n{2,}(- )", r"\n\1", re.sub(r"\n{3,}", "\n\n", text)).strip()


def paragraphs(text: str) -> list[str]:
    """Blocks between blank lines."""
    return [block for block in re.split(r"\n\s*\n", text.strip("\n")) if block.strip()]


def fingerprint(paragraph: str) -> str:
    """Equal for paragraphs that differ in case, space, digits and punctuation only."""
    return re.sub(r"[^a-z]+", " ", paragraph.lower()).strip()


def cut(text: str, size: int, least: int) -> tuple[str, str]:
    """The first paragraphs, between `least` and `size` characters where paragraphs allow it, and the rest.

    A text below `least` gives nothing (`""`, and the rest is all of it); where no paragraph ends between the two, the
    piece ends with the paragraph that goes beyond `size`.
    """
    if len(text) < least:
        return "", text
    if len(text) <= size:
        return text, ""
    end = text.rfind("\n\n", least, size)
    if end < 0:
        end = text.find("\n\n", size)
    if end < 0:
        end = len(text)
    return text[:end].rstrip() + "\n", text[end:].lstrip("\n")
