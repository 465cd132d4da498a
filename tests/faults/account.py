"""What a disturbed run is held against: the tables of a quiet one, the server's own log, and what it printed."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from tests.equality import assert_same_tables, tables_at

Kills = list[tuple[float, float]]  # when each was begun and when it was over
DURABLE_S = 1.0  # from a reply's last byte to its line on the disk, on a machine that is busy
# A run that ends for a reason of the world ends with a sentence.
TRACES = re.compile(r"Traceback|^\s+at [\w.$]+\(|\bERROR\b", re.MULTILINE)


def require_equal(spark: SparkSession, quiet: Path, disturbed: Path, last: str = "training_set") -> None:
    """Nothing lost, nothing twice: every table says the same; runs up to `last` leave others empty in both."""
    assert not tables_at(spark, quiet).read(last).isEmpty()
    whole = last == "training_set"
    assert_same_tables(tables_at(spark, quiet), tables_at(spark, disturbed), may_be_empty=not whole)


@contextmanager
def noted(kills: Kills) -> Iterator[None]:
    """Note when what happens inside was begun and when it was over: a process goes on for a while after it was told."""
    begun = time.monotonic()
    yield
    kills.append((begun, time.monotonic()))


def require_asked_once(requests: Iterable[dict[str, Any]], kills: Kills) -> None:
    """A request that was answered comes again only when it was in flight at a kill (`noted` ones)."""
    answers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in requests:
        if request["answered"]:
            answers[request["hash"]].append(request)
    assert answers, "the job asked nobody"
    for tries in answers.values():
        for first in sorted(tries, key=lambda request: request["start"])[:-1]:
            in_flight = any(first["start"] <= dead and told <= first["end"] + DURABLE_S for told, dead in kills)
            assert in_flight, f"asked again though answered: {first}, kills at {kills}"
