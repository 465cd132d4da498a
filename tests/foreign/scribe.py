"""Writes a Llama that answers whatever it is asked with one text and stops: `write(folder, text)`.

Its weights are set by hand, in the format that every server reads: attention and MLP add nothing, the embedding of a
token is a direction of its own, and the head of its successor points there. The text is cut into tokens that no prompt
is ever encoded to; all others are followed by its first.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PIECE = 8  # letters of the text in a token, at least
SURE = 40.0  # logit of the one token that may follow
END = "</s>"


def pieces(text: str) -> list[str]:
    """The text in tokens that all differ: one that came twice would have two successors."""
    cut: list[str] = []
    at = 0
    while at < len(text):
        size = PIECE
        while text[at : at + size] in cut:
            size += 1
        cut.append(text[at : at + size])
        at += size
    return cut


def tokenizer_of(text: str) -> PreTrainedTokenizerFast:
    """Bytes without a merge, then the pieces: encoding never gets to those."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    spelled = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    held = [spelled.pre_tokenize_str(piece)[0][0] for piece in pieces(text)]
    vocabulary = {token: number for number, token in enumerate([*letters, END, *held])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = spelled
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def write(folder: Path, text: str, context: int) -> None:
    """Write model and tokenizer."""
    tokenizer, count = tokenizer_of(text), len(pieces(text))
    size = len(tokenizer)
    first = size - count
    width = -(-size // 8) * 8
    config = LlamaConfig(
        vocab_size=size, hidden_size=width, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, head_dim=8,
        num_key_value_heads=1, max_position_embeddings=context, bos_token_id=None, eos_token_id=first - 1,
        pad_token_id=first - 1, tie_word_embeddings=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.fill_(1.0 if name.endswith("norm.weight") else 0.0)
        model.model.embed_tokens.weight[range(size), range(size)] = 1.0
        for token in range(size):
            follows = first if token < first else token + 1 if token + 1 < size else first - 1
            model.lm_head.weight[follows, token] = SURE / width**0.5  # an embedding is √width long behind the norm
    model.generation_config.do_sample = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
