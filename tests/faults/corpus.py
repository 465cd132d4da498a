"""A corpus as small as still takes every stage to its end, and the settings that go with it."""

from __future__ import annotations

from pathlib import Path

from tests.roots import prose, write_conversations, write_documents

KINDS = ("Summarise this report", "Translate this letter into French", "Explain this source code", "List the facts")
WORDS = ("granite", "harbour", "meadow", "basalt", "copper", "plankton", "lichen", "amber")
DOCUMENTS = 16


def write_corpus(folder: Path) -> list[str]:
    """Write the two inputs; the settings without a teacher's."""
    folder.mkdir(parents=True, exist_ok=True)
    turns = [[f"{KINDS[i % 4]}. {prose(word, 14)}", f"In short: {prose(word, 2)}"] for i, word in enumerate(WORDS)]
    talk = write_conversations(folder / "talk.jsonl", turns)
    texts = [prose(f"{WORDS[i % 8]} survey {i}", 16 + i) for i in range(DOCUMENTS)]
    documents = write_documents(folder / "docs.jsonl", texts)
    return [
        f"inputs.conversations=['{talk}']",
        f"inputs.documents=['{documents}']",
        "filter={min_conversation_tokens: 100, min_document_tokens: 100, max_pair_document_tokens: 2000}",
        "types.k=2",
        "targets={single: 3, multi: 1}",
        "classifier={trees: 20, floor_rows: 1000}",
        "embedder={chunks: 1, chunk_tokens: 64}",
        "selection.by=influence",  # so that every stage has its turn
        "influence={max_tokens: 512, device: cpu}",
    ]


def teacher(base_url: str, concurrency: int = 2) -> list[str]:
    """Settings of the fake server."""
    return [
        "llm={teacher: openai, model: fake, api_key_env: FAKE_KEY, "
        f"base_url: '{base_url}', concurrency: {concurrency}}}"
    ]
