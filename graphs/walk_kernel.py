"""Samples weighted walks over distinct fields on a graph held in arrays, one machine-code loop per step.

It refuses to know Spark, strings and settings: nodes are 0..n-1, fields are 0..F-1, a walk is a number.

The law is Eq. 1 of WildLong (arXiv 2502.16684) renormalised over the neighbours in unvisited fields:
p(v | u, visited) = w(u, v) / sum of w(u, .) over neighbours in unvisited fields. The start is a uniform field, then
a uniform node in it. Randomness is a counter: draw d of try r of walk i depends on (key, i, r, d) alone, so a walk is
the same in any batch, order or partition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from graphs.jit import compiled

Ints = npt.NDArray[np.int64]
Nodes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

MAX_FIELDS = 64  # the unvisited fields of a walk are one 64-bit mask
BLOCK = 512  # walkers advanced together, so that their cache misses overlap
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_A = np.uint64(0xBF58476D1CE4E5B9)
MIX_B = np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True)
class WalkGraph:
    """Symmetric adjacency in rows sorted by (node, field of the neighbour, neighbour).

    `field_start` [F+1]: nodes of field f are field_start[f] .. field_start[f+1]-1.
    `section` [n*F+1]: neighbours of node v in field f are entries section[v*F+f] .. section[v*F+f+1]-1.
    `section_weight` [n, F]: their summed weight. `neighbour`, `cumulative` [2*edges]: the neighbour, and the summed
    weight of its section up to and including it. `guide` [2*edges]: of a section of k neighbours, entry j says how far
    into the section the first neighbour lies whose cumulative weight is above j/k of the whole (Chen and Asau 1974).
    """

    field_start: Ints
    section: Ints
    section_weight: Floats
    neighbour: Nodes
    cumulative: Floats
    guide: Nodes

    @property
    def fields(self) -> int:
        """How many fields the graph has."""
        return len(self.field_start) - 1


@dataclass(frozen=True)
class Walks:
    """`nodes` [walks, N] in visiting order, -1 beyond the end; `length` [walks]; `redraws` [walks]."""

    nodes: Nodes
    length: Nodes
    redraws: Nodes


def build_graph(field: Ints, source: Ints, target: Ints, weight: Floats) -> WalkGraph:
    """Arrays of an undirected graph.

    `field` [n] is the field of each node and must not decrease; edges are unique, source < target, sorted by
    (source, target), with weights above 0. An edge inside one field can never be walked and is allowed.
    """
    fields = int(field[-1]) + 1 if len(field) else 0
    if fields > MAX_FIELDS:
        raise ValueError(f"A walk graph holds at most {MAX_FIELDS} fields, this one has {fields}.")
    field_start = np.searchsorted(field, np.arange(fields + 1)).astype(np.int64)
    section = np.zeros(len(field) * fields + 1, dtype=np.int64)
    section_weight = np.zeros((len(field), fields), dtype=np.float64)
    neighbour = np.empty(2 * len(source), dtype=np.int32)
    cumulative = np.empty(2 * len(source), dtype=np.float64)
    guide = np.empty(2 * len(source), dtype=np.int32)
    _fill_rows(field, source, target, weight, section, section_weight, neighbour, cumulative)
    _fill_guide(section, cumulative, guide)
    return WalkGraph(field_start, section, section_weight, neighbour, cumulative, guide)


def sample(graph: WalkGraph, key: int, walks: Ints, nodes: int, min_nodes: int, max_redraws: int) -> Walks:
    """Walks number `walks` of the stream `key` (any 64-bit number), each of at most `nodes` nodes.

    A walk that dies before `min_nodes` is drawn again as a whole, at most `max_redraws` times; what is still too
    short then is returned as it is, its length below `min_nodes`.
    """
    out = np.full((len(walks), nodes), -1, dtype=np.int32)
    length = np.zeros(len(walks), dtype=np.int32)
    redraws = np.zeros(len(walks), dtype=np.int32)
    pending = np.arange(len(walks), dtype=np.int64)
    rounds = max_redraws + 1 if graph.fields else 0
    stream = np.uint64(key & 0xFFFFFFFFFFFFFFFF)
    for redraw in range(rounds):
        if not len(pending):
            break
        redraws[pending] = redraw
        _walk(
            graph.field_start,
            graph.section,
            graph.section_weight,
            graph.neighbour,
            graph.cumulative,
            graph.guide,
            stream,
            walks,
            np.int64(redraw),
            pending,
            out,
            length,
        )
        pending = pending[length[pending] < min_nodes]
    return Walks(out, length, redraws)


@compiled
def _fill_rows(
    field: Any,
    source: Any,
    target: Any,
    weight: Any,
    section: Any,
    section_weight: Any,
    neighbour: Any,
    cumulative: Any,
) -> None:
    """Counting sort of both directions of every edge; stable, so each section comes out in node order."""
    fields = section_weight.shape[1]
    for e in range(len(source)):
        section[source[e] * fields + field[target[e]] + 1] += 1
        section[target[e] * fields + field[source[e]] + 1] += 1
    for s in range(1, len(section)):
        section[s] += section[s - 1]
    cursor = section[:-1].copy()
    for e in range(len(source)):  # neighbours below the node come first
        s = target[e] * fields + field[source[e]]
        neighbour[cursor[s]] = source[e]
        cumulative[cursor[s]] = weight[e]
        cursor[s] += 1
    for e in range(len(source)):
        s = source[e] * fields + field[target[e]]
        neighbour[cursor[s]] = target[e]
        cumulative[cursor[s]] = weight[e]
        cursor[s] += 1
    for s in range(len(section) - 1):
        total = 0.0
        for i in range(section[s], section[s + 1]):
            total += cumulative[i]
            cumulative[i] = total
        section_weight[s // fields, s % fields] = total


@compiled
def _fill_guide(section: Any, cumulative: Any, guide: Any) -> None:
    """One pass over each section: both the shares and the cumulative weights only grow."""
    for s in range(len(section) - 1):
        low, size = section[s], section[s + 1] - section[s]
        at = 0
        for j in range(size):
            share = cumulative[low + size - 1] * (j / size)
            while at < size - 1 and cumulative[low + at] <= share:
                at += 1
            guide[low + j] = at


@compiled
def _mix(value: Any) -> Any:
    """The finaliser of splitmix64: a bijection of 64 bits in which every input bit moves half of the output."""
    value = (value ^ (value >> np.uint64(30))) * MIX_A
    value = (value ^ (value >> np.uint64(27))) * MIX_B
    return value ^ (value >> np.uint64(31))


@compiled
def _walk_key(stream: Any, walk: Any, redraw: Any) -> Any:
    """The 64-bit key of one try of one walk."""
    return _mix(_mix(_mix(stream + GOLDEN) ^ np.uint64(walk)) + GOLDEN ^ np.uint64(redraw))


@compiled
def _uniform(walk_key: Any, draw: Any) -> Any:
    """Draw number `draw` of a walk in [0, 1), 53 bits."""
    bits = _mix(walk_key + np.uint64(draw + 1) * GOLDEN)
    return np.float64(bits >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@compiled
def _pick_field(weights: Any, visited: Any, uniform: Any, reached: Any) -> Any:
    """A field in proportion to its weight among those not visited, -1 when none has any. `reached` is scratch."""
    total = 0.0
    for f in range(len(weights)):
        total += weights[f] * np.float64(((visited >> np.uint64(f)) & np.uint64(1)) ^ np.uint64(1))
        reached[f] = total
    if total <= 0.0:
        return -1
    picked, aim = 0, uniform * total
    for f in range(len(weights)):  # without a branch: which field it will be is what a processor cannot guess
        picked += reached[f] <= aim
    while picked == len(weights) or reached[picked] == 0.0 or (picked and reached[picked] == reached[picked - 1]):
        picked -= 1  # rounding reached the end, or a field of no weight: the last eligible one catches it
    return picked


@compiled
def _find_entry(cumulative: Any, guide: Any, low: Any, high: Any, slot: Any, aim: Any) -> Any:
    """The entry of a section in whose share of the weight `aim` lies: near where the guide points."""
    entry = low + guide[slot]
    while entry < high - 1 and cumulative[entry] <= aim:
        entry += 1
    while entry > low and cumulative[entry - 1] > aim:  # where rounding put the guide one too far
        entry -= 1
    return entry


@compiled
def _walk(
    field_start: Any,
    section: Any,
    section_weight: Any,
    neighbour: Any,
    cumulative: Any,
    guide: Any,
    stream: Any,
    walks: Any,
    redraw: Any,
    pending: Any,
    out: Any,
    length: Any,
) -> None:
    """Draw try `redraw` of the pending walks, block by block, all walkers of a block one step at a time.

    Each step is a few short loops over the block, each of which waits for one kind of memory: their cache misses
    overlap, where a walker on its own would wait for one after the other.
    """
    keys = np.empty(BLOCK, dtype=np.uint64)
    visited = np.empty(BLOCK, dtype=np.uint64)
    node = np.empty(BLOCK, dtype=np.int64)  # where each walker stands, -1 when it is dead
    chosen = np.empty(BLOCK, dtype=np.int64)  # the section it walks into, -1 when there is none
    weight = np.empty(BLOCK, dtype=np.float64)  # of that section
    entry = np.empty(BLOCK, dtype=np.int64)
    for begin in range(0, len(pending), BLOCK):
        size = min(BLOCK, len(pending) - begin)
        for b in range(size):
            row = pending[begin + b]
            keys[b] = _walk_key(stream, walks[row], redraw)
            node[b] = _start(field_start, keys[b], visited[b : b + 1])
            out[row, :] = -1
            out[row, 0] = node[b]
            length[row] = 1
        for step in range(1, out.shape[1]):
            _choose_sections(section_weight, node[:size], visited, keys, step, chosen, weight)
            _choose_entries(section, cumulative, guide, keys, step, chosen[:size], weight, entry)
            for b in range(size):
                if chosen[b] < 0:
                    node[b] = -1
                    continue
                node[b] = neighbour[entry[b]]
                row = pending[begin + b]
                out[row, step] = node[b]
                length[row] = step + 1


@compiled
def _start(field_start: Any, walk_key: Any, visited: Any) -> Any:
    """A uniform field, then a uniform node in it; marks the field as visited."""
    f = int(_uniform(walk_key, 0) * (len(field_start) - 1))
    inside = int(_uniform(walk_key, 1) * (field_start[f + 1] - field_start[f]))
    visited[0] = np.uint64(1) << np.uint64(f)
    return field_start[f] + inside


@compiled
def _choose_sections(
    section_weight: Any, node: Any, visited: Any, keys: Any, step: Any, chosen: Any, weight: Any
) -> None:
    """The section each walker goes into. All rows are touched first: a quarter faster, the misses overlap."""
    fields = section_weight.shape[1]
    reached = np.empty(fields, dtype=np.float64)
    touched = 0.0
    for b in range(len(node)):
        if node[b] >= 0:
            touched += section_weight[node[b], 0] + section_weight[node[b], fields - 1]
    for b in range(len(node)):
        chosen[b] = -1
        if node[b] >= 0 and touched >= 0.0:  # always true; keeps the loop above from being optimised away
            f = _pick_field(section_weight[node[b]], visited[b], _uniform(keys[b], 2 * step), reached)
            if f >= 0:
                chosen[b] = node[b] * fields + f
                weight[b] = section_weight[node[b], f]
                visited[b] |= np.uint64(1) << np.uint64(f)


@compiled
def _choose_entries(
    section: Any, cumulative: Any, guide: Any, keys: Any, step: Any, chosen: Any, weight: Any, entry: Any
) -> None:
    """The entry each walker takes out of its section; dead walkers are passed over."""
    low, high = np.empty(len(chosen), dtype=np.int64), np.empty(len(chosen), dtype=np.int64)
    slot, aim = np.empty(len(chosen), dtype=np.int64), np.empty(len(chosen), dtype=np.float64)
    for b in range(len(chosen)):
        if chosen[b] >= 0:
            low[b], high[b] = section[chosen[b]], section[chosen[b] + 1]
    touched = 0.0
    for b in range(len(chosen)):
        if chosen[b] >= 0:
            uniform = _uniform(keys[b], 2 * step + 1)
            slot[b] = low[b] + np.int64(uniform * (high[b] - low[b]))
            aim[b] = uniform * weight[b]
            touched += guide[slot[b]] + cumulative[slot[b]]
    for b in range(len(chosen)):
        if chosen[b] >= 0 and touched >= 0.0:  # always true, as above
            entry[b] = _find_entry(cumulative, guide, low[b], high[b], slot[b], aim[b])
