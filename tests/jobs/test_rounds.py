"""A round's plan: what is missing, where it can come from, and what is short."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobs.runtime.rounds import Supply, plan_round


def supply(
    share: float, accepted: int = 0, answered: int = 0, instructions: int = 0, next_walk: int = 0, documents: int = 99
) -> Supply:
    return Supply(share, accepted, max(answered, accepted), instructions, next_walk, documents)


def test_first_round_asks_for_the_mix() -> None:
    state = {
        ("single", "news"): supply(0.75),
        ("single", "law"): supply(0.25),
        ("multi", "news"): supply(0.75),
        ("multi", "law"): supply(0.25),
    }
    wanted, accepted, short = plan_round(state, {"single": 8, "multi": 4}, 20)
    assert wanted == {("single", "news"): 6, ("single", "law"): 2, ("multi", "news"): 3, ("multi", "law"): 1}
    assert accepted == {"single": 0, "multi": 0}
    assert short == {"single": {}, "multi": {}}


def test_a_pair_needs_two_documents() -> None:
    state = {("multi", "news"): supply(0.5, documents=3), ("multi", "law"): supply(0.5)}
    wanted, _, short = plan_round(state, {"multi": 10}, 20)
    assert wanted == {("multi", "news"): 1, ("multi", "law"): 9}
    assert short == {"multi": {"news": 4}}


def test_met_targets_ask_for_nothing() -> None:
    state = {("single", "news"): supply(1.0, accepted=5)}
    assert plan_round(state, {"single": 5}, 20)[0] == {}
    assert plan_round(state, {"single": 3}, 20)[0] == {}, "a lowered target asks for nothing either"


def test_candidates_are_bounded() -> None:
    state = {("single", "news"): supply(1.0, next_walk=40, instructions=1)}
    wanted, _, short = plan_round(state, {"single": 2}, 20)
    assert wanted == {("single", "news"): 1}
    assert short == {"single": {"news": 1}}


def test_never_more_than_is_missing() -> None:
    """A type above its quota (the mix shifted) must not make the others overshoot."""
    state = {("single", "a"): supply(0.1, accepted=6), ("single", "b"): supply(0.9, accepted=0)}
    wanted, _, _ = plan_round(state, {"single": 8}, 20)
    assert sum(wanted.values()) == 2


def test_rejections_are_asked_for_in_advance() -> None:
    state = {("single", "news"): supply(1.0, accepted=4, answered=8)}
    assert plan_round(state, {"single": 7}, 20)[0] == {("single", "news"): 6}
    hopeless = {("single", "news"): supply(1.0, accepted=0, answered=50)}
    assert plan_round(hopeless, {"single": 1}, 20)[0] == {("single", "news"): 4}


def test_the_first_round_allows_for_rejections_that_are_expected() -> None:
    state = {("single", "news"): supply(0.75), ("single", "law"): supply(0.25)}
    wanted, _, short = plan_round(state, {"single": 8}, 20, expected=0.7)
    assert sum(wanted.values()) == 12 and wanted["single", "news"] == 9 and short == {"single": {}}
    answered = {("single", "news"): supply(0.75, accepted=6), ("single", "law"): supply(0.25)}
    assert plan_round(answered, {"single": 8}, 20, expected=0.7)[0] == {("single", "law"): 2}, "now it is known"
    few = {("multi", "news"): supply(1.0, documents=9)}
    wanted, _, short = plan_round(few, {"multi": 4}, 20, expected=0.5)
    assert wanted == {("multi", "news"): 4} and short == {"multi": {}}, "no documents for more, enough for the target"


def test_what_is_missing_goes_by_what_each_type_lacks() -> None:
    """One type came out above its share, so that the others lack more than is missing."""
    state = {
        ("single", "a"): supply(0.5, accepted=30),
        ("single", "b"): supply(0.3, accepted=50),
        ("single", "c"): supply(0.2, accepted=10),
    }
    wanted, _, _ = plan_round(state, {"single": 100}, 20)
    # 20 and 10 short of their quotas; of the 10 that are missing 6.67 and 3.33
    assert wanted == {("single", "a"): 7, ("single", "c"): 3}


held = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=2),
    st.tuples(st.integers(1, 100), st.integers(0, 20), st.integers(0, 30)),
    min_size=1,
    max_size=6,
)


@given(held, st.integers(0, 80))
def test_never_more_than_is_missing_and_all_of_it_where_it_can_be_had(
    types: dict[str, tuple[int, int, int]], target: int
) -> None:
    weight = sum(share for share, _, _ in types.values())
    state = {
        ("single", kind): supply(share / weight, accepted, answered=accepted, documents=documents)
        for kind, (share, accepted, documents) in types.items()
    }
    wanted, accepted, _ = plan_round(state, {"single": target}, 20)
    missing = max(0, target - accepted["single"])
    assert sum(wanted.values()) == min(missing, sum(documents for _, _, documents in types.values()))
    assert all(0 < count <= types[kind][2] for (_, kind), count in wanted.items())
    turned = dict(reversed(list(state.items())))
    assert plan_round(turned, {"single": target}, 20)[0] == wanted
