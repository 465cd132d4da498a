"""The comparison that other tests rest on sees what it is for."""

from __future__ import annotations

from tests.equality import alike, differences


def test_floats_are_alike_within_the_tolerance() -> None:
    assert alike(0.5, 0.500001)
    assert not alike(0.5, 0.5001)
    assert alike([1.0, {"a": 2.0}], [1.000001, {"a": 2.0}])
    assert not alike([1.0], [1.0, 1.0])
    assert not alike({"a": 1.0}, {"b": 1.0})
    assert alike(float("nan"), float("nan"))
    assert not alike(None, 0.0)


def test_text_is_alike_only_to_itself() -> None:
    assert alike("a", "a")
    assert not alike("a", "A")
    assert not alike(1, 2), "counts have no tolerance"


def test_differences_are_named_both_ways() -> None:
    one = {"x": {"id": "x", "text": "a", "score": 1.0}, "y": {"id": "y", "text": "b", "score": 1.0}}
    two = {"x": {"id": "x", "text": "c", "score": 1.0}, "z": {"id": "z", "text": "b", "score": 1.0}}
    told = differences(one, two)
    assert len(told) == 3
    assert told[0].startswith("only in the first") and "'y'" in told[0]
    assert told[1].startswith("only in the second") and "'z'" in told[1]
    assert told[2] == "x text: 'a' ≠ 'c'"
    assert differences(one, one) == []
