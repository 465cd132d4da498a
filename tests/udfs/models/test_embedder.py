"""Vectors: equal to an obvious loop, the same bit for bit in any company, empty texts at zero."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
import torch

from udfs.models import encoder as encoder_module
from udfs.models.embedder import embed_batches, embed_texts
from udfs.models.encoder import Encoder, load_encoder
from udfs.models.errors import ModelUnavailable
from udfs.settings import EmbedderSettings

Settings = Callable[..., EmbedderSettings]


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny models of other tests never answer for this one; the embedded one is kept."""
    kept = {key: model for key, model in encoder_module._models.items() if key[0] == "embedded"}
    monkeypatch.setattr(encoder_module, "_models", kept)
    yield


def _texts(count: int, longest: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(f"w{draw.randrange(50)}" for _ in range(draw.randint(1, longest))) for _ in range(count)]


@torch.inference_mode()
def _plain(folder: str, texts: list[str], chunks: int, size: int) -> np.ndarray:
    """The obvious way, by transformers: one chunk at a time, no padding, no batch."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    vectors = []
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) <= chunks * size:
            parts = [ids[i : i + size] for i in range(0, len(ids), size)]
        else:
            steps = [0] if chunks == 1 else [i * (len(ids) - size) // (chunks - 1) for i in range(chunks)]
            parts = [ids[i : i + size] for i in steps]
        total = np.zeros(model.config.hidden_size)
        for part in parts:
            whole = [2, *part, 3] if model.config.model_type == "bert" else part
            hidden = model(input_ids=torch.tensor([whole])).last_hidden_state[0]
            total += len(part) * hidden.mean(dim=0).double().numpy()
        vectors.append(np.round(total / np.linalg.norm(total), 5))
    return np.array(vectors)


@pytest.mark.parametrize(("documents", "chunks"), [(False, 1), (True, 3)])
def test_vectors_equal_one_text_at_a_time(tiny_settings: Settings, documents: bool, chunks: int) -> None:
    texts = _texts(60, 40)
    settings = tiny_settings()
    vectors = embed_texts(texts, settings, documents)
    plain = _plain(settings.name, texts, chunks, 6)
    assert vectors.dtype == np.float32 and vectors.shape == (60, 16)
    assert np.abs(vectors - plain).max() <= 1.1e-5
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    assert (vectors == np.round(vectors.astype(np.float64), 5).astype(np.float32)).all()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_vector_does_not_depend_on_its_batch(tiny_settings: Settings, dtype: str) -> None:
    texts = _texts(40, 30)
    whole = embed_texts(texts, tiny_settings(dtype=dtype, batch_tokens=10_000), True)
    alone = np.vstack([embed_texts([text], tiny_settings(dtype=dtype, batch_tokens=1), True) for text in texts])
    assert whole.tobytes() == alone.tobytes()
    order = random.Random(1).sample(range(40), 40)
    mixed = embed_texts([texts[i] for i in order], tiny_settings(dtype=dtype, batch_tokens=100), True)
    assert mixed.tobytes() == whole[order].tobytes()


def test_a_causal_model_in_a_torch_file_is_an_embedder_too(tiny_settings: Settings, tiny_llama: object) -> None:
    settings = tiny_settings(name=str(tiny_llama))
    texts = _texts(20, 30)
    model = load_encoder(settings).model
    assert (model.prefix, model.suffix, model.window) == ((), (), 64)
    assert np.abs(embed_texts(texts, settings, True) - _plain(settings.name, texts, 3, 8)).max() <= 1.1e-5


def test_a_text_without_a_token_is_the_zero_vector(tiny_settings: Settings) -> None:
    vectors = embed_texts(["", None, " \n\t", "w1", "\ud800"], tiny_settings())
    assert vectors.any(axis=1).tolist() == [False, False, False, True, True]
    assert embed_texts([], tiny_settings()).shape == (0, 16)
    assert embed_texts([""], tiny_settings(), True).tolist() == [[0.0] * 16]
    assert not np.signbit(vectors[0]).any()


def test_equal_texts_are_embedded_once(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    means = Encoder.means
    monkeypatch.setattr(Encoder, "means", lambda self, ids, budget: read.append(len(ids)) or means(self, ids, budget))
    vectors = embed_texts(["w1", "w2", "w1", "", "w1"], tiny_settings())
    assert read == [2]
    assert (vectors[0] == vectors[2]).all() and (vectors[0] == vectors[4]).all()


def test_the_model_is_loaded_once_per_settings(tiny_settings: Settings) -> None:
    first = load_encoder(tiny_settings())
    assert load_encoder(tiny_settings(chunks=1)) is first
    assert load_encoder(tiny_settings(dtype="bfloat16")) is not first
    assert load_encoder(tiny_settings()) is first
    load_encoder(tiny_settings(revision="other"))  # a third one drops the oldest
    assert len(encoder_module._models) == encoder_module.KEPT_MODELS


def test_a_batch_too_big_for_the_device_is_halved(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = _texts(30, 6)
    expected = embed_texts(texts, tiny_settings(batch_tokens=10_000))
    forward = Encoder._forward

    def small_device(self: Encoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if len(ids) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, ids, mask)

    monkeypatch.setattr(Encoder, "_forward", small_device)
    assert (embed_texts(texts, tiny_settings(batch_tokens=10_000)) == expected).all()


def test_chunks_that_do_not_fit_the_model_are_an_error(tiny_settings: Settings) -> None:
    with pytest.raises(ModelUnavailable, match=r"reads 3 to 64 tokens at a time, embedder\.chunk_tokens asks 65"):
        embed_texts(["w1"], tiny_settings(chunk_tokens=65))
    with pytest.raises(ModelUnavailable, match="asks 2"):
        embed_texts(["w1"], tiny_settings(chunk_tokens=2))


def test_values_that_are_not_finite_are_an_error(tiny_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Encoder, "_forward", lambda self, ids, mask: torch.full((len(ids), 16), torch.nan))
    with pytest.raises(ModelUnavailable, match="not finite"):
        embed_texts(["w1"], tiny_settings())


def test_arrow_batches_keep_their_rows(tiny_settings: Settings) -> None:
    batches = [pd.Series(["w1", None]), pd.Series([], dtype=object), pd.Series(["w2"])]
    found = list(embed_batches(iter(batches), tiny_settings(), False))
    assert [len(batch) for batch in found] == [2, 0, 1]
    assert (found[2][0] == embed_texts(["w2"], tiny_settings())[0]).all()


def test_the_embedded_model_knows_what_is_alike() -> None:
    settings = EmbedderSettings(device="cpu")
    cat, kitten, tax = embed_texts(["a sleeping cat", "a kitten taking a nap", "income tax law"], settings)
    assert cat @ kitten > 0.6 > 0.3 > cat @ tax
    long = "The contract is governed by the laws of the state. " * 400
    vectors = embed_texts([long, long[:2_000], "a poem about the sea"], settings, documents=True)
    assert vectors[0] @ vectors[1] > 0.9 > 0.3 > vectors[0] @ vectors[2]


def test_the_embedded_model_agrees_with_its_authors_reading() -> None:
    """sentence-transformers reads the same folder; it is the reference for weights, pooling and specials."""
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from udfs.models.files import resolve_files

    texts = ["Short.", "A somewhat longer sentence about graphs.", "word " * 400]
    peer = sentence_transformers.SentenceTransformer(
        str(resolve_files("embedded", "main").folder), device="cpu", local_files_only=True
    )
    peer.max_seq_length = 256
    theirs = peer.encode(texts, normalize_embeddings=True)
    ours = embed_texts(texts, EmbedderSettings(device="cpu"))
    assert ((ours * theirs).sum(axis=1) > 0.9999).all()
