"""Puts a root and the questions of `sql/analysis` into a catalog, as tables and views under their own names.

It writes names into the catalog and nothing into the root.
"""

from __future__ import annotations

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

import sql
from jobs.runtime.analysis import lacks
from jobs.runtime.tables import Tables
from sql.questions import Question, questions


def create_views(tables: Tables, schema: str) -> tuple[list[str], dict[str, str]]:
    """A view in `schema` for every question that the root can answer; their names, and why others have none.

    `schema` is `name` or `catalog.name` and is made where it is missing.
    """
    spark = tables.spark
    before = spark.sql("SELECT current_catalog() AS catalog, current_schema() AS name").collect()[0]
    spark.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    spark.sql(f"USE {schema}")  # a view keeps the schema it was made in, for the names that it reads
    made: list[str] = []
    left_out: dict[str, str] = {}
    try:
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


def _create(spark: SparkSession, tables: Tables, schema: str, question: Question) -> str | None:
    for name in question.reads:
        if name in sql.tables() and tables.storage.schema_name != schema:
            if tables.exists(name) and _is_view(spark, name):  # of a time when the root had no such table
                spark.sql(f"DROP VIEW {name}")
            spark.sql(_named(tables, name))
    comment = question.question.replace("'", "\\'")
    try:
        spark.sql(f"CREATE OR REPLACE VIEW {question.name} COMMENT '{comment}' AS {question.bound({})}")
    except AnalysisException as error:
        return " ".join(str(error).partition("\n")[0].split())
    return None


def _is_view(spark: SparkSession, name: str) -> bool:
    return spark.catalog.tableExists(name) and spark.catalog.getTable(name).tableType == "VIEW"


def _named(tables: Tables, name: str) -> str:
    """The statement that gives a table of the root its bare name in the current schema."""
    if not tables.exists(name):
        columns = ", ".join(f"CAST(NULL AS {c.dataType.simpleString()}) AS `{c.name}`" for c in sql.columns(name))
        return f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM (SELECT {columns}) WHERE false"
    if tables.storage.schema_name:
        return f"CREATE OR REPLACE VIEW {name} AS SELECT * FROM {tables.location(name)}"
    return f"CREATE TABLE IF NOT EXISTS {name} USING delta LOCATION '{tables.location(name)}'"
