"""Several processes: the job on executors of their own, with our code shipped to them, gives one process's rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from tests.clusters import Shipment, ship, standalone, submit
from tests.equality import assert_same_tables, tables_at
from tests.roots import prose, write_conversations, write_documents
from tests.small_corpus import SCORING, fitting, small_corpus, synthesize

SHORT = ("conversations", "long_conversations", "long_documents", "meta_records")
LOCAL_CLUSTER = "local-cluster[2,1,1024]"
WORDS = ("rice", "tides", "moss", "basalt", "copper", "plankton", "lichen", "amber")


@pytest.fixture(scope="module")
def shipment(tmp_path_factory: pytest.TempPathFactory) -> Shipment:
    return ship(tmp_path_factory.mktemp("shipment"))


@pytest.fixture(scope="module")
def whole(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The whole job in this process, on two partitions: its root, and what it was told."""
    folder = tmp_path_factory.mktemp("whole")
    records = small_corpus(folder / "corpus")
    records.write_conversations(folder / "conversations-1.parquet")
    records.write_documents(folder / "documents-1.jsonl.zst")
    given = fitting(folder, *SCORING)
    assert synthesize(spark, folder / "one", given)[0] == 0
    return folder / "one", given


@pytest.mark.spark
@pytest.mark.cluster
def test_two_executors_give_the_same_rows(spark: SparkSession, tmp_path: Path, shipment: Shipment) -> None:
    """local-cluster has real executors: pickling, imports and shuffles are those of a cluster."""
    kinds = ("Summarise this report", "Translate this letter into French", "Explain this source code", "List the facts")
    turns = [[f"{kinds[i % 4]}. {prose(word, 14)}", f"In short: {prose(word, 2)}"] for i, word in enumerate(WORDS)]
    conversations = write_conversations(tmp_path / "talk.jsonl", turns)
    documents = write_documents(tmp_path / "docs.jsonl", [prose(f"{word} survey", 16) for word in WORDS[:6]])
    given = [
        f"inputs.conversations=['{conversations}']",
        f"inputs.documents=['{documents}']",
        "filter={min_conversation_tokens: 100, min_document_tokens: 100, max_pair_document_tokens: 2000}",
    ]
    one, two = tmp_path / "one", tmp_path / "two"
    assert synthesize(spark, one, given, until=SHORT[-1])[0] == 0
    submit(two, given, LOCAL_CLUSTER, shipment, "--until", SHORT[-1])
    assert_same_tables(tables_at(spark, one), tables_at(spark, two), SHORT)


@pytest.mark.spark
@pytest.mark.cluster
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("where", ["seven partitions", "local-cluster", "standalone"])
def test_the_whole_job_gives_the_same_tables(
    spark: SparkSession, tmp_path: Path, shipment: Shipment, whole: tuple[Path, list[str]], where: str
) -> None:
    one, given = whole
    two = tmp_path / "two"
    if where == "seven partitions":
        seven = ("spark.sql.shuffle.partitions=7", "spark.default.parallelism=7")
        submit(two, given, "local[2,4]", shipment, confs=seven)
    elif where == "local-cluster":
        submit(two, given, LOCAL_CLUSTER, shipment)
    else:
        with standalone(tmp_path / "cluster") as master:
            submit(two, given, master, shipment, installed=True)
    assert_same_tables(tables_at(spark, one), tables_at(spark, two))
