"""A few rows that the filters must turn away, made from good ones: a demo without rejections would show half of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from jobs.runtime.demo.wildchat import Conversation

SECOND_TURN = ("Thank you. Can you make it shorter?", "Yes: see the first two items above.")
GREETING = ("Can you help me with a long text?", "Yes, please paste it.")


def odd_conversations(good: Sequence[Conversation]) -> list[Conversation]:
    """Too short, two turns, no reply, flagged, the same again, nearly the same again. Needs ten good ones."""
    return [
        Conversation(GREETING),
        replace(good[0], messages=(*good[0].messages, *SECOND_TURN)),
        replace(good[1], messages=(*good[1].messages, *SECOND_TURN)),
        replace(good[2], messages=good[2].messages[:1]),
        replace(good[3], messages=(good[3].messages[0], "")),
        Conversation((good[4].messages[0] + "\n\nHurry up, you stupid machine!", good[4].messages[1]), toxic=True),
        good[5],
        good[6],
        replace(good[7], messages=(good[7].messages[0] + "\n\nThank you in advance!", good[7].messages[1])),
        replace(good[8], messages=("Hello. " + good[8].messages[0], good[8].messages[1])),
    ]


def odd_documents(good: Sequence[dict[str, object]]) -> list[dict[str, object]]:
    """Too short, the same again, nearly the same again. Needs five good ones."""
    texts = [str(row["text"]) for row in good[:5]]
    changed = [
        texts[0][:1_500],
        texts[1][:4_000],
        texts[2],
        texts[3] + "\nEnd of the document.\n",
        texts[4].replace("\n", "\n\n", 1),
    ]
    return [{**row, "text": text} for row, text in zip(good, changed, strict=False)]
