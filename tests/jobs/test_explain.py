"""Unknown ids are answered with those most like them."""

from __future__ import annotations

from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.explain import explain
from jobs.runtime.ancestry import nearest
from jobs.runtime.errors import SettingsFault
from tests.sql.small_root import SmallTables


def rows(*ids: str) -> list[dict[str, Any]]:
    return [{"id": name} for name in ids]


@pytest.mark.spark
def test_nearest_ids_are_offered(spark: SparkSession) -> None:
    held = {"samples": rows("abcdef0123456789ff", "abcdef0123999999ff"), "walks": rows("abcdff0123456789ff", "77" * 9)}
    tables = SmallTables(spark, held)
    assert nearest(tables, "abcdef012345678a") == [("samples", "abcdef0123456789ff"), ("walks", "abcdff0123456789ff")]
    with pytest.raises(SettingsFault, match="has this id; nearest: samples abcdef0123456789, walks abcdff0123456789"):
        explain(tables, "abcdef012345678a")
    with pytest.raises(SettingsFault, match=r"no row and no run of small has this id$"):
        explain(tables, "0" * 16)
