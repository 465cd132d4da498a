"""Writes a tiny model of random weights for llama.cpp: `python tiny_model.py FILE.gguf [--seed N] [--context N]`.

It runs in the servers' own environment. The model says nonsense, with a taste: each token has a bias, by which strings,
lists and objects end after a while where a grammar asks for JSON. Its vocabulary is the 256 bytes.
"""

from __future__ import annotations

import argparse

import numpy as np
from gguf import GGUFWriter, TokenType

WIDTH, HEADS, INNER = 32, 4, 64
CONSTANT = 8.0  # what the first dimension of each embedding holds: the bias of a token hangs on it
SPECIAL = ("<unk>", "<s>", "</s>")
SPACE = "▁"  # what SentencePiece writes for a blank
LETTERS = b"etaoinshrdlu"
TEMPLATE = "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}assistant: "
# By how much a byte is likelier than others; all that stand here are ASCII.
TASTE = {**dict.fromkeys(LETTERS, 2.0), ord('"'): 2.6, ord("}"): 3.0, ord("]"): 3.0, ord(","): 2.4, ord(":"): 2.0}
AVERSE = {ord("["): -3.0, ord("{"): -3.0, ord("\n"): -4.0, ord("\t"): -4.0, ord(" "): -2.0, ord("\\"): -6.0}


def vocabulary() -> tuple[list[str], list[int]]:
    """Tokens and their types."""
    tokens = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), SPACE]
    types = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL, *[TokenType.BYTE] * 256, TokenType.NORMAL]
    return tokens, [int(kind) for kind in types]


def biases(count: int) -> np.ndarray:
    """The bias of each token; outside a grammar the end of a reply is rare, inside one it is all that is left."""
    found = np.zeros(count, dtype=np.float32)
    found[: len(SPECIAL)] = -4.0
    for byte, bias in {**TASTE, **AVERSE}.items():
        found[len(SPECIAL) + byte] = bias
    return found


def tensors(count: int, seed: int) -> dict[str, np.ndarray]:
    """One layer of a Llama, at random."""
    chance = np.random.default_rng(seed)

    def normal(*shape: int, scale: float) -> np.ndarray:
        return (chance.standard_normal(shape) * scale).astype(np.float32)

    embedding = normal(count, WIDTH, scale=1.0)
    embedding[:, 0] = CONSTANT
    head = normal(count, WIDTH, scale=0.2)
    seen = CONSTANT / np.sqrt((CONSTANT**2 + WIDTH - 1) / WIDTH)  # the first dimension, behind the last norm
    head[:, 0] = biases(count) / seen
    layer = {
        **{f"attn_{part}": normal(WIDTH, WIDTH, scale=0.05) for part in ("q", "k", "v", "output")},
        **{f"ffn_{part}": normal(INNER, WIDTH, scale=0.05) for part in ("gate", "up")},
        "ffn_down": normal(WIDTH, INNER, scale=0.05),
        **{f"{part}_norm": np.ones(WIDTH, dtype=np.float32) for part in ("attn", "ffn")},
    }
    named = {f"blk.0.{name}.weight": values for name, values in layer.items()}
    last = np.ones(WIDTH, dtype=np.float32)
    return {"token_embd.weight": embedding, **named, "output_norm.weight": last, "output.weight": head}


def write(path: str, seed: int, context: int) -> None:
    """Write the model."""
    tokens, types = vocabulary()
    writer = GGUFWriter(path, "llama")
    writer.add_name("tiny-random")
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    for name, values in tensors(len(tokens), seed).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("path")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--context", type=int, default=8192)
    given = parser.parse_args()
    write(given.path, given.seed, given.context)
