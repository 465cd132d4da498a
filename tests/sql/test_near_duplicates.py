"""Which row is kept and which one it is named after, against the rule in plain Python."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from sql.frames import reject_duplicates
from udfs.minhash import band_matrix, signature_matrix
from udfs.near_duplicates import REMEMBERED, Met, first_alike
from udfs.settings import MinhashSettings

SETTINGS = MinhashSettings()
SMALL = MinhashSettings(permutations=8, bands=4, threshold=0.75)
SCHEMA = "id string, reject_reason string, duplicate_key string, signature array<bigint>, bands array<bigint>"
Reasons = dict[str, str | None]


@dataclass(frozen=True)
class Text:
    """A row as the search sees it; texts without words have no signature."""

    id: str
    key: str
    signature: tuple[int, ...] | None

    def bands(self, minhash: MinhashSettings) -> set[tuple[int, ...]]:
        assert self.signature is not None
        width = minhash.permutations // minhash.bands
        return {(at, *self.signature[at : at + width]) for at in range(0, minhash.permutations, width)}


def expected(rows: list[Text], previous: list[Text], minhash: MinhashSettings) -> Reasons:
    """The rule, every pair looked at: the first earlier row of the same text, else the first that is alike."""
    found: Reasons = {row.id: None for row in rows}
    arrived = [row for group in (previous, rows) for row in sorted(group, key=lambda row: row.id) if row.signature]
    banded = [row.bands(minhash) for row in arrived]
    earlier = sum(row.signature is not None for row in previous)
    for at in range(earlier, len(arrived)):
        before = range(at)
        same = [n for n in before if arrived[n].key == arrived[at].key]
        near = (n for n in before if banded[n] & banded[at] and alike(arrived[n], arrived[at], minhash))
        first = next(near, None)
        if same:
            found[arrived[at].id] = f"exact_duplicate:{arrived[same[0]].id}"
        elif first is not None:
            found[arrived[at].id] = f"near_duplicate:{arrived[first].id}"
    return found


def alike(a: Text, b: Text, minhash: MinhashSettings) -> bool:
    assert a.signature is not None and b.signature is not None
    same = sum(x == y for x, y in zip(a.signature, b.signature, strict=True))
    return same >= minhash.threshold * minhash.permutations


def frame(spark: SparkSession, texts: list[Text], minhash: MinhashSettings, partitions: int) -> DataFrame:
    rows = []
    for text in texts:
        keys = None
        if text.signature is not None:
            keys = band_matrix(np.asarray([text.signature], np.uint64), minhash)[0].tolist()
        rows.append((text.id, None, text.key, None if text.signature is None else list(text.signature), keys))
    return spark.createDataFrame(rows, SCHEMA).repartition(partitions)


def judged(
    spark: SparkSession, rows: list[Text], previous: list[Text], minhash: MinhashSettings, partitions: int = 2
) -> Reasons:
    here, before = (frame(spark, texts, minhash, partitions) for texts in (rows, previous))
    return {row["id"]: row["reject_reason"] for row in reject_duplicates(here, before, first_alike(minhash)).collect()}


def groups(draw: random.Random, n: int) -> list[Text]:
    """Texts around a few centres, with chains, exact repeats, signatures that agree, and texts of no words."""
    centres = [[draw.randrange(9) for _ in range(SMALL.permutations)] for _ in range(4)]
    made: list[Text] = []
    for at in range(n):
        name = f"{draw.randrange(16**8):08x}-{at}"
        kind = draw.random()
        if made and kind < 0.15:
            twin = draw.choice(made)
            made.append(Text(name, twin.key, twin.signature))
        elif made and kind < 0.25:
            made.append(Text(name, name, draw.choice(made).signature))
        elif kind < 0.3:
            made.append(Text(name, "no words", None))
        else:
            changed = [x if draw.random() < 0.75 else draw.randrange(9) for x in draw.choice(centres)]
            made.append(Text(name, name, tuple(changed)))
    return made


@pytest.mark.spark
@pytest.mark.parametrize("seed", range(4))
def test_winners_and_names_are_the_rules(spark: SparkSession, seed: int) -> None:
    texts = groups(random.Random(seed), 120)
    previous, rows = (texts[:40], texts[40:]) if seed else ([], texts)
    right = expected(rows, previous, SMALL)
    codes = {(reason or "kept").partition(":")[0] for reason in right.values()}
    assert codes == {"kept", "near_duplicate", "exact_duplicate"}
    assert judged(spark, rows, previous, SMALL, partitions=1 + seed) == right


@pytest.mark.spark
def test_a_chain_rejects_all_but_its_first(spark: SparkSession) -> None:
    a, b, c = Text("a", "a", (1,) * 8), Text("b", "b", (*[1] * 6, 2, 2)), Text("c", "c", (*[1] * 4, 3, 3, 2, 2))
    assert alike(a, b, SMALL) and alike(b, c, SMALL) and not alike(a, c, SMALL)
    assert judged(spark, [c, a, b], [], SMALL) == {"a": None, "b": "near_duplicate:a", "c": "near_duplicate:b"}
    assert judged(spark, [a], [b], SMALL) == {"a": "near_duplicate:b"}, "an earlier batch wins whatever the ids"


@pytest.mark.spark
def test_rows_of_a_replayed_batch_are_no_duplicates_of_themselves(spark: SparkSession) -> None:
    """A run that died between a batch's write and its commit finds the rows of the batch stored already."""
    texts = groups(random.Random(7), 60)
    assert judged(spark, texts, texts, SMALL) == judged(spark, texts, [], SMALL)


@pytest.mark.spark
def test_thousands_of_one_template_are_one_row(spark: SparkSession) -> None:
    """5,000 texts of one word's difference would be 12 million pairs in each of 16 bands."""
    draw = random.Random(3)
    words = [f"w{draw.randrange(9_999)}" for _ in range(300)]
    texts = []
    for n in range(5_000):
        at = draw.randrange(len(words))
        texts.append(" ".join([*words[:at], f"new{n}", *words[at + 1 :]]))
    signatures = signature_matrix(texts, SETTINGS)[0].tolist()
    rows = [Text(f"{draw.randrange(16**8):08x}-{n}", str(n), tuple(one)) for n, one in enumerate(signatures)]
    others = groups_of_one(draw, 20)
    found = judged(spark, rows + others, [], SETTINGS)
    first = min(row.id for row in rows)
    assert [row.id for row in rows if found[row.id] is None] == [first]
    assert all(found[row.id] == f"near_duplicate:{first}" for row in rows if row.id != first)
    assert all(found[row.id] is None for row in others)


def groups_of_one(draw: random.Random, n: int) -> list[Text]:
    texts = [" ".join(f"other{draw.randrange(9_999)}" for _ in range(200)) for _ in range(n)]
    signatures = signature_matrix(texts, SETTINGS)[0].tolist()
    return [Text(f"{draw.randrange(16**8):08x}-o{n}", f"o{n}", tuple(one)) for n, one in enumerate(signatures)]


# --- the search in one band ---------------------------------------------------------------------------------------


def signature(*differ: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    """Of eight positions all are 1 but these, which are given other values."""
    made = np.ones(8, np.uint32)
    for at, value in enumerate(differ):
        made[at] = value
    return made


def unlike(n: int) -> np.ndarray[tuple[int], np.dtype[np.uint32]]:
    return np.arange(8, dtype=np.uint32) + np.uint32(100 * n + 100)


def test_each_text_of_one_template_is_compared_once() -> None:
    met = Met(needed=6, most=REMEMBERED, positions=8)
    found = [met.meet(str(n), True, signature(n + 2)) for n in range(5_000)]
    assert found == [None] + [("0", True)] * 4_999
    assert met.compared == 4_999
    assert len(met.names) == REMEMBERED


def test_texts_that_are_all_unlike_are_compared_with_a_bounded_number() -> None:
    met = Met(needed=6, most=10, positions=8)
    assert all(met.meet(f"e{n}", False, unlike(n)) is None for n in range(30))
    assert all(met.meet(f"f{n}", True, unlike(n + 50)) is None for n in range(500))
    assert len(met.names) == 3 * 10
    assert met.compared <= 500 * 3 * 10


def test_a_large_group_does_not_hide_the_groups_behind_it() -> None:
    """The places of the first texts are taken by one group; each later group is still found by its first."""
    met = Met(needed=6, most=5, positions=8)
    for n in range(100):
        met.meet(f"a{n:03d}", True, signature(n + 2))
    assert met.meet("b0", True, unlike(1)) is None
    assert met.meet("c0", True, unlike(2)) is None
    assert met.meet("b1", True, unlike(1)) == ("b0", True)
    assert met.meet("c1", True, unlike(2)) == ("c0", True)


def test_equal_signatures_take_no_place() -> None:
    met = Met(needed=6, most=5, positions=8)
    for n in range(100):
        met.meet(f"a{n}", True, signature())
    assert met.names == [("a0", True)]


def searched(members: list[tuple[bool, str, tuple[int, ...]]], remembered: int, batch: int) -> list[dict[str, object]]:
    """The search over one band, fed in batches of a size."""
    fields = [("band", pa.int64()), ("fresh", pa.bool_()), ("id", pa.string()), ("signature", pa.list_(pa.int64()))]
    rows = [{"band": 1, "fresh": fresh, "id": name, "signature": list(one)} for fresh, name, one in sorted(members)]
    table = pa.Table.from_pylist(rows, pa.schema(fields))

    def batches() -> Iterator[pa.RecordBatch]:
        yield from table.to_batches(max_chunksize=batch)

    return [row for found in first_alike(SMALL, remembered)(batches()) for row in found.to_pylist()]


signatures = st.tuples(*[st.integers(0, 2)] * 8)
members = st.lists(st.tuples(st.booleans(), signatures), max_size=60)


@settings(max_examples=150, deadline=None)
@given(members, st.integers(1, 8), st.integers(1, 7))
def test_a_bounded_search_finds_no_more_than_a_whole_one(
    drawn: list[tuple[bool, tuple[int, ...]]], remembered: int, batch: int
) -> None:
    """Whoever is found is earlier and alike; the first by arrival where all are remembered; batches change nothing."""
    listed = [(fresh, f"{n:02d}", one) for n, (fresh, one) in enumerate(drawn)]
    found = searched(listed, remembered, batch)
    assert found == searched(listed, remembered, 1_000)
    whole = searched(listed, len(listed), batch)
    texts = {(fresh, name): Text(name, name, one) for fresh, name, one in listed}
    order = sorted(texts)
    first = {}
    for at, name in enumerate(order):
        if name[0]:
            first[name[1]] = next((n for n in order[:at] if alike(texts[n], texts[name], SMALL)), None)
    assert {row["id"]: (row["other_fresh"], row["other"]) for row in whole} == {
        name: other for name, other in first.items() if other is not None
    }
    for row in found:
        me, other = (True, str(row["id"])), (bool(row["other_fresh"]), str(row["other"]))
        assert other < me and alike(texts[other], texts[me], SMALL)
    assert {row["id"] for row in found} <= {row["id"] for row in whole}


def test_a_threshold_means_what_is_written() -> None:
    """0.56 of 100 positions are 56, although 0.56 * 100 is a little more."""
    minhash = MinhashSettings(permutations=100, bands=10, threshold=0.56)
    rows = [
        {"band": 1, "fresh": True, "id": "a", "signature": [1] * 100},
        {"band": 1, "fresh": True, "id": "b", "signature": [1] * 56 + [2] * 44},
        {"band": 1, "fresh": True, "id": "c", "signature": [1] * 55 + [3] * 45},
    ]
    fields = [("band", pa.int64()), ("fresh", pa.bool_()), ("id", pa.string()), ("signature", pa.list_(pa.int64()))]
    batches = pa.Table.from_pylist(rows, pa.schema(fields)).to_batches()
    found = [row for batch in first_alike(minhash)(iter(batches)) for row in batch.to_pylist()]
    assert found == [{"id": "b", "other": "a", "other_fresh": True}]
