"""Makes mean hidden states of token sequences, with one model per process and device.

It refuses to know what the texts are for and how a model's files become a forward pass.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from udfs.models.batching import Batch, plan_batches
from udfs.models.devices import fit_threads, pick_device, pick_dtype
from udfs.models.files import resolve_files
from udfs.models.loading import Loaded, load
from udfs.settings import EmbedderSettings

# On a CPU: what a layer holds of so many tokens stays in the caches (a tenth faster than 16,384, measured).
CPU_BATCH_TOKENS = 2_048
KEPT_MODELS = 2  # a worker that meets a third (another GPU, other settings) drops the oldest

_models: dict[tuple[str, str, str, str], Encoder] = {}
_loading = threading.Lock()


@dataclass(frozen=True, eq=False)
class Encoder:
    """A loaded model on its device."""

    model: Loaded
    device: torch.device

    def means(self, sequences: Sequence[Sequence[int]], batch_tokens: int) -> np.ndarray:
        """Mean of the last hidden state over each sequence's tokens: float32 [n, dimensions].

        A sequence is given without prefix and suffix; both are added and count in the mean.
        """
        full = [(*self.model.prefix, *ids, *self.model.suffix) for ids in sequences]
        out = torch.zeros((len(full), self.model.dimensions), dtype=torch.float32, device=self.device)
        budget = min(batch_tokens, CPU_BATCH_TOKENS) if self.device.type == "cpu" else batch_tokens
        for batch in plan_batches([len(ids) for ids in full], budget, self.model.window):
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
        padded = not bool(mask.all())
        ids, mask = ids.to(self.device), mask.to(self.device)
        hidden = self.model.forward(ids, mask if padded else None).float()  # [B, L, D]
        if not padded:
            return hidden.mean(dim=1)
        real = mask.unsqueeze(-1).float()
        return (hidden * real).sum(dim=1) / real.sum(dim=1)


def load_encoder(settings: EmbedderSettings) -> Encoder:
    """The encoder of these settings, loaded once per process and device. Raises ModelUnavailable."""
    fit_threads()
    device = pick_device(settings)
    dtype = pick_dtype(settings, device)
    key = (settings.name, settings.revision, str(device), str(dtype))
    with _loading:
        if key not in _models:
            files = resolve_files(settings.name, settings.revision)
            encoder = Encoder(load(files, device, dtype), device)
            while len(_models) >= KEPT_MODELS:
                del _models[next(iter(_models))]
            _models[key] = encoder
        return _models[key]
