"""Makes starting weights that already read: from random ones a model this small does not learn to within an hour.

The width is cut into parts that never mix: flags, a token's code, the code of the token before, a place for the token's
code to be kept in, and the bag, where a token has its other half and layer 0 adds up the rare tokens of the last two
dozen places. Layer 1 copies what follows a match (Olsson et al., 2022) in a place whose bag is like the one here (what
stands near the names in a question, in any wording). Places near an instruction's headings are left out, or a question
would find itself; where no place is alike enough the head looks at the BOS, which has nothing to copy. The next head
takes away what the place itself wrote, and keeps its code aside: the output is what was copied, above how frequent
tokens are, and the layer's MLP can learn which words follow which from codes that the output does not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog

CONSTANT, RARITY, HEADING, HEADED, BOS = range(5)  # flags: 1; log weight in a bag; two of headings; of the BOS alone
FLAGS, CODE = 5, 48  # dimensions of the flags, and of a token's code
CODE_NORM, BAG_NORM, BOS_SIZE, RARITY_SIZE = 1.2, 1.6, 2.0, 0.15  # sizes in the embedding
FREE, FLOOR, DIGIT = 3e-4, 1e-3, 0.25  # a token as frequent as FREE weighs half; least weights, of all and of digits
FAST, LONGEST = 26, 8_192  # rotary pairs that tell distances apart; the others stand still over so many tokens
NEAR, GONE, APART, FALL = 26, 62, 10.0, 0.03  # a bag's places, where it has ended, nats between, nats a place
HEADED_NEAR, HEADED_GONE, HEADED_APART = 50, 130, 11.0  # the same for the places behind a heading
SHARPNESS, HEADING_SCORE, RARITY_POWER = 12.0, 8.0, 0.3  # nats: one place back above others; a heading; per log weight
BAG_WRITE, AFTER, AFTER_BOS = 6.0, 0.19, 0.14  # size of a bag's writing; root mean square of what layer 0 leaves
BAG_SHARE = 0.64  # of the square of what layer 0 leaves
WITHIN, PLACE = 13.5, 17.0  # nats where the token before is the one here; where the bags are equal
UNLIKE, HEADED_PENALTY = 17.0, 100.0  # nats of the BOS: less is no match; taken from places behind a heading
COPY, ERASED = 0.2, 1.3  # size of what is copied, and of what is taken away
STEADY, FREQUENT = 4.9, 2.2  # what the output's norm rests on; size of the flag that tells frequent tokens from rare


@dataclass(frozen=True)
class Pieces:
    """What the start must know of the tokenizer: counts [V] in the training text, ids that weigh more or nothing.

    headings: ids that tell an instruction's headings from text
    """

    counts: np.ndarray
    digits: tuple[int, ...]
    weightless: tuple[int, ...]
    headings: tuple[int, ...]

    def log_weights(self) -> np.ndarray:
        """Log of what a token weighs in a bag, next to nothing for a frequent one: [V]."""
        share = (self.counts + 1) / self.counts.sum()
        weights = np.maximum(FREE / (FREE + share), FLOOR)
        weights[list(self.digits)] = np.maximum(weights[list(self.digits)], DIGIT)
        weights[list(self.weightless)] = FLOOR
        logs: np.ndarray = np.log(weights)
        return logs


@torch.no_grad()
def reader(model: Any, pieces: Pieces, seed: int) -> None:
    """Overwrite the weights of a LlamaForCausalLM with 2 layers of 3 heads of size 256, width 250 and more.

    Raises ValueError when its rotary base leaves no pairs that tell distances apart.
    """
    _Start(model, pieces, torch.Generator().manual_seed(seed)).build()


class _Start:
    """The parts of the width, and the matrices of one model."""

    def __init__(self, model: Any, pieces: Pieces, generator: torch.Generator) -> None:
        self.model, self.pieces, self.generator = model, pieces, generator
        config = model.config
        self.width, self.size = int(config.hidden_size), int(config.head_dim)
        self.code = slice(FLAGS, FLAGS + CODE)
        self.previous = slice(FLAGS + CODE, FLAGS + 2 * CODE)
        self.own = slice(FLAGS + 2 * CODE, FLAGS + 3 * CODE)
        self.bag = slice(FLAGS + 3 * CODE, self.width)
        self.bag_size = self.width - self.bag.start
        half = self.size // 2
        self.turns = float(config.rope_parameters["rope_theta"]) ** (-np.arange(half) / half)  # radians a token
        still = [pair for pair in range(half - 3) if self.turns[pair] < 0.7 / LONGEST]
        self.still = torch.tensor([*still, *(pair + half for pair in still)])
        self.turned = self._orthogonal(self.bag_size)  # a bag is written turned, so that the head does not read it

    def build(self) -> None:
        for name, weight in self.model.named_parameters():
            if "norm" not in name:
                quiet = "o_proj" in name or "down_proj" in name
                weight.copy_(self._normal(*weight.shape) * (0.002 if quiet else 0.03))
        self.spread = self._embedding()
        first, second = (layer.self_attn for layer in self.model.model.layers[:2])
        one, half = torch.eye(self.width), self.size // 2
        # Layer 0: the code of the token before; whether a heading is near; the bag, of rare tokens above all.
        self._look(first, 0, *_step_back(self.turns, 1), self.spread)
        self._carry(first, 0, one[self.code], one[:, self.previous] * self.spread)
        self._look(first, 1, *window(self.turns, HEADED_NEAR, HEADED_GONE, HEADED_APART), self.spread)
        self._prefer(first, 1, half - 2, HEADING, HEADING_SCORE, self.spread, 1 / self.spread)
        self._carry(first, 1, one[HEADING : HEADING + 1] * self.spread, one[:, HEADED : HEADED + 1])
        self._look(first, 2, *window(self.turns, NEAR, GONE, APART, FALL), self.spread)
        self._prefer(first, 2, half - 2, RARITY, RARITY_POWER, self.spread, RARITY_SIZE / self.spread)
        self._carry(first, 2, one[self.bag], one[:, self.bag] @ self.turned * BAG_WRITE * self.spread)
        # Layer 1: what follows a match in a like place; nothing of the place itself. One head is left without work.
        token = torch.cat([one[self.code], one[self.bag]])
        self._match(second, 0)
        self._carry(second, 0, token, token.T * COPY)
        self._erase(second, 1)
        self._carry(second, 2, one[:0], one[:, :0])

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def _orthogonal(self, n: int) -> torch.Tensor:
        turned: torch.Tensor = torch.linalg.qr(self._normal(n, n))[0]
        return turned

    def _embedding(self) -> float:
        """Write it; the root mean square of its rows, which the first norm divides by."""
        rows = torch.zeros(len(self.pieces.counts), self.width)
        for part, size in ((self.code, CODE_NORM), (self.bag, BAG_NORM)):
            codes = self._normal(len(rows), part.stop - part.start)
            rows[:, part] = torch.nn.functional.normalize(codes, dim=1) * size
        rows[0] = 0
        rows[:, CONSTANT] = 1
        rows[:, RARITY] = torch.from_numpy(self.pieces.log_weights()).float() * RARITY_SIZE
        rows[list(self.pieces.headings), HEADING] = 1
        rows[0, BOS] = BOS_SIZE
        self.model.model.embed_tokens.weight.copy_(rows)
        return float(rows.square().mean(dim=1).sqrt().mean())

    def _rows(self, head: int) -> slice:
        return slice(head * self.size, (head + 1) * self.size)

    def _look(self, attention: Any, head: int, cosines: np.ndarray, sines: np.ndarray, spread: float) -> None:
        """Scores by distance alone: the sum over pairs of these times cosine and sine of the pair's turn.

        spread: root mean square of what the layer reads
        """
        query, key = torch.zeros(self.size), torch.zeros(self.size)
        for pair, (cosine, sine) in enumerate(zip(cosines, sines, strict=True)):
            size = float(np.hypot(cosine, sine))
            if size > 1e-6:
                key[pair] = (size * self.size**0.5) ** 0.5 * spread
                query[pair] = key[pair] * cosine / size
                query[pair + self.size // 2] = -key[pair] * sine / size
        for matrix, vector in ((attention.q_proj, query), (attention.k_proj, key)):
            matrix.weight[self._rows(head)] = 0
            matrix.weight[self._rows(head), CONSTANT] = vector

    def _prefer(
        self, attention: Any, head: int, slot: int, flag: int, score: float, spread: float, flag_size: float
    ) -> None:
        """Add `score` to keys of a flag of that size, through a pair that stands still."""
        row, size = head * self.size + slot, (abs(score) * self.size**0.5) ** 0.5
        for matrix in (attention.q_proj, attention.k_proj):
            matrix.weight[row] = 0
        attention.q_proj.weight[row, CONSTANT] = size * spread
        attention.k_proj.weight[row, flag] = score * self.size**0.5 / size / flag_size

    def _carry(self, attention: Any, head: int, read: torch.Tensor, write: torch.Tensor) -> None:
        """What a head takes from a place, [n, width], and where it writes it, [width, n]."""
        rows = self._rows(head)
        attention.v_proj.weight[rows] = 0
        attention.o_proj.weight[:, rows] = 0
        attention.v_proj.weight[rows.start : rows.start + len(read)] = read
        attention.o_proj.weight[:, rows.start : rows.start + len(read)] = write

    def _erase(self, attention: Any, head: int) -> None:
        """Have a head look at its own place, write the opposite of what is there and a start for the output."""
        self._look(attention, head, *_step_back(self.turns, 0), AFTER)
        one = torch.eye(self.width)
        read = torch.cat([one[self.code], one[self.bag], one[[RARITY, CONSTANT]]])
        write = -AFTER * ERASED * read.T
        write[CONSTANT, -1] = AFTER * (STEADY - 1)
        write[RARITY, -1] = -AFTER * FREQUENT
        write[self.own, :CODE] = AFTER * ERASED * torch.eye(CODE)
        self._carry(attention, head, read, write)

    def _match(self, attention: Any, head: int) -> None:
        """Scores by whether the token before is the one here and the bags are alike."""
        query, key = torch.zeros(self.size, self.width), torch.zeros(self.size, self.width)
        one, root = torch.eye(self.width), self.size**0.5
        strength = (WITHIN * root) ** 0.5 * AFTER / CODE_NORM
        slots, rest = self.still[:CODE], self.still[CODE:]
        query[slots], key[slots] = strength * one[self.code], strength * one[self.previous]
        count = min(self.bag_size, len(rest))
        mixed = self._orthogonal(self.bag_size)[:count] @ one[self.bag]
        strength = (PLACE * root / (self.width * BAG_SHARE) * self.bag_size / count) ** 0.5
        query[rest[:count]], key[rest[:count]] = strength * mixed, strength * mixed
        attention.q_proj.weight[self._rows(head)] = query
        attention.k_proj.weight[self._rows(head)] = key
        half = self.size // 2
        self._prefer(attention, head, half - 2, HEADED, -HEADED_PENALTY, AFTER, 1 / AFTER)
        self._prefer(attention, head, half - 3, BOS, UNLIKE, AFTER, BOS_SIZE / AFTER_BOS)


def _step_back(turns: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines that look that many tokens back, SHARPNESS nats above every other place, of the least sum."""
    pairs = turns[: FAST - 2]
    away = np.unique(np.concatenate([np.arange(400), np.geomspace(400, LONGEST, 400).astype(int)]))
    away = away[away != steps]
    apart = 1 - np.cos(np.outer(away - steps, pairs))
    sizes = _solved(np.ones(len(pairs)), -apart, np.full(len(away), -SHARPNESS))
    return sizes * np.cos(steps * pairs), sizes * np.sin(steps * pairs)


def window(turns: np.ndarray, near: int, gone: int, apart: float, fall: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines that fall by `fall` nats a token over `near` tokens, and are `apart` lower from `gone` on."""

    def turned(places: np.ndarray) -> np.ndarray:
        angles = np.outer(places, turns[:FAST])
        both = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        return np.concatenate([both, -both], axis=1)

    inside = turned(np.arange(near + 1))
    outside = turned(np.unique(np.concatenate([np.arange(gone, 500, 3), np.geomspace(500, LONGEST, 300).astype(int)])))
    level, slack = np.ones((len(inside), 1)), np.ones((len(outside), 1))
    bounds = np.block([[inside, -level, -level], [-inside, level, -level], [outside, -slack, 0 * slack]])
    falls = fall * np.arange(near + 1)
    limits = np.concatenate([-falls, falls, np.full(len(outside), -apart)])
    cost = np.concatenate([np.full(4 * FAST, 0.02), [0, 1]])
    found = _solved(cost, bounds, limits, free=4 * FAST)[: 4 * FAST].reshape(2, 2, FAST)
    return found[0, 0] - found[1, 0], found[0, 1] - found[1, 1]


def _solved(cost: np.ndarray, bounds: np.ndarray, limits: np.ndarray, free: int = -1) -> np.ndarray:
    """The cheapest x ≥ 0 with bounds @ x ≤ limits; x[free] may be negative."""
    ranges = [(None if at == free else 0, None) for at in range(len(cost))]
    found = linprog(cost, A_ub=bounds, b_ub=limits, bounds=ranges, method="highs")
    if found.status != 0:
        raise ValueError(f"no rotary pairs look like this: {found.message}")
    return np.asarray(found.x)
