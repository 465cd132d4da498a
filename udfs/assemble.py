"""Turns an answer of the teacher into a sample: context, messages, evidence spans, grounding, reject reason.

It knows replies and texts; pairings, quotas and tables are not its business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from udfs.gates import gate, grounds, texts_of
from udfs.llm.parse import parse_reply
from udfs.llm.schemas import AnswerReply
from udfs.settings import EvidenceSettings, TokenizerSettings
from udfs.tokens import count_tokens

ASSEMBLED_DDL = (
    "input_id string, reject_reason string, context string, sample_instruction string, response string, "
    "messages array<struct<role: string, content: string>>, "
    "evidence array<struct<doc_id: string, start: bigint, end: bigint, exact: boolean>>, "
    "grounded_share double, document_shares array<struct<doc_id: string, share: double>>, "
    "places array<struct<start: bigint, end: bigint>>, "
    "lengths struct<context: bigint, instruction: bigint, response: bigint>"
)
COLUMNS = (
    "input_id",
    "reject_reason",
    "context",
    "sample_instruction",
    "response",
    "messages",
    "evidence",
    "grounded_share",
    "document_shares",
    "places",
    "lengths",
)


def assemble(
    evidence: EvidenceSettings, tokenizer: TokenizerSettings
) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    """For mapInPandas: (input_id, reason, text, variables) rows in, ASSEMBLED_DDL rows out."""

    def run(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        for frame in frames:
            rows = [assemble_one(dict(row), evidence, tokenizer) for row in _records(frame)]
            yield pd.DataFrame(rows, columns=list(COLUMNS))

    return run


def _records(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for values in frame.itertuples(index=False):
        yield values._asdict()  # type: ignore[operator]


def assemble_one(row: dict[str, Any], evidence: EvidenceSettings, tokenizer: TokenizerSettings) -> dict[str, Any]:
    """One sample; `reject_reason` says why it is not to be trained on, and what was made is kept beside it."""
    made: dict[str, Any] = dict.fromkeys(COLUMNS)
    made["input_id"] = row["input_id"]
    if row["reason"] is not None:
        return made | {"reject_reason": row["reason"]}
    reply = parse_reply(row["text"], "answer").value
    if not isinstance(reply, AnswerReply):
        return made | {"reject_reason": "llm:bad_json"}
    texts = texts_of(json.loads(row["variables"]))
    context, places = build_context([text for _, text in texts])
    made |= {"context": context, "places": [{"start": start, "end": end} for start, end in places]}
    if not reply.answerable:
        return made | {"reject_reason": "unanswerable"}
    instruction, response = reply.instruction.strip(), reply.response.strip()
    lengths = count_tokens([context, instruction, response], tokenizer)
    made |= {
        "sample_instruction": instruction,
        "response": response,
        "messages": [
            {"role": "user", "content": f"{context}\n\n{instruction}"},
            {"role": "assistant", "content": response},
        ],
        **grounds(reply, texts, evidence),
        "lengths": dict(zip(("context", "instruction", "response"), lengths, strict=True)),
    }
    return made | {"reject_reason": gate(made, evidence)}


def build_context(texts: list[str]) -> tuple[str, list[tuple[int, int]]]:
    """The documents as the model sees them, and where each text stands in it (character offsets).

    One document stands alone; several stand between numbered lines, so that their bounds are clear.
    """
    if len(texts) == 1:
        return texts[0], [(0, len(texts[0]))]
    context, places = "", []
    for number, text in enumerate(texts, start=1):
        context += f"[Document {number}]\n"
        places.append((len(context), len(context) + len(text)))
        context += f"{text}\n[End of document {number}]\n\n"
    return context.rstrip("\n"), places
