"""Wraps a function on Arrow arrays as a Spark function, with the same promises everywhere.

It knows nothing of what the function computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql.udf import UserDefinedFunction


def arrow_function(function: Callable[[pa.Array], pa.Array], returns: str) -> UserDefinedFunction:
    """A Spark function of one column from a function of one Arrow array.

    It is declared non-deterministic although it is not, because Spark runs a deterministic Python function
    once more for every filter on its result.
    """
    from pyspark.sql.pandas.functions import arrow_udf

    def apply(values: pa.Array) -> pa.Array:
        return function(values)

    apply.__annotations__ = {"values": pa.Array, "return": pa.Array}  # Spark evaluates them, not their names
    wrapped = cast(Any, arrow_udf)(apply, returns)
    return cast("UserDefinedFunction", wrapped.asNondeterministic())
