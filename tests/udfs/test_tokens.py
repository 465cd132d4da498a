"""Token counts equal the reference whatever engine counts."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from udfs.settings import TokenizerSettings
from udfs.tokens import (
    TokenizerUnavailable,
    count_tokens,
    token_count,
    tokenizer_identity,
)
from udfs.tokens.engines import SAFE_RUN, Engine, build_engine, safe_pieces
from udfs.tokens.ladder import Counter
from udfs.tokens.samples import adversarial_texts
from udfs.tokens.vocabulary import find_vocabulary

EMBEDDED = TokenizerSettings()
ENGINES = ("fastokens", "kitoken", "tiktoken")


@pytest.fixture(scope="module")
def reference() -> tiktoken.Encoding:
    """tiktoken's own cl100k, built from the carried file by tiktoken itself."""
    before = os.environ.get("TIKTOKEN_CACHE_DIR")
    os.environ["TIKTOKEN_CACHE_DIR"] = str(find_vocabulary(EMBEDDED).path.parent)
    encoding = tiktoken.get_encoding("cl100k_base")
    os.environ.pop("TIKTOKEN_CACHE_DIR")
    if before is not None:
        os.environ["TIKTOKEN_CACHE_DIR"] = before
    return encoding


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer.json as models publish them: byte-level BPE, specials, truncation on."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<|endoftext|>", "<s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([Path(__file__).read_text()], trainer)
    tokenizer.enable_truncation(16)
    tokenizer.enable_padding(length=64)
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.mark.parametrize("engine", ["auto", *ENGINES, "hf"])
def test_every_engine_counts_like_the_reference(reference: tiktoken.Encoding, engine: str) -> None:
    texts = adversarial_texts()
    expected = [len(reference.encode_ordinary(text)) for text in texts]
    assert count_tokens(texts, TokenizerSettings(engine=engine)) == expected  # type: ignore[arg-type]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200) | st.lists(st.sampled_from(adversarial_texts()[:60]), max_size=6).map("".join))
def test_any_text_counts_like_the_reference(text: str) -> None:
    vocabulary = find_vocabulary(EMBEDDED)
    counts = {name: build(name, vocabulary).count([text])[0] for name in ENGINES}
    assert len(set(counts.values())) == 1, counts


BUILT: dict[str, Engine] = {}


def build(name: str, vocabulary: object) -> Engine:
    if name not in BUILT:
        BUILT[name] = build_engine(name, vocabulary)  # type: ignore[arg-type]
    return BUILT[name]


def test_the_fastest_engine_is_chosen() -> None:
    counter = Counter(EMBEDDED)
    assert (counter.engine.name, counter.reference.name) == ("fastokens", "tiktoken")


def test_specials_in_a_text_are_text(reference: tiktoken.Encoding) -> None:
    (count,) = count_tokens(["<|endoftext|>"], EMBEDDED)
    assert count == len(reference.encode_ordinary("<|endoftext|>")) > 1


def test_a_published_tokenizer_counts_whole_texts(published: Path) -> None:
    plain = Tokenizer.from_file(str(published / "tokenizer.json"))
    plain.no_truncation()
    plain.no_padding()
    plain.encode_special_tokens = True
    texts = [*adversarial_texts(), Path(__file__).read_text()]
    expected = [len(plain.encode(text, add_special_tokens=False).ids) for text in texts]
    for name in (str(published), str(published / "tokenizer.json")):
        assert count_tokens(texts, TokenizerSettings(name=name)) == expected


def test_identity_is_of_the_content(published: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere.json"
    copy.write_bytes((published / "tokenizer.json").read_bytes())
    first = tokenizer_identity(TokenizerSettings(name=str(published)))
    assert first == tokenizer_identity(TokenizerSettings(name=str(copy)))
    assert first != tokenizer_identity(EMBEDDED) == tokenizer_identity(TokenizerSettings(engine="hf"))


class Wrong:
    """An engine that is right on short texts only."""

    def __init__(self, right: Engine) -> None:
        self.right = right

    def count(self, texts: Sequence[str]) -> list[int]:
        return [n + (len(text) > 15_000) for n, text in zip(self.right.count(texts), texts, strict=True)]


def test_an_engine_that_differs_on_a_document_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    right = build("tiktoken", find_vocabulary(EMBEDDED))

    def fake(name: str, vocabulary: object) -> Engine:
        return Engine("fastokens", Wrong(right).count) if name == "fastokens" else right

    monkeypatch.setattr("udfs.tokens.ladder.build_engine", fake)
    counter = Counter(TokenizerSettings(engine="fastokens"))
    assert counter.engine.name == "fastokens"
    long = "a b c " * 4_000
    assert counter.count(["short", long]) == right.count(["short", long])
    assert counter.engine is counter.reference


@pytest.mark.parametrize("failure", [RuntimeError("no"), type("PanicException", (BaseException,), {})("panic")])
def test_an_engine_that_fails_is_left(monkeypatch: pytest.MonkeyPatch, failure: BaseException) -> None:
    right = build("tiktoken", find_vocabulary(EMBEDDED))

    def count(texts: Sequence[str]) -> list[int]:
        if "trigger" in texts:
            raise failure
        return right.count(texts)

    monkeypatch.setattr(
        "udfs.tokens.ladder.build_engine",
        lambda name, _: Engine("fastokens", count) if name == "fastokens" else right,
    )
    counter = Counter(TokenizerSettings(engine="fastokens", parity_documents=1))
    assert counter.count(["first"]) == right.count(["first"])
    assert counter.engine.name == "fastokens"
    assert counter.count(["trigger"]) == right.count(["trigger"])
    assert counter.engine is counter.reference


def test_lone_surrogates_stop_nothing() -> None:
    assert count_tokens(["half \ud83d of it"], EMBEDDED) == count_tokens(["half \ufffd of it"], EMBEDDED)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_million_spaces_kill_no_engine(engine: str) -> None:
    text = "x" + " " * 1_000_000 + "y" + "\n" * 1_000_000
    (count,) = count_tokens([text], TokenizerSettings(engine=engine))  # type: ignore[arg-type]
    (exact,) = count_tokens([text], TokenizerSettings(engine="fastokens"))
    assert abs(count - exact) <= 40


def test_long_runs_are_cut_and_nothing_else() -> None:
    text = "a" + " " * (3 * SAFE_RUN + 5) + "b  c" + "\t\n" * SAFE_RUN
    pieces = safe_pieces(text)
    assert "".join(pieces) == text and max(map(len, pieces)) == SAFE_RUN
    assert safe_pieces("a b " * SAFE_RUN) == ["a b " * SAFE_RUN]


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing.json", "tests"])
def test_missing_tokenizers_say_what_to_do(name: str) -> None:
    with pytest.raises(TokenizerUnavailable, match=r"tokenizer\.json"):
        find_vocabulary(TokenizerSettings(name=name))


def test_an_unknown_hub_id_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> str:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(TokenizerUnavailable, match=r"someone/model.*no network\)"):
        find_vocabulary(TokenizerSettings(name="someone/model"))


def test_a_machine_without_the_carrier_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    with pytest.raises(TokenizerUnavailable, match="litellm"):
        find_vocabulary(EMBEDDED)


def test_embedded_needs_no_network_and_no_carrier_import(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    Counter(EMBEDDED)
    code = (
        "import sys; from udfs.settings import TokenizerSettings; from udfs.tokens import count_tokens;"
        "assert count_tokens(['a'], TokenizerSettings()) == [1];"
        "print(sorted({'litellm', 'torch', 'transformers', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.spark
def test_counts_in_spark(spark: SparkSession) -> None:
    texts = [*adversarial_texts()[:40], None]
    frame = spark.createDataFrame([(n, text) for n, text in enumerate(texts)], "n int, text string").repartition(3)
    counted = frame.select("n", token_count(EMBEDDED)("text").alias("tokens")).where("tokens is null or tokens >= 0")
    found = [row["tokens"] for row in counted.orderBy("n").collect()]
    assert found == [*count_tokens([text for text in texts if text is not None], EMBEDDED), None]
    assert counted.where(F.col("tokens") > 100_000).count() == 0
