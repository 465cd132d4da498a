"""What an answer must show to be accepted: evidence in its documents, enough of it, and from each of them.

It judges one answer by its texts; who asked for it, and what is made of it, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from udfs.evidence import grounding, locate_quotes
from udfs.llm.parse import parse_reply
from udfs.llm.schemas import AnswerReply
from udfs.settings import EvidenceSettings


def grounds(reply: AnswerReply, texts: Sequence[tuple[str, str]], evidence: EvidenceSettings) -> dict[str, Any]:
    """What the answer rests on, as a sample stores it: evidence, grounded_share, document_shares.

    `texts` are (doc_id, text) of its documents in order.
    """
    hints = [texts[quote.document - 1][0] if quote.document <= len(texts) else None for quote in reply.quotes]
    spans = locate_quotes([quote.text for quote in reply.quotes], texts, evidence, hints)
    found = grounding(reply.response.strip(), spans, texts)
    return {
        "evidence": [{"doc_id": s.doc_id, "start": s.start, "end": s.end, "exact": s.exact} for s in spans],
        "grounded_share": float(found.share),
        "document_shares": [{"doc_id": doc, "share": float(found.document_shares.get(doc, 0.0))} for doc, _ in texts],
    }


def gate(made: Mapping[str, Any], evidence: EvidenceSettings) -> str | None:
    """Why an answer with these grounds is not accepted; null when it is."""
    if not made["evidence"]:
        return "no_evidence"
    if made["grounded_share"] < evidence.min_grounded_share:
        return "ungrounded"
    shares = [part["share"] for part in made["document_shares"]]
    if len(shares) > 1 and min(shares) < evidence.min_document_share:
        return "one_sided"
    return None


def reason_against(text: str | None, variables: Mapping[str, Any], evidence: EvidenceSettings) -> str | None:
    """Why the answer with this text makes no accepted sample; null when it makes one. Codes as samples have them."""
    reply = parse_reply(text, "answer").value
    if not isinstance(reply, AnswerReply):
        return "llm:bad_json"
    if not reply.answerable:
        return "unanswerable"
    return gate(grounds(reply, texts_of(variables), evidence), evidence)


def texts_of(variables: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(doc_id, text) of the documents that an answer was asked about."""
    return [(document["doc_id"], document["text"]) for document in variables["documents"]]
