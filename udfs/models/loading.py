"""Makes a tokenizer and a forward pass out of a model's folder: BERT in plain torch, the rest by transformers.

It refuses to know batches and devices' names; nothing in the folder is executed, unpickled or made up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from udfs.models.bert import load_bert, read_config
from udfs.models.errors import ModelUnavailable
from udfs.models.files import ModelFiles, weight_files

Tokenise = Callable[[Sequence[str]], list[list[int]]]
Forward = Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor]
LOCAL = {"local_files_only": True, "trust_remote_code": False}
_NO_LIMIT = 1 << 30


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a folder gives.

    tokenise: ids per text, without special tokens, never truncated
    forward: last hidden state [B, L, D] of ids [B, L] and mask [B, L] (None when nothing is padded)
    prefix, suffix: special ids around a sequence
    window: longest sequence the model reads, prefix and suffix included
    """

    tokenise: Tokenise
    forward: Forward
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    window: int
    dimensions: int


def load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Loaded:
    """The model in these files. Raises ModelUnavailable."""
    weight_files(files)
    try:
        config = read_config(files.folder)
        if config is not None:
            return _load_bert(files.folder, config, device, dtype)
        return _load_any(files, device, dtype)
    except Exception as fault:  # torch, safetensors, tokenizers and transformers share no base class
        raise unreadable(files, fault) from fault


def unreadable(files: ModelFiles, fault: Exception) -> ModelUnavailable:
    """The error of a folder that does not load."""
    why = f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}"
    remedy = "Name a folder or an id whose model transformers loads without remote code."
    return ModelUnavailable(files.name, f"the folder {files.folder}", why, remedy)


def _load_bert(folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Loaded:
    from tokenizers import Tokenizer

    engine = Tokenizer.from_file(str(folder / "tokenizer.json"))
    engine.no_truncation()  # a tokenizer.json may carry its own: MiniLM's cuts at 128
    engine.no_padding()
    around = _around(engine.encode("a").ids, engine.encode("a", add_special_tokens=False).ids)
    told = folder / "tokenizer_config.json"
    limits = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else {}
    window = min(config["max_position_embeddings"], int(limits.get("model_max_length") or _NO_LIMIT))
    model = load_bert(folder, config, device, dtype)
    return Loaded(_batched(engine), model, *around, window, config["hidden_size"])


def _load_any(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Loaded:
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(files.folder, **LOCAL)
    model = pretrained(AutoModel, files, dtype=dtype)
    if model.config.is_encoder_decoder:
        raise ValueError("it is an encoder-decoder; an encoder or a causal model is needed")
    model.config.use_cache = False
    model = model.to(device).eval()

    def forward(ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        seen = torch.ones_like(ids) if mask is None else mask
        return torch.Tensor(model(input_ids=ids, attention_mask=seen).last_hidden_state)

    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    around = _around(tokenizer("a")["input_ids"], bare)
    limits = (tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None), _NO_LIMIT)
    window = min(int(limit) for limit in limits if limit)
    return Loaded(_tokenise(tokenizer), forward, *around, window, int(model.config.hidden_size))


def pretrained(auto: Any, files: ModelFiles, **options: Any) -> Any:
    """What a transformers auto class makes of these files. Raises ValueError when the weights are not whole."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a bar per worker hides the run's own
    safe = weight_files(files)[0].suffix == ".safetensors"
    model, report = auto.from_pretrained(
        files.folder, use_safetensors=safe, output_loading_info=True, **LOCAL, **options
    )
    missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
    if missing:  # transformers would fill them with random numbers
        raise ValueError(f"the weights lack {len(missing)} tensors, {missing[0]} among them")
    return model


def _around(whole: list[int], bare: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The special ids before and after `bare` in `whole`."""
    for at in range(len(whole) - len(bare) + 1 if bare else 0):
        if whole[at : at + len(bare)] == bare:
            return tuple(whole[:at]), tuple(whole[at + len(bare) :])
    return (), ()


def _tokenise(tokenizer: Any) -> Tokenise:
    engine = getattr(tokenizer, "backend_tokenizer", None)
    if engine is not None:
        engine.no_truncation()
        engine.no_padding()
        return _batched(engine)

    def in_python(texts: Sequence[str]) -> list[list[int]]:
        return [list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]

    return in_python


def _batched(engine: Any) -> Tokenise:
    def tokenise(texts: Sequence[str]) -> list[list[int]]:
        encodings = engine.encode_batch_fast(list(texts), add_special_tokens=False)  # without offsets
        return [encoding.ids for encoding in encodings]

    return tokenise
