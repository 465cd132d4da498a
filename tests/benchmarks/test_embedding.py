"""Embedding on a CPU against sentence-transformers' default encode: same weights, same texts, tokenising included."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from tests.benchmarks.gpu_influence import matmul_ceiling
from tests.benchmarks.synthetic import documents
from tests.benchmarks.timing import interleaved, ratio, say, scaled
from udfs.models.devices import pick_dtype
from udfs.models.embedder import embed_texts
from udfs.models.files import resolve_files
from udfs.settings import EmbedderSettings

WINDOW = 256
AUTO = EmbedderSettings(device="cpu", dtype="auto")
EXACT = EmbedderSettings(device="cpu", dtype="float32")

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

MIXES = {
    "field values": lambda: [text[:90] for text in documents(scaled(600) / 1e3, 1, 30)],
    "short texts": lambda: documents(scaled(600) / 1e3, 2, 60),
    "full windows": lambda: [text for text in documents(scaled(1_500) / 1e3, 3, 500) if len(text) > 8 * WINDOW],
}


@pytest.mark.parametrize("mix", list(MIXES))
def test_embedding(mix: str) -> None:
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    texts = MIXES[mix]()
    peer = SentenceTransformer(str(resolve_files("embedded", "main").folder), device="cpu", local_files_only=True)
    peer.max_seq_length = WINDOW
    tokens = sum(min(len(ids) + 2, WINDOW) for ids in peer.tokenizer(texts, add_special_tokens=False)["input_ids"])

    def theirs() -> np.ndarray:
        return np.asarray(peer.encode(texts, normalize_embeddings=True, show_progress_bar=False))

    found = interleaved(
        {
            "sentence-transformers": theirs,
            "auto": lambda: embed_texts(texts, AUTO),
            "float32": lambda: embed_texts(texts, EXACT),
        },
        rounds=3,
    )
    reference = found["sentence-transformers"].result
    cosine = {name: float((found[name].result * reference).sum(axis=1).min()) for name in ("auto", "float32")}
    assert cosine["float32"] > 0.9999
    assert cosine["auto"] > 0.999
    assert np.array_equal(embed_texts(texts[::3], AUTO), found["auto"].result[::3])
    cpu = {name: timed.warm_cpu for name, timed in found.items()}
    kind = str(pick_dtype(AUTO, torch.device("cpu"))).removeprefix("torch.")
    say(
        "embedding",
        f"{mix}: {len(texts):,} texts, {tokens:,} tokens, tokens/s on one core: sentence-transformers "
        f"{tokens / cpu['sentence-transformers']:,.0f}; longloom dtype=auto ({kind}) {tokens / cpu['auto']:,.0f} "
        f"({ratio(cpu['sentence-transformers'], cpu['auto']):.1f}x warm, "
        f"{ratio(found['sentence-transformers'].cold, found['auto'].cold):.1f}x cold, reach 2x), smallest cosine "
        f"{cosine['auto']:.5f}; float32 {tokens / cpu['float32']:,.0f} "
        f"({ratio(cpu['sentence-transformers'], cpu['float32']):.1f}x), smallest cosine {cosine['float32']:.5f}",
    )


@pytest.mark.skipif(
    not torch.cuda.is_available() and "LONGLOOM_BENCH_DEVICE" not in os.environ,
    reason="needs a GPU; LONGLOOM_BENCH_DEVICE=cpu tries the script without one",
)
def test_embedding_on_a_gpu() -> None:
    """Whole windows: tokens a second and the share of what a square product reaches there, tokenising included."""
    from transformers import AutoConfig

    device = torch.device(os.environ.get("LONGLOOM_BENCH_DEVICE", "cuda"))
    on_gpu = device.type == "cuda"
    settings = EmbedderSettings(device=device.type, dtype="auto", batch_tokens=262_144 if on_gpu else 16_384)
    folder = resolve_files("embedded", "main").folder
    texts = [text for text in documents(scaled(40_000 if on_gpu else 1_500) / 1e3, 3, 500) if len(text) > 8 * WINDOW]
    vectors = embed_texts(texts, settings)  # loads the model
    found = interleaved({"longloom": lambda: embed_texts(texts, settings)}, rounds=3)["longloom"]
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    width, tokens = config.hidden_size, WINDOW * len(texts)
    linear = config.num_hidden_layers * (4 * width * width + 2 * width * config.intermediate_size)
    flops = 2.0 * tokens * linear + 4.0 * config.num_hidden_layers * width * WINDOW * tokens
    ceiling = matmul_ceiling(device, pick_dtype(settings, device), 8_192 if on_gpu else 512)
    exact = embed_texts(texts[:64], EXACT)
    assert float((exact * vectors[:64]).sum(axis=1).min()) > 0.999
    say(
        f"embedding on {device.type}",
        f"{len(texts):,} windows of {WINDOW} tokens: {tokens / found.warm:,.0f} tokens/s, "
        f"{flops / found.warm / ceiling:.0%} of a square product's {ceiling / 1e12:.1f} TFLOP/s",
    )
