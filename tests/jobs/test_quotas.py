"""Quotas: hand-computed cases, and the properties the written rule promises."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.runtime.quotas import MOST_LABELS, allocate, labels_wanted, mix_distance, shortages


def test_largest_remainder_by_hand() -> None:
    shares = {"news": 0.5, "code": 0.3, "law": 0.2}
    assert allocate(10, shares, dict.fromkeys(shares, 99)) == {"news": 5, "code": 3, "law": 2}
    # 7 · (.5, .3, .2) = 3.5, 2.1, 1.4: one left over goes to the largest remainder
    assert allocate(7, shares, dict.fromkeys(shares, 99)) == {"news": 4, "code": 2, "law": 1}


def test_shortage_goes_to_the_others_by_share() -> None:
    shares = {"news": 0.5, "code": 0.3, "law": 0.2}
    quota = allocate(10, shares, {"news": 1, "code": 99, "law": 99})
    # news takes 1; the other 4 of its 5 are parted 3 : 2 and rounded
    assert quota == {"news": 1, "code": 5, "law": 4}
    assert shortages(10, shares, quota) == {"news": 4}


def test_supply_used_up() -> None:
    quota = allocate(10, {"a": 0.9, "b": 0.1}, {"a": 2, "b": 1})
    assert quota == {"a": 2, "b": 1}
    assert shortages(10, {"a": 0.9, "b": 0.1}, quota) == {"a": 7}


def test_types_without_share_come_last() -> None:
    assert allocate(3, {"a": 1.0, "z": 0.0}, {"a": 2, "z": 5}) == {"a": 2, "z": 1}


kinds = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(1, 100), st.integers(0, 30)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(kinds, st.integers(0, 80))
def test_properties(held: dict[str, tuple[int, int]], target: int) -> None:
    weight = sum(share for share, _ in held.values())
    shares = {name: share / weight for name, (share, _) in held.items()}
    capacity = {name: room for name, (_, room) in held.items()}
    quota = allocate(target, shares, capacity)
    assert sum(quota.values()) == min(target, sum(capacity.values()))
    assert all(0 <= quota[name] <= capacity[name] for name in quota)
    # no supply is left where somebody is short, unless the target is met
    reordered = dict(reversed(list(shares.items())))
    assert allocate(target, reordered, capacity) == quota


@settings(max_examples=200, deadline=None)
@given(kinds, st.integers(1, 80))
def test_ample_supply_stays_within_one_of_the_mix(held: dict[str, tuple[int, int]], target: int) -> None:
    weight = sum(share for share, _ in held.values())
    shares = {name: share / weight for name, (share, _) in held.items()}
    quota = allocate(target, shares, dict.fromkeys(shares, target))
    assert all(abs(quota[name] - target * shares[name]) < 1 for name in quota)


def test_mix_distance_by_hand() -> None:
    assert mix_distance({"a": 0.5, "b": 0.5}, {"a": 3, "b": 3}) == 0.0
    assert mix_distance({"a": 1.0}, {"b": 7}) == 1.0, "nothing in common"
    # p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4): (½·log2(2/3) + ½·log2(2) + log2(4/3)) / 2 = 0.3113
    assert abs(mix_distance({"a": 0.5, "b": 0.5}, {"a": 4, "b": 0}) - 0.3113**0.5) < 1e-3
    assert mix_distance({"a": 1.0}, {}) == 0.0, "no samples yet"


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 50), st.integers(0, 120), st.integers(0, 120))
def test_labels_that_could_not_be_had_are_asked_for_up_to_a_bound(labels: int, asked: int, kept: int) -> None:
    kept = min(kept, asked)
    wanted = labels_wanted(labels, asked, kept)
    assert wanted >= 0 and (not wanted or (kept + wanted <= labels and asked + wanted <= MOST_LABELS * labels))
    assert wanted or kept >= labels or asked >= MOST_LABELS * labels
