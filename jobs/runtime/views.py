"""Puts a root and the questions of `sql/analysis` into a catalog, as tables and views under their own names.

It writes names into the catalog and nothing into the root.
"""

from __future__ import annotations

import posixpath

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

import sql
from jobs.runtime.analysis import lacks
from jobs.runtime.errors import SettingsFault
from jobs.runtime.tables import Tables
from sql.questions import Question, questions


def create_views(tables: Tables, schema: str) -> tuple[list[str], dict[str, str]]:
    """A view in `schema` for every question that the root can answer; their names, and why others have none.

    `schema` is `name` or `catalog.name` and is made where it is missing. Raises SettingsFault, with nothing changed in
    it, where it names tables of another root.
    """
    spark = tables.spark
    before = spark.sql("SELECT current_catalog() AS catalog, current_schema() AS name").collect()[0]
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    spark.sql(f"USE {schema}")  # a view keeps the schema it was made in, for the names that it reads
    made: list[str] = []
    left_out: dict[str, str] = {}
    try:
        _make_room(tables, schema)
        for question in _in_order():
            reason = _obstacle(question, tables, made)
            if reason is None:
                reason = _create(spark, tables, schema, question)
            if reason is None:
                made.append(question.name)
            else:
                left_out[question.name] = reason
    finally:
        spark.sql(f"USE {before['catalog']}.{before['name']}")
    return sorted(made), left_out


def _in_order() -> list[Question]:
    """Questions, those first that other questions read."""
    read = {name for question in questions().values() for name in question.reads}
    return sorted(questions().values(), key=lambda question: (question.name not in read, question.name))


def _obstacle(question: Question, tables: Tables, made: list[str]) -> str | None:
    for name in question.reads:
        if name in sql.tables():
            if lacks(tables, name, question.name):
                return f"the root has no table {name} yet"
        elif name not in made:
            return f"there is no {name}: which one is asked each time"
    return None


def _make_room(tables: Tables, schema: str) -> None:
    """Drop names that are in the way of this root's tables and hold nothing.

    Those are views for tables that the root lacked once, and tables whose files are gone.
    """
    if tables.storage.schema_name == schema:
        return
    read = {name for question in questions().values() for name in question.reads} & {*sql.tables()}
    held = {name: _held(tables.spark, f"{schema}.{name}") for name in sorted(read)}
    for name, (kind, location) in held.items():
        if kind == "TABLE" and location is not None:
            _require_ours(tables, schema, name, location)
    for name, (kind, location) in held.items():
        if kind == "VIEW" and tables.exists(name) and not tables.storage.schema_name:
            tables.spark.sql(f"DROP VIEW {schema}.{name}")
        elif kind == "TABLE" and location is None:
            tables.spark.sql(f"DROP TABLE {schema}.{name}")


def _held(spark: SparkSession, name: str) -> tuple[str | None, str | None]:
    """What a name of the catalog means: VIEW, TABLE or nothing; and where a table lies, None if it is gone."""
    try:
        rows = spark.sql(f"DESCRIBE TABLE EXTENDED {name}").collect()
    except AnalysisException as error:
        if error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND":
            return None, None
        if error.getCondition() == "DELTA_PATH_DOES_NOT_EXIST":
            return "TABLE", None
        raise
    facts = {row["col_name"]: row["data_type"] for row in rows}  # columns come first, so the table's own facts win
    return ("VIEW", None) if facts.get("Type") == "VIEW" else ("TABLE", facts.get("Location", ""))


def _require_ours(tables: Tables, schema: str, name: str, location: str) -> None:
    """Raise SettingsFault for a table that is not this root's: under its name, questions would answer from there."""
    if not tables.storage.schema_name and _qualified(tables.spark, tables.location(name)) == location:
        return
    theirs, root = posixpath.dirname(location) or schema, tables.storage.schema_name or tables.storage.root
    raise SettingsFault(
        [
            f"--views {schema}: its table {name} lies in {theirs}, and the root asked about is {root}. Give another "
            "schema for this root, or first drop the tables of the other one there (DROP TABLE takes an external "
            "table's name away and leaves its files)"
        ]
    )


def _qualified(spark: SparkSession, location: str) -> str:
    """A location as the catalog writes it, with its scheme."""
    jvm = spark.sparkContext._jvm
    assert jvm is not None
    path = jvm.org.apache.hadoop.fs.Path(location)
    return str(path.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).makeQualified(path).toString())


def _create(spark: SparkSession, tables: Tables, schema: str, question: Question) -> str | None:
    comment = question.question.replace("'", "\\'")
    try:
        for name in question.reads:
            if name in sql.tables() and tables.storage.schema_name != schema:
                spark.sql(_named(tables, name))
        spark.sql(f"CREATE OR REPLACE VIEW {question.name} COMMENT '{comment}' AS {question.bound({})}")
    except AnalysisException as error:
        return " ".join(str(error).partition("\n")[0].split())
    return None


def _named(tables: Tables, name: str) -> str:
    """The statement that gives a table of the root its bare name in the current schema."""
    if not tables.exists(name):
        columns = ", ".join(f"CAST(NULL AS {c.dataType.simpleString()}) AS `{c.name}`" for c in sql.columns(name))
        return f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM (SELECT {columns}) WHERE false"
    if tables.storage.schema_name:
        return f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {tables.location(name)}"
    return f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{tables.location(name)}'"
