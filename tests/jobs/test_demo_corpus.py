"""The demonstration corpus: enough of each kind, in true formats, varied, and answered from the pasted text."""

from __future__ import annotations

import json
import re
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from jobs.runtime.demo.digest import Digest
from jobs.runtime.demo.environment import SITE, STDLIB
from jobs.runtime.demo.replies import SHAPES, Wish, reply
from jobs.runtime.demo.requests import SPECIAL, TASKS
from jobs.runtime.demo.sources import CODE, KINDS
from jobs.runtime.demo.texts import cut, fingerprint, from_html, from_markdown, paragraphs, to_ascii
from jobs.runtime.demo_corpus import DemoCorpus, build_demo_corpus, compose_rows

ODD_DOCUMENTS, ODD_CONVERSATIONS = 5, 10
WITHOUT_IDLE = {"changelog": (9, 16)}  # some Pythons come without IDLE, whose news files are the longest

TEXT = """# Orchard keeping

An orchard is a planted stand of fruit trees. Young trees must be watered twice a week in summer.

## Pruning

Pruning removes dead wood before the sap rises. Never prune a wet tree, because wet cuts invite canker.
- Old trees need a lighter hand than young ones.
- Saws should be cleaned after 12 trees.

## Harvest

Apples keep for 5 months in a cold cellar. Pears may be picked early, e.g. before they are soft to the touch.

```
>>> harvest(trees)
```
"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    return build_demo_corpus(tmp_path_factory.mktemp("demo"), seed=1)


@pytest.fixture(scope="module")
def documents(corpus: DemoCorpus) -> list[dict[str, Any]]:
    with corpus.documents.open("rb") as stream:
        lines = zstandard.ZstdDecompressor().stream_reader(stream).read().decode("ascii").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def conversations(corpus: DemoCorpus) -> list[dict[str, Any]]:
    return pq.read_table(corpus.conversations).to_pylist()


def messages(row: dict[str, Any]) -> list[str]:
    return [turn["content"] for turn in row["conversation"]]


def test_enough_of_each_kind(corpus: DemoCorpus, documents: list[dict[str, Any]]) -> None:
    assert len(corpus.counts) >= 8
    assert short_kinds(corpus.counts) == {}
    assert sum(docs for docs, _ in corpus.counts.values()) >= 150
    assert sum(talks for _, talks in corpus.counts.values()) >= 300
    named = Counter(row["meta"]["redpajama_set_name"] for row in documents)
    assert len(named) == len(corpus.counts) and sum(named.values()) == sum(corpus_documents(corpus)) + ODD_DOCUMENTS


def corpus_documents(corpus: DemoCorpus) -> list[int]:
    return [docs for docs, _ in corpus.counts.values()]


def short_kinds(counts: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """Kinds with fewer documents or conversations than a document type needs."""
    floors = {} if (STDLIB / "idlelib").is_dir() else WITHOUT_IDLE
    least = {kind: floors.get(kind, (12, 20)) for kind in counts}
    return {kind: n for kind, n in counts.items() if n[0] < least[kind][0] or n[1] < least[kind][1]}


def test_documents_say_where_they_are_from(documents: list[dict[str, Any]]) -> None:
    for row in documents:
        assert set(row) == {"text", "meta"} and row["text"].isascii()
        assert row["meta"]["demonstration"] is True and row["meta"]["package"] and row["meta"]["licence"]
    stated = [row for row in documents if row["meta"]["licence"] not in {"unknown", "several"}]
    assert len(stated) > 0.9 * len(documents)


def test_lengths_are_those_of_long_documents(
    documents: list[dict[str, Any]], conversations: list[dict[str, Any]]
) -> None:
    """2,000 to 30,000 tokens by a real tokenizer; the odd rows are the only short ones."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(
        str(SITE / "litellm" / "litellm_core_utils" / "tokenizers" / "anthropic_tokenizer.json")
    )
    lengths = [len(code.ids) for code in tokenizer.encode_batch([row["text"] for row in documents])]
    assert sum(2_000 <= n <= 20_000 for n in lengths) >= 150 and max(lengths) <= 30_000
    talks = [len(code.ids) for code in tokenizer.encode_batch(["\n".join(messages(row)) for row in conversations])]
    assert sum(n > 2_000 for n in talks) >= 300 + ODD_CONVERSATIONS - 1


def test_conversations_have_the_columns_of_wildchat(corpus: DemoCorpus) -> None:
    schema = pq.read_schema(corpus.conversations)
    assert schema.names[:6] == ["conversation_hash", "model", "timestamp", "conversation", "turn", "language"]
    assert schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
    turn = schema.field("conversation").type.value_type
    assert {"content", "role", "language", "toxic", "redacted", "turn_identifier"} <= {field.name for field in turn}
    categories = schema.field("openai_moderation").type.value_type.field("categories").type
    assert {"harassment/threatening", "self-harm"} <= {field.name for field in categories}


def test_conversations_are_marked_and_single_turn_but_for_the_odd_ones(conversations: list[dict[str, Any]]) -> None:
    assert {row["model"] for row in conversations} == {"demo-extractive"}
    plain = [row for row in conversations if row["turn"] == 1 and len(messages(row)) == 2 and messages(row)[1]]
    assert len(plain) >= 300
    for row in plain:
        assert [turn["role"] for turn in row["conversation"]] == ["user", "assistant"]
        assert all(turn["content"].isascii() for turn in row["conversation"])


def test_the_odd_rows_are_there(conversations: list[dict[str, Any]]) -> None:
    assert sum(row["toxic"] for row in conversations) == 1
    assert sum(row["turn"] == 2 for row in conversations) == 2
    assert sum(len(messages(row)) == 1 or not messages(row)[1] for row in conversations) == 2
    repeated = Counter(row["conversation_hash"] for row in conversations)
    assert sum(n - 1 for n in repeated.values()) == 2


def test_answers_are_made_of_the_pasted_text(conversations: list[dict[str, Any]]) -> None:
    """Nearly every word of an answer stands in the question; what remains is the frame of the shape."""
    shares = []
    for row in conversations:
        asked, answered = messages(row)[0], [*messages(row), ""][1]
        known = set(re.findall(r"[a-z]{4,}", asked.lower()))
        words = re.findall(r"[a-z]{4,}", answered.lower())
        if words and row["turn"] == 1 and len(words) > 20:
            shares.append(sum(word in known for word in words) / len(words))
    assert len(shares) > 290 and min(shares) > 0.55 and statistics.median(shares) > 0.95


def test_requests_vary(conversations: list[dict[str, Any]]) -> None:
    """The request without the pasted text: hardly any two alike."""
    asked = [max(messages(row)[0].split("\n\n"), key=lambda part: "?" in part or "." in part) for row in conversations]
    assert len(TASKS) >= 15 and set(SPECIAL) == set(KINDS)
    assert len(set(asked)) > 0.7 * len(asked)


def test_documents_and_conversations_do_not_overlap(
    documents: list[dict[str, Any]], conversations: list[dict[str, Any]]
) -> None:
    """No long paragraph of a document is pasted into a conversation, and none stands in two documents."""
    holders: dict[str, set[int]] = defaultdict(set)
    for number, row in enumerate(documents):
        if not any(kind in row["meta"]["redpajama_set_name"].lower() for kind in ("sourcecode", "testcode")):
            for paragraph in paragraphs(row["text"]):
                if len(fingerprint(paragraph)) > 200:
                    holders[fingerprint(paragraph)].add(number)
    assert sum(len(numbers) > 1 for numbers in holders.values()) <= 0.1 * len(holders)  # the odd documents repeat
    pasted = {fingerprint(p) for row in conversations for p in paragraphs(messages(row)[0])}
    assert len(pasted & set(holders)) < 0.01 * len(holders)


@pytest.mark.faults
def test_other_seed_other_rows(documents: list[dict[str, Any]]) -> None:
    other, _, counts = compose_rows(seed=2)
    assert short_kinds(counts) == {}
    known = {row["text"] for row in documents}
    assert sum(row["text"] in known for row in other) < 0.5 * len(other)


def test_what_is_there_is_kept_and_what_is_torn_is_made_anew(corpus: DemoCorpus, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus.documents.parent, copy)
    kept = build_demo_corpus(copy, seed=1)
    assert kept.counts == corpus.counts
    assert kept.documents.stat().st_mtime_ns == corpus.documents.stat().st_mtime_ns
    kept.conversations.unlink()
    again = build_demo_corpus(copy, seed=1)
    assert again.documents.stat().st_mtime_ns > corpus.documents.stat().st_mtime_ns
    assert again.documents.read_bytes() == corpus.documents.read_bytes()
    assert again.conversations.read_bytes() == corpus.conversations.read_bytes()
    assert "not for training" in (copy / "README.md").read_text()


# --- parts -------------------------------------------------------------------------------------------------------


def test_digest_takes_a_text_apart() -> None:
    digest = Digest(TEXT)
    assert [name for name, _ in digest.entries] == ["Orchard keeping", "Pruning", "Harvest"]
    texts = [sentence.text for sentence in digest.sentences]
    assert "Old trees need a lighter hand than young ones." in texts
    assert "Pears may be picked early, e.g. before they are soft to the touch." in texts
    assert not any("harvest(trees)" in text for text in texts)
    assert {sentence.position for sentence in digest.ranked} <= {sentence.position for sentence in digest.sentences}


def test_comments_in_code_are_no_headings() -> None:
    code = "import os\n\n\ndef load(path):\n    # Read the whole file at once, it is small.\n    return path\n"
    assert [(each.heading, each.text) for each in Digest(code).sentences] == [
        ("def load", "Read the whole file at once, it is small.")
    ]


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_every_shape_answers_from_the_text(shape: str) -> None:
    answer = reply(Digest(TEXT), shape, Wish(items=3, overview=True, closing=True))
    assert any(sentence.text in answer for sentence in Digest(TEXT).sentences)
    assert answer.startswith("In one sentence: ") and "\n\nLeft out: " in answer


def test_special_shapes_pick_what_they_are_for() -> None:
    digest = Digest(TEXT)
    assert "must be watered" in reply(digest, "duties", Wish(items=2))
    assert "| 5 | Apples keep for 5 months" in reply(digest, "figures", Wish(items=5))
    assert "**orchard**: An orchard is a planted stand" in reply(
        digest, "glossary", Wish(items=1)
    ) or "Pruning" in reply(digest, "glossary", Wish(items=3))
    assert json.loads(reply(digest, "structured", Wish(items=2)))["title"] == "Orchard keeping"
    short = reply(digest, "bullets", Wish(items=8, short=True)).splitlines()
    assert all(len(line.split()) <= 26 for line in short)


def test_every_task_and_special_has_a_shape() -> None:
    named = set(TASKS) | {shape for pairs in SPECIAL.values() for shape, _ in pairs}
    assert named <= set(SHAPES)
    assert CODE.issubset(KINDS)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>One <code>two</code>.</p><p>Three</p>", "One two.\n\nThree"),
        ("<ul><li><p>a &amp; b</p></li><li>c</li></ul>", "- a & b\n- c"),
    ],
)
def test_html(html: str, text: str) -> None:
    assert re.sub(r"\n+", "\n", from_html(html)) == re.sub(r"\n+", "\n", text)


def test_markdown() -> None:
    text = (
        "[![badge](https://x/y.svg)](https://x)\n# Name\n<h4 align='center'>A [link](https://x \"t\")</h4> of List<T>\n"
    )
    assert from_markdown(text).strip() == "# Name\nA link of List<T>"


def test_ascii() -> None:
    assert to_ascii("caf\u00e9 \u201cx\u201d\r\n\n\n\ny  \n") == 'cafe "x"\n\ny\n'
    assert to_ascii("\u4f60\u597d world") is None and to_ascii("") is None


def test_cut() -> None:
    text = "a" * 30 + "\n\n" + "b" * 30 + "\n\n" + "c" * 30
    assert cut(text, 70, 20) == ("a" * 30 + "\n\n" + "b" * 30 + "\n", "c" * 30)
    assert cut(text, 40, 35) == ("a" * 30 + "\n\n" + "b" * 30 + "\n", "c" * 30)  # no end between: the next one
    assert cut(text, 500, 20) == (text, "") and cut("short", 500, 20) == ("", "short")
