"""Whether two rows say the same, floats within a tolerance; runs on executors.

Which columns are compared is the caller's business.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pyarrow as pa

from udfs.arrow import arrow_function

if TYPE_CHECKING:
    from pyspark.sql.udf import UserDefinedFunction

TOLERANCE = 1e-5


def unlike_columns() -> UserDefinedFunction:
    """Spark function over JSON `{"one": {…}, "two": {…}}` to the names of the columns that differ."""

    def compare(pairs: pa.Array) -> pa.Array:
        return pa.array([_unlike(json.loads(pair)) for pair in pairs.to_pylist()], pa.list_(pa.string()))

    return arrow_function(compare, "array<string>")


def _unlike(pair: dict[str, dict[str, object]]) -> list[str]:
    one, two = pair["one"], pair["two"]
    return sorted(name for name in one.keys() | two.keys() if not alike(one.get(name), two.get(name)))


def alike(one: object, two: object) -> bool:
    """Equal; numbers within TOLERANCE of each other where one of them is a float, at any depth."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(alike(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(alike(a, b) for a, b in zip(one, two, strict=True))
    if (isinstance(one, float) and isinstance(two, int | float)) or (isinstance(two, float) and isinstance(one, int)):
        return math.isclose(one, two, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return one == two
