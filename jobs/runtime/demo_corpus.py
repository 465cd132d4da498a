"""Builds the embedded demonstration corpus, at run time, from text that ships inside the installed packages.

Long documents as SlimPajama `.jsonl.zst` and conversations in WildChat's parquet schema: true formats, real text,
and an extractive assistant. It is for a first look, not for training, and the folder says so.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import zstandard

from jobs.runtime.demo.digest import Digest
from jobs.runtime.demo.environment import Source, packages
from jobs.runtime.demo.oddities import odd_conversations, odd_documents
from jobs.runtime.demo.replies import reply
from jobs.runtime.demo.requests import compose
from jobs.runtime.demo.sources import CODE, KINDS
from jobs.runtime.demo.texts import cut, fingerprint, paragraphs, to_ascii
from jobs.runtime.demo.wildchat import MODEL, Conversation, write_conversations

# Characters that are more than 2,000 tokens: prose of few words has up to 5.2 characters a token, code about 4.
LEAST = {
    "licence": 10_400,
    "service_guide": 11_500,
    "changelog": 9_600,
    "error_catalogue": 9_600,
    "how_to_guide": 9_600,
}
USUAL_LEAST = 10_500
# Kinds with little supply stay short and give fewer; the others reach up to about 20,000 tokens.
NARROW = frozenset({"changelog", "error_catalogue", "how_to_guide", "language_manual", "licence", "worked_examples"})


@dataclass(frozen=True)
class Quota:
    """How many documents and conversations of a kind, and how much longer the longest is than the shortest."""

    documents: int
    conversations: int
    spread: float


FEW, MANY = Quota(12, 21, 1.1), Quota(14, 30, 6.0)
PASTED_SPREAD = 1.08
SENTENCES = 6  # an answer needs something to choose from
README = f"""# Demonstration data

Built from text that ships inside the installed Python packages (their pages, documentation, code, licences): `meta`
of each document names package, licence and place. The conversations are made up: the requests are composed from
templates, the replies are sentences of the pasted text, picked by word counts (`model` is `{MODEL}`). No person asked,
no language model answered. A few rows (too short, two turns, no reply, flagged, repeated) are there to be filtered
out. Good for a first look at the pipeline; not for training.
"""


class DemoCorpusError(Exception):
    """The environment ships too little text. The message says what is missing."""


@dataclass(frozen=True)
class DemoCorpus:
    """Where it lies, and how much of each kind there is: kind -> (documents, conversations), odd rows not counted."""

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
    seed and environment. What an earlier run wrote for the same two is kept as it is.

    Raises DemoCorpusError when a kind has nothing to offer.
    """
    folder = Path(folder)
    paths = folder / "documents.jsonl.zst", folder / "conversations.parquet"
    note, identity = folder / "corpus.json", identity_of(seed)
    known = json.loads(note.read_text(encoding="ascii")) if note.is_file() else {}
    if known.get("identity") == identity and all(path.is_file() for path in paths):
        return DemoCorpus(*paths, {kind: (n[0], n[1]) for kind, n in known["counts"].items()})
    documents, conversations, counts = compose_rows(seed)
    folder.mkdir(parents=True, exist_ok=True)
    note.unlink(missing_ok=True)
    write_documents(paths[0], documents)
    write_conversations(paths[1], conversations)
    (folder / "README.md").write_text(README, encoding="ascii")
    note.write_text(json.dumps({"identity": identity, "counts": counts}), encoding="ascii")  # last: all is whole
    return DemoCorpus(*paths, counts)


def identity_of(seed: int) -> str:
    """Hash of all that the corpus depends on: the seed, the installed packages, Python, and this code."""
    code = [Path(__file__), *sorted((Path(__file__).parent / "demo").glob("*.py"))]
    versions = [f"{name}=={each.version}" for name, each in packages().items()]
    parts = [str(seed), sys.version, *versions, *(path.read_text(encoding="utf-8") for path in code)]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def compose_rows(seed: int) -> tuple[list[dict[str, object]], list[Conversation], dict[str, tuple[int, int]]]:
    """Documents and conversations of all kinds in a seeded order, and how many there are of each kind."""
    documents: list[dict[str, object]] = []
    conversations: list[Conversation] = []
    counts = {}
    seen: set[str] = set()
    for kind in KINDS:
        rng = Random(f"{seed}/{kind}")
        long, pasted = allot(kind, rng, seen)
        if not long or not pasted:
            raise DemoCorpusError(
                f"The installed packages ship no text of the kind {kind}, so the demo corpus cannot be built. "
                "Install the full environment (`make setup`), or name your own inputs."
            )
        documents += [document_row(piece) for piece in long]
        conversations += [converse(rng, piece) for piece in pasted]
        counts[kind] = (len(long), len(pasted))
    documents += odd_documents(documents)
    conversations += odd_conversations(conversations)
    order = Random(seed)
    order.shuffle(documents)
    order.shuffle(conversations)
    return documents, conversations, counts


def allot(kind: str, rng: Random, seen: set[str]) -> tuple[list[Piece], list[Piece]]:
    """Pieces for documents and pieces to paste into conversations: one of each source while there are sources, then
    from what is left of them."""
    long: list[Piece] = []
    pasted: list[Piece] = []
    least, quota = LEAST.get(kind, USUAL_LEAST), FEW if kind in NARROW else MANY
    fresh = clean_sources(kind, least, rng, seen)
    rest: deque[Source] = deque()
    crumbs: list[Source] = []
    while len(long) < quota.documents or len(pasted) < quota.conversations:
        source = next(fresh, None) or next_of(rest, crumbs, least)
        if source is None:
            break
        turn_of_long = len(long) * quota.conversations <= len(pasted) * quota.documents and len(long) < quota.documents
        # Log-uniform: short texts are more frequent than long ones.
        size = round(least * 1.02 * (quota.spread if turn_of_long else PASTED_SPREAD) ** rng.random())
        text, left = cut(source.text, size, least)
        if left:
            (rest if len(left) >= least else crumbs).append(replace(source, text=left))
        if text and len(Digest(text).sentences) >= SENTENCES:
            (long if turn_of_long else pasted).append(Piece(kind, source, text))
    return long, pasted


def next_of(rest: deque[Source], crumbs: list[Source], least: int) -> Source | None:
    """What is left of a source; when nothing is, short remainders of several together."""
    if rest:
        return rest.popleft()
    texts: list[str] = []
    while crumbs and sum(map(len, texts)) < least * 1.2:
        last = crumbs.pop()
        texts.append(last.text)
    enough = sum(map(len, texts)) >= least
    return (
        replace(last, package="several", licence="several", place="several files", text="\n\n".join(texts))
        if enough
        else None
    )


def clean_sources(kind: str, least: int, rng: Random, seen: set[str]) -> Iterator[Source]:
    """Sources with their text in ASCII and without paragraphs that were there before; short texts of one package are
    put together."""
    baskets: dict[str, list[str]] = defaultdict(list)
    for source in KINDS[kind](rng):
        text = to_ascii(source.text)
        if text is None:
            continue
        text = text if kind in CODE else unseen(text, seen)
        basket = baskets[source.package]
        if len(text) >= least:
            yield replace(source, text=text)
        elif kind not in CODE and text:
            basket.append(text.strip("\n"))
        if sum(map(len, basket)) > least * 1.3:
            yield replace(source, place="several files", text="\n\n".join(basket))
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


def converse(rng: Random, piece: Piece) -> Conversation:
    """A user pastes the piece and asks; the assistant answers from it."""
    request = compose(rng, piece.kind, piece.text)
    return Conversation((request.message, reply(Digest(piece.text), request.shape, request.wish)))


def write_documents(path: Path, rows: list[dict[str, object]]) -> None:
    """JSON lines, compressed."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(zstandard.ZstdCompressor(level=6).compress(lines.encode("ascii")))
