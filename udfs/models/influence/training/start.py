"""Makes starting weights that already copy: from random ones a model this small does not learn to within an hour.

Layer 0 writes the tokens 1, 2 and 3 places back beside each token; layer 1 finds earlier places whose predecessors
are the tokens seen now, and copies what stood there (induction heads, Olsson et al., 2022, made by hand). Everything
is trained afterwards.
"""

from __future__ import annotations

from typing import Any

import torch

EMBEDDING, CONSTANT = 0.14, 1.0  # spread of the embedding; a dimension that is the same for every token
FAST_PAIRS = 10  # rotary pairs that tell neighbours apart
SLOW_PAIR = 16  # from here on a pair turns by less than a radian in 6,000 tokens at a base of 1e8
OFFSETS = (1, 2, 3)
POINT, WRITE = 1.73, 0.20  # sharpness of looking o places back; size of what is written
MATCH, COPY = 4.0, 2.0  # sharpness of matching contents; size of what is copied


@torch.no_grad()
def induction(model: Any, seed: int) -> None:
    """Overwrite the weights of a LlamaForCausalLM with 3 heads or more and a head size of 64, width 192."""
    config = model.config
    width, size = config.hidden_size, config.head_dim
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    for name, weight in model.named_parameters():
        if "norm" not in name:
            quiet = "o_proj" in name or "down_proj" in name
            weight.copy_(normal(*weight.shape) * (0.004 if quiet else 0.05))
    model.model.embed_tokens.weight.copy_(normal(config.vocab_size, width) * EMBEDDING)
    model.model.embed_tokens.weight[:, 0] = CONSTANT
    view = torch.linalg.qr(normal(width, width))[0][:size]  # what of a token is passed on: [64, width]
    place = torch.linalg.qr(normal(width, width))[0]  # where it is written: 64 columns an offset
    whole = torch.linalg.qr(normal(width, width))[0]  # a head's third of what is copied
    _look_back(model.model.layers[0].self_attn, view, place, float(config.rope_parameters["rope_theta"]))
    _match(model.model.layers[1].self_attn, view, place, whole, generator)


def _look_back(attention: Any, view: torch.Tensor, place: torch.Tensor, base: float) -> None:
    """Head h attends to the token OFFSETS[h] back: q and k are constants, q turned back by the offset."""
    size = len(view)
    for head, offset in enumerate(OFFSETS):
        rows = slice(head * size, (head + 1) * size)
        query, key = torch.zeros(size), torch.zeros(size)
        for pair in range(FAST_PAIRS):
            angle = torch.tensor(offset * base ** (-2 * pair / size))
            key[pair] = POINT
            query[pair], query[pair + size // 2] = POINT * angle.cos(), -POINT * angle.sin()
        for matrix, vector in ((attention.q_proj, query), (attention.k_proj, key)):
            matrix.weight[rows] = 0
            matrix.weight[rows, 0] = vector
        attention.v_proj.weight[rows] = view
        attention.o_proj.weight[:, rows] = WRITE * place[:, rows]


def _match(
    attention: Any, view: torch.Tensor, place: torch.Tensor, whole: torch.Tensor, generator: torch.Generator
) -> None:
    """Head h looks for places whose last h + 1 predecessors are the tokens here; it copies a third of what is there."""
    size = len(view)
    slow = torch.cat([torch.arange(SLOW_PAIR, size // 2), torch.arange(SLOW_PAIR + size // 2, size)])
    written = [view, *(place[:, at * size : (at + 1) * size].T for at in range(len(OFFSETS)))]  # 0, 1, 2, 3 back
    for head in range(len(OFFSETS)):
        rows = torch.arange(head * size, (head + 1) * size)
        query, key = torch.zeros(size, view.shape[1]), torch.zeros(size, view.shape[1])
        for back in range(head + 1):
            mixed = torch.linalg.qr(torch.randn(size, size, generator=generator))[0][: len(slow)]
            strength = MATCH / (head + 1) ** 0.5
            query[slow] += strength * mixed @ written[back]
            key[slow] += strength * mixed @ written[back + 1]
        attention.q_proj.weight[rows] = query
        attention.k_proj.weight[rows] = key
        attention.v_proj.weight[rows] = whole[rows]
        attention.o_proj.weight[:, rows] = COPY * whole[rows].T
