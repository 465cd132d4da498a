"""Builds the embedded demonstration corpus, at run time, from text that ships inside the installed packages.

Long documents as SlimPajama `.jsonl.zst` and conversations in WildChat's parquet schema: true formats, real text,
and an extractive assistant. It is for a first look, not for training, and the folder says so.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import zstandard

from jobs.runtime.demo.digest import Digest
from jobs.runtime.demo.environment import Source
from jobs.runtime.demo.replies import reply
from jobs.runtime.demo.requests import compose
from jobs.runtime.demo.sources import CODE, KINDS
from jobs.runtime.demo.texts import cut, fingerprint, paragraphs, to_ascii
from jobs.runtime.demo.wildchat import MODEL, write_conversations

DOCUMENTS, CONVERSATIONS = 13, 26  # of each kind
LEAST = 10_500  # characters; more than 2,000 tokens of any kind of English text
WIDEST_PASTE = 15_000
# Kinds with little supply stay short; the others reach up to about 20,000 tokens.
NARROW = {"changelog", "licence", "how_to_guide", "language_manual", "error_catalogue"}
WIDEST = {"narrow": 15_000, "wide": 64_000}
SENTENCES = 10  # an answer needs something to choose from
README = f"""# Demonstration data

Built from text that ships inside the installed Python packages (their pages, documentation, code, licences): see `meta` of
each document for package, licence and place. The conversations are made up: the requests are composed from templates, the
replies are sentences of the pasted text, picked by word counts (`model` is `{MODEL}`). No person asked, no language model
answered. Good for a first look at the pipeline; not for training.
"""


class DemoCorpusError(Exception):
    """The environment ships too little text. The message says what is missing."""


@dataclass(frozen=True)
class DemoCorpus:
    """Where it lies, and how much of each kind there is: kind -> (documents, conversations)."""

    documents: Path
    conversations: Path
    counts: dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Piece:
    """A stretch of one source, in ASCII. Pieces of one corpus do not overlap."""

    kind: str
    source: Source
    text: str


def build_demo_corpus(folder: Path | str, seed: int) -> DemoCorpus:
    """Write `documents.jsonl.zst`, `conversations.parquet` and a README into `folder`; the same bytes for the same
    seed and environment.

    Raises DemoCorpusError when a kind has nothing to offer.
    """
    folder = Path(folder)
    documents, conversations, counts = [], [], {}
    seen: set[str] = set()
    for kind in KINDS:
        rng = Random(f"{seed}/{kind}")  # a kind does not depend on what another one found
        long, pasted = allot(kind, rng, seen)
        if not long or not pasted:
            raise DemoCorpusError(
                f"The installed packages ship no text of the kind {kind}, so the demo corpus cannot be built. "
                "Install the full environment (`make setup`), or name your own inputs."
            )
        documents += [document_row(piece) for piece in long]
        conversations += [converse(rng, piece) for piece in pasted]
        counts[kind] = (len(long), len(pasted))
    order = Random(seed)
    order.shuffle(documents)
    order.shuffle(conversations)
    folder.mkdir(parents=True, exist_ok=True)
    corpus = DemoCorpus(folder / "documents.jsonl.zst", folder / "conversations.parquet", counts)
    write_documents(corpus.documents, documents)
    write_conversations(corpus.conversations, conversations)
    (folder / "README.md").write_text(README, encoding="ascii")
    return corpus


def allot(kind: str, rng: Random, seen: set[str]) -> tuple[list[Piece], list[Piece]]:
    """Pieces for documents and pieces to paste into conversations: from as many sources as possible, then from what
    is left of them."""
    long: list[Piece] = []
    pasted: list[Piece] = []
    rest: deque[tuple[Source, str]] = deque()
    fresh = clean_sources(kind, rng, seen)
    while len(long) < DOCUMENTS or len(pasted) < CONVERSATIONS:
        source, text = next(fresh, None) or (rest.popleft() if rest else (None, ""))
        if source is None:
            break
        wanted_long = len(pasted) >= CONVERSATIONS or len(long) < DOCUMENTS * (len(pasted) + 1) / CONVERSATIONS
        piece, left = cut(text, draw_size(rng, kind, wanted_long), LEAST)
        if not piece or len(Digest(piece).sentences) < SENTENCES:
            continue
        (long if wanted_long and len(long) < DOCUMENTS else pasted).append(Piece(kind, source, piece))
        if len(left) >= LEAST:
            rest.append((source, left))
    return long, pasted


def draw_size(rng: Random, kind: str, long: bool) -> int:
    """Characters, log-uniform: short texts are more frequent than long ones."""
    widest = WIDEST["narrow" if kind in NARROW else "wide"] if long else WIDEST_PASTE
    return round(math.exp(rng.uniform(math.log(LEAST * 1.1), math.log(widest))))


def clean_sources(kind: str, rng: Random, seen: set[str]) -> Iterator[tuple[Source, str]]:
    """Sources with their text in ASCII and without paragraphs that were there before; short texts of one package are
    put together."""
    baskets: dict[str, list[str]] = defaultdict(list)
    for source in KINDS[kind](rng):
        text = to_ascii(source.text)
        if text is None:
            continue
        text = text if kind in CODE else unseen(text, seen)
        if len(text) >= LEAST:
            yield source, text
        elif kind not in CODE and text:
            basket = baskets[source.package]
            basket.append(text)
            if sum(map(len, basket)) > LEAST * 1.3:
                yield Source(source.package, source.licence, "several files", "\n\n".join(basket)), "\n\n".join(basket)
                basket.clear()


def unseen(text: str, seen: set[str]) -> str:
    """The text without paragraphs that stood in an earlier one (boilerplate, licences copied into licences)."""
    kept = []
    for paragraph in paragraphs(text):
        mark = fingerprint(paragraph)
        if len(mark) < 60 or mark not in seen:
            kept.append(paragraph)
            seen.add(mark)
    return "\n\n".join(kept)


def document_row(piece: Piece) -> dict[str, object]:
    """A SlimPajama line; `meta` says where the text is from and under which licence it came."""
    name = "Demo" + "".join(word.capitalize() for word in piece.kind.split("_"))
    meta = {
        "redpajama_set_name": name,
        "licence": piece.source.licence,
        "package": piece.source.package,
        "place": piece.source.place,
        "demonstration": True,
    }
    return {"text": piece.text, "meta": meta}


def converse(rng: Random, piece: Piece) -> list[str]:
    """A user pastes the piece and asks; the assistant answers from it."""
    request = compose(rng, piece.kind, piece.text)
    return [request.message, reply(Digest(piece.text), request.shape, request.wish)]


def write_documents(path: Path, rows: list[dict[str, object]]) -> None:
    """JSON lines, compressed."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(zstandard.ZstdCompressor(level=6).compress(lines.encode("ascii")))
