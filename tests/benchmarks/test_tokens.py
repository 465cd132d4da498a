"""Token filter in one and the same Spark job: the engine ladder against Hugging Face tokenizers and tiktoken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from tests.benchmarks.synthetic import documents, odd_documents
from tests.benchmarks.timing import interleaved, ratio, say, size_mb
from udfs.settings import TokenizerSettings
from udfs.tokens import count_tokens
from udfs.tokens.engines import environment
from udfs.tokens.vocabulary import find_vocabulary

SETTINGS = TokenizerSettings()
Count = Callable[[list[str]], list[int]]

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]


def by_longloom(texts: list[str]) -> list[int]:
    return count_tokens(texts, SETTINGS)


def by_tiktoken(texts: list[str]) -> list[int]:
    encode = tiktoken_encoding().encode_ordinary
    return [len(encode(text)) for text in texts]


def by_hugging_face(texts: list[str]) -> list[int]:
    return [len(encoding.ids) for encoding in hugging_face().encode_batch_fast(texts, add_special_tokens=False)]


@cache
def tiktoken_encoding() -> Any:
    import tiktoken

    with environment("TIKTOKEN_CACHE_DIR", str(find_vocabulary(SETTINGS).path.parent)):
        return tiktoken.get_encoding("cl100k_base")


@cache
def hugging_face() -> Any:
    """The same vocabulary for the tokenizers package, by transformers' own converter with its pattern for it.

    (tiktoken's own spelling of the pattern has possessive quantifiers, which mean something else to this engine.)
    """
    from transformers.convert_slow_tokenizer import TikTokenConverter

    return TikTokenConverter(vocab_file=str(find_vocabulary(SETTINGS).path)).converted()


ENGINES: dict[str, Count] = {"longloom": by_longloom, "tiktoken": by_tiktoken, "encode_batch_fast": by_hugging_face}


def counted(texts: DataFrame, engine: str) -> DataFrame:
    """[id, n]: the same job for every engine, only the function differs; engines stay loaded in their workers."""

    def count(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from tests.benchmarks import test_tokens  # by name: a function sent by value loads its engine in every task

        for batch in batches:
            found = test_tokens.ENGINES[engine](batch["text"].to_pylist())
            yield pa.RecordBatch.from_arrays([batch["id"], pa.array(found, pa.int64())], names=["id", "n"])

    return texts.mapInArrow(count, "id bigint, n bigint")


def counts(texts: DataFrame, engine: str) -> np.ndarray:
    """All counts in the order of ids."""
    table = counted(texts, engine).toArrow().sort_by("id")
    return np.asarray(table["n"].to_numpy())


def test_tokens(spark: SparkSession, tmp_path: Path) -> None:
    peers_mb = max(size_mb(1_000) // 20, 2)  # they are twenty times slower: a twentieth of the data for the same time
    whole = store(spark, tmp_path / "whole", documents(size_mb(1_000)))
    part = store(spark, tmp_path / "part", documents(peers_mb, seed=1))
    odd = store(spark, tmp_path / "odd", odd_documents(10 * peers_mb))
    found = interleaved(
        {
            "longloom": lambda: counts(whole[0], "longloom"),
            "tiktoken": lambda: counts(part[0], "tiktoken"),
            "encode_batch_fast": lambda: counts(part[0], "encode_batch_fast"),
            "part": lambda: counts(part[0], "longloom"),
        },
        rounds=2,
    )
    assert np.array_equal(found["part"].result, found["tiktoken"].result)
    assert np.array_equal(found["part"].result, found["encode_batch_fast"].result)
    strange = {engine: counts(odd[0], engine) for engine in ENGINES}
    assert np.array_equal(strange["longloom"], strange["tiktoken"])
    assert np.array_equal(strange["longloom"], strange["encode_batch_fast"])
    warm = {"longloom": whole[1] / found["longloom"].warm}
    cold = {"longloom": whole[1] / found["longloom"].cold}
    for name in ("tiktoken", "encode_batch_fast"):
        warm[name], cold[name] = part[1] / found[name].warm, part[1] / found[name].cold
    say(
        "tokens",
        f"longloom {warm['longloom']:.0f} MB/s on {whole[1]:,.0f} MB, "
        + ", ".join(line(name, reach, warm, cold) for name, reach in (("encode_batch_fast", 20), ("tiktoken", 8)))
        + f" on {part[1]:,.0f} MB in the same Spark job; counts identical on {len(found['part'].result):,} texts "
        f"and on "
        f"{len(strange['longloom']):,} odd ones (scripts without spaces, code, runs, special tokens spelled out); "
        f"longloom on the peers' part {part[1] / found['part'].warm:.0f} MB/s",
    )


def line(name: str, reach: int, warm: dict[str, float], cold: dict[str, float]) -> str:
    """One peer's speed and how many times longloom is faster."""
    factor, first = ratio(warm["longloom"], warm[name]), ratio(cold["longloom"], cold[name])
    return f"{name} {warm[name]:.1f} ({factor:.1f}x warm, {first:.1f}x cold, reach {reach}x)"


def store(spark: SparkSession, folder: Path, texts: list[str]) -> tuple[DataFrame, float]:
    """The texts as parquet in eight files, and their megabytes."""
    folder.mkdir()
    for part in range(8):
        held = pa.table({"id": pa.array(range(part, len(texts), 8), pa.int64()), "text": texts[part::8]})
        pq.write_table(held, folder / f"{part}.parquet")
    return spark.read.parquet(str(folder)), sum(len(text.encode()) for text in texts) / 1e6
