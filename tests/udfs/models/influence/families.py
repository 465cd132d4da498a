"""Tiny random causal models of several families, with a tokenizer whose tokens are bytes, saved as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WINDOW = 8_192
SPECIAL = ("<s>", "<|im_start|>", "<|im_end|>")
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SHAPE = {
    "vocab_size": 256 + len(SPECIAL),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": WINDOW,
    "initializer_range": 0.3,  # attention that is far from flat
}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
TINY_VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
# name → (config class, its arguments, whether the tokenizer has BOS)
FAMILIES: dict[str, tuple[str, dict[str, Any], bool]] = {
    "llama": ("LlamaConfig", {**GROUPED, "tie_word_embeddings": False, "head_dim": 16}, True),
    "llama_tied": ("LlamaConfig", {**SHAPE, "tie_word_embeddings": True}, False),
    "mistral": ("MistralConfig", {**GROUPED, "sliding_window": WINDOW}, True),
    "qwen2": ("Qwen2Config", {**GROUPED, "tie_word_embeddings": True}, False),
    "qwen3": ("Qwen3Config", {**GROUPED, "num_key_value_heads": 1, "head_dim": 8}, True),
    "gpt_neox": ("GPTNeoXConfig", {**SHAPE, "rotary_pct": 0.5}, True),
    # It sees, too: what it reads with stands in `text_config`.
    "gemma3": (
        "Gemma3Config",
        {
            "text_config": {
                **GROUPED,
                "head_dim": 8,
                "query_pre_attn_scalar": 8,
                "sliding_window": 512,
                "layer_types": ["sliding_attention", "full_attention"],
            },
            "vision_config": {**TINY_VISION, "image_size": 28, "patch_size": 14},
            "mm_tokens_per_image": 4,
        },
        True,
    ),
}


def save_tokenizer(folder: Path, bos: bool = True, extra: str | None = None) -> None:
    """A byte tokenizer: one token for each byte of UTF-8, a chat template, truncation that must be ignored."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    engine = Tokenizer(models.BPE(vocab={piece: at for at, piece in enumerate(alphabet)}, merges=[]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    engine.add_special_tokens([AddedToken(piece, special=True) for piece in (*SPECIAL, *([extra] if extra else []))])
    engine.enable_truncation(5)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=engine, bos_token="<s>" if bos else None, model_max_length=64)
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)


def save_model(folder: Path, config: Any, seed: int = 0) -> Path:
    """Random weights of a configuration."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def save_family(folder: Path, family: str, seed: int = 0, **changes: Any) -> Path:
    """A model of FAMILIES with its tokenizer."""
    import transformers

    kind, arguments, bos = FAMILIES[family]
    save_model(folder, getattr(transformers, kind)(**{**arguments, **changes}), seed)
    save_tokenizer(folder, bos)
    return folder


def save_chunked(folder: Path, seed: int = 0, **changes: Any) -> Path:
    """A text model of the kind of Llama 4: a layer that sees chunks of 64 tokens below one that sees everything."""
    from transformers import Llama4TextConfig

    shape = {**GROUPED, "head_dim": 8, "intermediate_size_mlp": 48, "num_local_experts": 2, "no_rope_layers": [1, 0]}
    return save_model(folder, Llama4TextConfig(**{**shape, "attention_chunk_size": 64, **changes}), seed)
