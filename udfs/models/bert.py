"""Makes hidden states with the BERT architecture in plain torch, from a folder's safetensors and tokenizer.json.

It refuses to know any other architecture. It exists for its start: a worker that imports torch alone is ready in
3 s, one that imports transformers' model classes in 10 (they pull in torch's compiler), on every cold worker.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nn

_SHAPE = {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"}  # what `forward` is


@dataclass(frozen=True, eq=False)
class Bert:
    """Weights and shape of an encoder of Devlin et al. (2018); call it for hidden states."""

    layers: tuple[dict[str, Tensor], ...]
    embeddings: dict[str, Tensor]
    heads: int
    epsilon: float

    def __call__(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """Last hidden state [B, L, D] of ids [B, L]; mask [B, L] is 1 at real tokens, None when all are."""
        names = self.embeddings
        hidden = nn.embedding(ids, names["words"]) + names["types"][0] + names["positions"][: ids.shape[1]]
        hidden = self._norm(hidden, names, "norm")
        seen = None if mask is None else mask.bool()[:, None, None, :]  # [B, 1, 1, L]
        for layer in self.layers:
            hidden = self._norm(hidden + self._attend(hidden, layer, seen), layer, "norm1")
            inner = nn.gelu(nn.linear(hidden, layer["up.weight"], layer["up.bias"]))
            outer = nn.linear(inner, layer["down.weight"], layer["down.bias"])
            hidden = self._norm(hidden + outer, layer, "norm2")
        return hidden

    def _attend(self, hidden: Tensor, layer: dict[str, Tensor], seen: Tensor | None) -> Tensor:
        rows, length, width = hidden.shape
        three = nn.linear(hidden, layer["qkv.weight"], layer["qkv.bias"])
        query, key, value = three.view(rows, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [B, H, L, D/H]
        mixed = nn.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return nn.linear(mixed.transpose(1, 2).reshape(rows, length, width), layer["out.weight"], layer["out.bias"])

    def _norm(self, hidden: Tensor, names: dict[str, Tensor], name: str) -> Tensor:
        return nn.layer_norm(hidden, hidden.shape[-1:], names[f"{name}.weight"], names[f"{name}.bias"], self.epsilon)


def read_config(folder: Path) -> dict[str, Any] | None:
    """The folder's config.json if this module can run what lies there, else None."""
    config_file, tensors, tokenizer = (folder / n for n in ("config.json", "model.safetensors", "tokenizer.json"))
    if not (config_file.is_file() and tensors.is_file() and tokenizer.is_file()):
        return None
    config: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
    # A missing key has the value that the architecture was published with.
    ours = all(config.get(key, value) == value for key, value in _SHAPE.items()) and "model_type" in config
    return config if ours and not config.get("is_decoder") else None


def load_bert(folder: Path, config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Bert:
    """The encoder of `folder`. Raises KeyError with the name of a tensor that is not there."""
    from safetensors.torch import load_file

    stored = load_file(folder / "model.safetensors")
    prefix = "bert." if "bert.embeddings.word_embeddings.weight" in stored else ""

    def take(name: str) -> Tensor:
        return stored[prefix + name].to(device, dtype)

    embeddings = {
        "words": take("embeddings.word_embeddings.weight"),
        "positions": take("embeddings.position_embeddings.weight"),
        "types": take("embeddings.token_type_embeddings.weight"),
        "norm.weight": take("embeddings.LayerNorm.weight"),
        "norm.bias": take("embeddings.LayerNorm.bias"),
    }
    layers = tuple(_layer(take, f"encoder.layer.{i}.") for i in range(config["num_hidden_layers"]))
    return Bert(layers, embeddings, config["num_attention_heads"], config.get("layer_norm_eps", 1e-12))


def _layer(take: Callable[[str], Tensor], at: str) -> dict[str, Tensor]:
    """One layer's tensors under short names; query, key and value are one matrix."""
    parts = {
        "out": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm2": "output.LayerNorm",
    }
    layer = {}
    for kind in ("weight", "bias"):
        layer[f"qkv.{kind}"] = torch.cat([take(f"{at}attention.self.{x}.{kind}") for x in ("query", "key", "value")])
        layer |= {f"{short}.{kind}": take(f"{at}{name}.{kind}") for short, name in parts.items()}
    return layer
