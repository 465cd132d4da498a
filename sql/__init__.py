"""Finds and runs the SQL of each table: `columns.sql`, `query.sql`, `checks.sql`.

It knows files and frames; it does not know where tables are stored or who runs them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

COMMON = """
  id STRING COMMENT 'hash of what the row is made from; the same on every run',
  parent_ids ARRAY<STRING> COMMENT 'rows this row was made from',
  reject_reason STRING COMMENT 'null when the row is kept, else a short code',
  run_id STRING COMMENT 'MLflow run that wrote the row',
  recipe STRING COMMENT 'identity of the settings, prompts and models that made the row',
"""
SEPARATOR = "\x1f"  # between the parts of an id; cannot occur in a table name or a hash


@dataclass(frozen=True)
class Check:
    """A SELECT that returns offending rows, with the sentence to print when there are any."""

    level: Literal["fail", "warn"]
    message: str
    query: str


@cache
def columns(table: str) -> StructType:
    """The stored columns of `table`, the five common ones first. Needs a Spark session (the parser is Spark's)."""
    body = "\n".join(line for line in _read(table, "columns.sql").splitlines() if not line.startswith("--"))
    parsed = StructType.fromDDL(COMMON + body.strip().rstrip(","))
    assert isinstance(parsed, StructType)
    return parsed


def query(name: str) -> str:
    """The text of `sql/<name>/query.sql`."""
    return _read(name, "query.sql")


def run(name: str, args: Mapping[str, Any] | None = None, **frames: DataFrame) -> DataFrame:
    """Run `sql/<name>/query.sql` over `frames`, in the session the first frame belongs to.

    Frames stand in the text as `{frame}`, values as `:value`. A stream's batch lives in a session
    of its own, so all frames must come from that one.
    """
    session = next(iter(frames.values())).sparkSession
    named: dict[str, Any] = dict(frames)
    return session.sql(bound(query(name), args or {}), **named)


@cache
def checks(table: str) -> tuple[Check, ...]:
    """The checks of `table`, in file order; none when the table has no `checks.sql`.

    Raises ValueError when a statement lacks its `-- fail:` or `-- warn:` head.
    """
    if not resources.files("sql").joinpath(table, "checks.sql").is_file():
        return ()
    found = []
    for statement in re.split(r";\s*(?:\n|$)", _read(table, "checks.sql")):
        if not statement.strip():
            continue
        head = re.search(r"^-- (fail|warn): (.+)$", statement, re.MULTILINE)
        if head is None:
            raise ValueError(f"sql/{table}/checks.sql: a statement has no `-- fail:` or `-- warn:` line")
        level: Literal["fail", "warn"] = "fail" if head[1] == "fail" else "warn"
        body = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        found.append(Check(level, head[2].strip(), body.strip()))
    return tuple(found)


def failed_checks(table: str, rows: DataFrame) -> list[tuple[Check, int]]:
    """Run every check of `table` over `rows` in one job; the failed ones with their row counts."""
    found = checks(table)
    if not found:
        return []
    session: SparkSession = rows.sparkSession
    parts = [f"SELECT {i} AS check, count(*) AS n FROM ({check.query})" for i, check in enumerate(found)]
    counted = session.sql(" UNION ALL ".join(parts), rows=rows).collect()
    return [(found[row["check"]], row["n"]) for row in counted if row["n"]]


def bound(text: str, args: Mapping[str, Any]) -> str:
    """`text` with literals in place of `:name`. Spark's own binding fails inside a CTE that is used twice (4.1.4)."""

    def literal(match: re.Match[str]) -> str:
        value = args[match[1]]
        if isinstance(value, str):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        return str(value).lower() if isinstance(value, bool) else repr(value)

    return re.sub(r"(?<![:\w]):([a-z_]+)\b", literal, text)


def row_id(table: str, *parts: Column | str) -> Column:
    """sha256 of the table's name and `parts` (names of columns, or columns; arrays are joined)."""
    texts = [F.col(part) if isinstance(part, str) else part for part in parts]
    joined = [F.coalesce(text.cast("string"), F.lit("")) for text in texts]
    return F.sha2(F.concat_ws(SEPARATOR, F.lit(table), *joined), 256)


def derived_id(table: str, parents: Column, sibling: Column | str = "") -> Column:
    """Id of a derived row: sha256(table, parent ids, sibling)."""
    key = F.lit(sibling) if isinstance(sibling, str) else sibling
    return row_id(table, F.concat_ws(SEPARATOR, parents), key)


def tables() -> Sequence[str]:
    """Names of all tables that have a `columns.sql`, sorted."""
    folders = (entry for entry in resources.files("sql").iterdir() if entry.is_dir())
    return sorted(folder.name for folder in folders if folder.joinpath("columns.sql").is_file())


def _read(table: str, name: str) -> str:
    return resources.files("sql").joinpath(table, name).read_text(encoding="utf-8")
