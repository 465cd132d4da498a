"""Makes mean hidden states of token sequences with a local transformers model, one model per process.

It refuses to know what the texts are for; nothing from a model's folder is ever executed or unpickled.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from udfs.models.batching import Batch, plan_batches
from udfs.models.devices import fit_threads, pick_device, pick_dtype
from udfs.models.errors import ModelUnavailable
from udfs.models.files import ModelFiles, resolve_files, weight_files
from udfs.settings import EmbedderSettings

KEPT_MODELS = 2  # a worker that meets a third (another GPU, other settings) drops the oldest

_models: dict[tuple[str, str, str, str], Encoder] = {}
_loading = threading.Lock()


@dataclass(frozen=True, eq=False)
class Encoder:
    """A tokenizer and a model on a device; `prefix` and `suffix` are the ids put around every sequence."""

    name: str
    tokenizer: Any
    model: Any
    device: torch.device
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window: int  # longest sequence the model reads, prefix and suffix included

    @property
    def dimensions(self) -> int:
        return int(self.model.config.hidden_size)

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, without special tokens and without truncation."""
        return _token_ids(self.tokenizer, texts)

    def means(self, sequences: Sequence[Sequence[int]], batch_tokens: int) -> np.ndarray:
        """Mean of the last hidden state over each sequence's tokens: float32 [n, dimensions].

        A sequence is given without prefix and suffix; both are added and count in the mean.
        """
        full = [(*self.prefix, *ids, *self.suffix) for ids in sequences]
        out = torch.zeros((len(full), self.dimensions), dtype=torch.float32, device=self.device)
        for batch in plan_batches([len(ids) for ids in full], batch_tokens, self.window):
            rows = torch.tensor(batch.indexes, device=self.device)
            out[rows] = self._batch_means(full, batch)
        return out.cpu().numpy()

    def _batch_means(self, full: list[tuple[int, ...]], batch: Batch) -> torch.Tensor:
        ids = np.zeros((len(batch.indexes), batch.length), dtype=np.int64)  # [B, L], padded on the right
        mask = np.zeros_like(ids)
        for row, index in enumerate(batch.indexes):
            ids[row, : len(full[index])] = full[index]
            mask[row, : len(full[index])] = 1
        try:
            return self._forward(torch.from_numpy(ids), torch.from_numpy(mask))
        except torch.OutOfMemoryError:
            if len(batch.indexes) == 1:
                raise
        torch.cuda.empty_cache()  # two tasks may share a GPU: try again with half as much
        half = len(batch.indexes) // 2
        parts = (batch.indexes[:half], batch.indexes[half:])
        return torch.cat([self._batch_means(full, Batch(part, batch.length)) for part in parts])

    @torch.inference_mode()
    def _forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """float32 [B, D] from ids and mask [B, L]."""
        ids, mask = ids.to(self.device), mask.to(self.device)
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # [B, L, D]
        real = mask.unsqueeze(-1).float()
        return torch.Tensor((hidden.float() * real).sum(dim=1) / real.sum(dim=1))


def load_encoder(settings: EmbedderSettings) -> Encoder:
    """The encoder of these settings, loaded once per process and device. Raises ModelUnavailable."""
    fit_threads()
    device = pick_device(settings)
    dtype = pick_dtype(settings, device)
    key = (settings.name, settings.revision, str(device), str(dtype))
    with _loading:
        if key not in _models:
            encoder = _load(resolve_files(settings.name, settings.revision), device, dtype)
            while len(_models) >= KEPT_MODELS:
                del _models[next(iter(_models))]
            _models[key] = encoder
        return _models[key]


def _load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Encoder:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per worker hides the run's own
    safe = weight_files(files)[0].suffix == ".safetensors"
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(files.folder, **local)
        model, report = AutoModel.from_pretrained(
            files.folder, dtype=dtype, use_safetensors=safe, output_loading_info=True, **local
        )
        if model.config.is_encoder_decoder:
            raise ValueError("it is an encoder-decoder; an encoder or a causal model is needed")
        missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
        if missing:  # transformers would fill them with random numbers
            raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} among them")
        model.config.use_cache = False
        return _encoder(files, tokenizer, model.to(device).eval(), device)
    except Exception as fault:  # torch, safetensors, tokenizers and transformers share no base class
        why = f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
        remedy = "Name a folder or an id whose model transformers loads without remote code."
        raise ModelUnavailable(files.name, f"the folder {files.folder}", why, remedy) from fault


def _encoder(files: ModelFiles, tokenizer: Any, model: Any, device: torch.device) -> Encoder:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    at = next((i for i in range(len(whole)) if bare and whole[i : i + len(bare)] == bare), None)
    if backend is not None:
        backend.no_truncation()  # a tokenizer.json may carry its own: MiniLM's cuts at 128
        backend.no_padding()
    limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None))
    return Encoder(
        name=files.name,
        tokenizer=tokenizer,
        model=model,
        device=device,
        prefix=() if at is None else tuple(whole[:at]),
        suffix=() if at is None else tuple(whole[at + len(bare) :]),
        window=min(int(limit) for limit in (*limits, 1 << 30) if limit),
    )


def _token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # a tokenizer written in Python
        return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=False)["input_ids"]]
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)  # without offsets
    return [encoding.ids for encoding in encodings]
