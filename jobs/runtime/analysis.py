"""Answers questions about a root: gives the names that queries use their tables, runs them, and tells what is missing.

What is asked stands in `sql/analysis`; this knows storage and sessions and no figure by name.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.sql import DataFrame, Row
from pyspark.sql import functions as F

import sql
from jobs.runtime.errors import SettingsFault
from jobs.runtime.layout import require_layout
from jobs.runtime.plan_mode import suit_plans
from jobs.runtime.storage_faults import NOTHING_WRITTEN, storage_fault
from jobs.runtime.tables import Tables
from sql.questions import Question, questions, relations, value

SIDES = ("before", "after")  # of a comparison: a table `samples` is read as samples_before and samples_after
NEVER_MISSED = frozenset({"deferrals", "tombstones", "stage_runs", "imports"})  # a root without them lacks nothing
# Selection by order measures nothing: the funnel of such a root is whole, questions about measurements are not.
WHOLE_WITHOUT = {"funnel": frozenset({"influence"})}
LONGEST = 60  # characters of a printed value
FAILURES = (PySparkException, Py4JJavaError, pa.ArrowException)  # pyspark does not wrap what a missing file raises


class Analyst:
    """Runs queries over the tables of one root, each under its bare name in the session of `tables`."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._opened: set[str] = set()
        self._states: dict[str, tuple[str, int]] = {}  # side → table and its older version that is read as this side
        self.unwritten: list[str] = []  # tables that queries read and the root does not have yet

    def ask(self, name: str, values: Mapping[str, Any] | None = None) -> DataFrame:
        """The answer to a question of `sql/analysis`.

        Raises SettingsFault for an unknown name or parameter, and where the root lacks what the query reads.
        """
        question = find(name)
        values = dict(values or {})
        sides = {side: str(values.pop(side)) for side in SIDES if side in values}
        try:
            text = question.bound(values)
        except KeyError as error:
            known = [*question.parameters, *(SIDES if _compared(question.reads) else ())]
            offered = f"it takes {', '.join(known)}" if known else "it takes none"
            raise SettingsFault([f"{name} has no parameter {error.args[0]!r}; {offered}"]) from None
        self._open(question.reads, sides, name)
        return self._run(text, name)

    def sql(self, text: str) -> DataFrame:
        """The answer to a query of the caller's own. Raises SettingsFault for what Spark does not take."""
        self._open(relations(text), {}, "--sql")
        return self._run(text, "--sql")

    def _open(self, names: Sequence[str], sides: Mapping[str, str], asked: str) -> None:
        """Make a temporary view of every name that means a table of the root or the answer to another question."""
        stored = sql.tables()
        for name in names:
            table, _, side = name.rpartition("_")
            if name in self._opened:
                continue
            if name in questions():
                self.ask(name).createOrReplaceTempView(name)
            elif name in stored:
                if lacks(self._tables, name, asked):
                    self.unwritten.append(name)
                self._tables.read(name).createOrReplaceTempView(name)
            elif side in SIDES and table in stored:
                self._side(table, side, sides, asked).createOrReplaceTempView(name)
                continue  # another question may compare other versions
            self._opened.add(name)

    def _side(self, table: str, side: str, sides: Mapping[str, str], asked: str) -> DataFrame:
        """A table at a Delta version, or the rows of it that one run wrote."""
        newest = self._tables.version(table)
        if side not in sides:
            raise SettingsFault(
                [
                    f"{asked} compares two states of {table}: give --set before=… --set after=…, each a version "
                    f"(0 to {newest}) or the id of a run (its first characters are enough)"
                ]
            )
        state = sides[side]
        if len(state) < 8 and state.isdigit():
            if int(state) > newest:
                raise SettingsFault([f"{side}={state}: {table} has versions 0 to {newest}"])
            return self._older(table, side, int(state))
        found = self._tables.read(table).where(F.col("run_id").startswith(state))
        if found.isEmpty():
            raise SettingsFault([f"{side}={state}: no row of {table} was written by a run whose id begins so"])
        return found

    def _older(self, table: str, side: str, version: int) -> DataFrame:
        self._states[side] = table, version
        try:
            return self._tables.read(table, version=version)
        except FAILURES as error:
            told = f"{side}={version}: {table} cannot be read as of this version any more, its log is gone"
            raise SettingsFault([f"{told}: {why_not(error)}"]) from None

    def collected(self, answer: DataFrame, asked: str) -> pd.DataFrame:
        """The rows of an answer. Raises SettingsFault for what goes wrong only when they are computed.

        Raises StorageFault where a full disk stood behind it, as everywhere.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pyspark warns with the whole stack of what it raises behind it
                return answer.toPandas()
        except FAILURES as error:
            if full := storage_fault(error, self._tables.state, NOTHING_WRITTEN):
                raise full from None
            gone = self._gone(_words(error))
            raise SettingsFault(gone or [f"{asked}: {why_not(error)}"]) from None

    def _gone(self, said: str) -> list[str]:
        """A sentence for each side of a comparison that needs the file which is said to be missing."""
        file = re.search(r"[^/\s]+\.parquet", said) if "FILE_NOT_EXIST" in said else None
        told = []
        for side, (table, version) in self._states.items():
            files = self._tables.read(table, version=version).inputFiles() if file else []
            if file and any(path.endswith(file[0]) for path in files):
                told.append(
                    f"{side}={version}: files of {table} as of this version are gone, a vacuum took them; "
                    f"{self._readable(table)}"
                )
        return told

    def _readable(self, table: str) -> str:
        """Which versions can be asked for whatever vacuums took: those that were newest within what each retained."""
        newest = self._tables.version(table)
        history = self._tables.spark.sql(f"DESCRIBE HISTORY {self._tables.sql_name(table)}")
        commits = history.select("version", "timestamp", "operation", "operationParameters").collect()
        first = 0
        for vacuum in (commit for commit in commits if commit["operation"] == "VACUUM START"):
            given = vacuum["operationParameters"]
            retained = int(given.get("specifiedRetentionMillis") or given["defaultRetentionMillis"])
            edge = vacuum["timestamp"] - timedelta(milliseconds=retained)
            before = [c["version"] for c in commits if c["version"] < vacuum["version"] and c["timestamp"] <= edge]
            first = max(first, *before, 0)
        return f"versions {first} to {newest} can be asked for" if first else f"the newest version is {newest}"

    def _run(self, text: str, asked: str) -> DataFrame:
        try:
            return self._tables.spark.sql(text)
        except (ParseException, AnalysisException) as error:
            raise SettingsFault([f"{asked}: {why_not(error)}"]) from None


def lacks(tables: Tables, name: str, asked: str) -> bool:
    """Whether the root has no table of this name yet and the question misses it."""
    return name not in NEVER_MISSED | WHOLE_WITHOUT.get(asked, frozenset()) and not tables.exists(name)


def find(name: str) -> Question:
    """The question of this name. Raises SettingsFault that names all of them."""
    if name not in questions():
        raise SettingsFault([f"no question is named {name!r}; known: {', '.join(questions())}"])
    return questions()[name]


def listed() -> Iterator[str]:
    """What can be asked, a line a question."""
    width = max(map(len, questions()))
    for question in questions().values():
        yield f"{question.name:<{width}}  {question.question}"


def parameters(given: Sequence[str]) -> dict[str, Any]:
    """`key=value` texts as a question's parameters. Raises SettingsFault for a text of another form."""
    pairs = [text.partition("=") for text in given]
    wrong = [f"--set {key}: write it as key=value" for key, equals, _ in pairs if not equals]
    if wrong:
        raise SettingsFault(wrong)
    # The id of a run stays text: as a number 12e45678 would be another.
    return {key: text if key in SIDES else value(text) for key, text in ((k.strip(), t) for k, _, t in pairs)}


def open_root(tables: Tables) -> Analyst:
    """An analyst for a root that exists. Raises SettingsFault and LayoutRefused."""
    if not tables.exists("source_files"):
        raise SettingsFault([f"{tables.state}: no tables here; check --root, or run jobs/synthesize.py first"])
    require_layout(tables)
    suit_plans(tables.spark, tables.storage)
    return Analyst(tables)


def printed(answer: pd.DataFrame) -> str:
    """An answer as aligned text: numbers to four figures, long values cut."""
    if answer.empty:
        return "(no rows)"
    answer = plain(answer)
    shown = answer.map(_cell)
    right = [column for column in answer if pd.api.types.is_numeric_dtype(answer[column])]
    widths = {column: max(len(str(column)), *map(len, shown[column])) for column in shown}
    lines = [[str(column) for column in shown], *shown.to_numpy().tolist()]
    return "\n".join(
        "  ".join(
            text.rjust(widths[column]) if column in right else text.ljust(widths[column])
            for text, column in zip(line, shown, strict=True)
        ).rstrip()
        for line in lines
    )


def as_csv(answer: pd.DataFrame) -> str:
    """An answer as CSV; what is nested stands in its field as JSON."""
    return str(plain(answer).map(_nested).to_csv(index=False)).rstrip("\n")


def as_json(answer: pd.DataFrame) -> str:
    """An answer as JSON, a line a row."""
    rows = plain(answer).to_json(orient="records", lines=True, force_ascii=False, double_precision=15)
    return str(rows).rstrip("\n")


def plain(answer: pd.DataFrame) -> pd.DataFrame:
    """An answer in values that JSON has, each column under a name of its own: of two `id` the second is `id_2`."""
    names: list[str] = []
    for name in map(str, answer.columns):
        tries = (name if number == 1 else f"{name}_{number}" for number in range(1, len(answer.columns) + 1))
        names.append(next(one for one in tries if one not in names))
    columns = [answer.iloc[:, at] for at in range(len(names))]
    values = [
        pd.Series([_plain(value) for value in column], column.index, dtype=object) if column.dtype == object else column
        for column in columns
    ]
    return pd.DataFrame(dict(zip(names, values, strict=True)))


def _plain(value: Any) -> Any:
    """A value without what only Python has: arrays as lists, structs as objects, bytes in hex, no numbers as null."""
    if isinstance(value, Row):  # a tuple by itself, without its names
        value = value.asDict()
    if isinstance(value, dict):
        return {str(key): _plain(held) for key, held in value.items()}
    if hasattr(value, "tolist"):  # of numpy
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(held) for held in value]
    if isinstance(value, bytes | bytearray):
        return value.hex()
    return None if isinstance(value, float) and value != value else value


def _nested(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else value


def _compared(names: Sequence[str]) -> bool:
    return any(name.rpartition("_")[2] in SIDES for name in names)


def _cell(value: Any) -> str:
    value = _nested(value)
    if value is None or value != value:  # null, or not a number
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    number = isinstance(value, int) and not isinstance(value, bool)
    text = f"{value:,}" if number else " ".join(str(value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def why_not(error: Exception) -> str:
    """What Spark says, without its plan: the sentence up to the position or the first empty line."""
    text = _words(error).partition("\n\n")[0]
    text = re.split(r"; line \d+ pos \d+|;\n|\n== SQL|SQLSTATE:", text)[0]
    what = " ".join(text.split()).rstrip(" .;")
    column = re.search(r"UNRESOLVED_COLUMN.*?with name `(\w+)`", what)
    if column:
        return f"the root's tables have no column {column[1]!r}; if it is not misspelt, a run of this longloom adds it"
    if "TABLE_OR_VIEW_NOT_FOUND" in what:
        what = what.partition(". ")[0]
        return f"{what}. Tables stand after FROM or JOIN by their bare names: {', '.join(sql.tables())}"
    return what


def _words(error: BaseException) -> str:
    """What an error says; of one that only came through from the JVM its first cause that names its kind, no stack."""
    thrown, causes = getattr(error, "java_exception", None), []
    while thrown is not None:
        causes.append(str(thrown.getMessage() or thrown.toString()))
        thrown = thrown.getCause()
    return next((said for said in causes if said.startswith("[")), causes[-1]) if causes else str(error)
