"""Tiny random models in folders, so that loading is tested on files of every shape without real weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from udfs.settings import EmbedderSettings

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij", *(f"w{i}" for i in range(50))]


def _save_tokenizer(folder: Path, special: bool) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    engine = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    engine.pre_tokenizer = pre_tokenizers.Whitespace()
    engine.enable_truncation(5)  # what a tokenizer.json carries must not cut what we read
    if special:
        engine.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    PreTrainedTokenizerFast(
        tokenizer_object=engine, unk_token="[UNK]", pad_token="[PAD]", model_max_length=64
    ).save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with [CLS] … [SEP], a window of 64 and weights in safetensors."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    _save_tokenizer(folder, special=True)
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A causal language model without special tokens, its weights in a torch file only."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    config.save_pretrained(folder)
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    _save_tokenizer(folder, special=False)
    return folder


@pytest.fixture
def tiny_settings(tiny_bert: Path) -> Callable[..., EmbedderSettings]:
    """Settings of the tiny encoder: chunks of 8 tokens, 6 of them text."""

    def settings(**changes: Any) -> EmbedderSettings:
        base = {"name": str(tiny_bert), "chunks": 3, "chunk_tokens": 8, "batch_tokens": 64, "device": "cpu"}
        return EmbedderSettings(**{**base, **changes})

    return settings
