"""How far a root is, told by its tables alone: rows by fate, what waits, calls, and who is at work.

It reads and holds nothing, so that it can be asked while a run writes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyspark.sql import functions as F

from jobs.runtime.costs import price_share
from jobs.runtime.history import History
from jobs.runtime.lock import holder_of
from jobs.runtime.progress import spooled_calls
from jobs.runtime.runs import runs
from jobs.runtime.tables import MISSING, Tables, of_each
from jobs.runtime.tombstones import stale_tables
from udfs.llm.batch.store import BatchStore
from udfs.llm.prices import price_of
from udfs.llm.settled import TOKENS
from udfs.settings import LlmSettings


@dataclass(frozen=True)
class TableStatus:
    """Where the table of a stage stands."""

    stage: str
    version: int
    kept: int
    rejected: int
    waits: int
    ran: str  # how its last execution ended; empty before the first one

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True)
class Status:
    """A root at one moment."""

    state: str
    at_work: str | None  # the run that holds the root
    stages: tuple[TableStatus, ...]
    calls: dict[str, Any]
    unfolded: int  # finished calls that are not in the ledger table yet, where the spool is on this machine
    batches: int  # whose results are to come
    stale: tuple[str, ...] = ()  # of each fitted table that rests on something forgotten, a sentence

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "stages": [one.as_dict() for one in self.stages]}


def status(tables: Tables, stages: Sequence[str]) -> Status:
    """The state of a root, its stages in the order given."""
    history = History(tables)
    fates = _fates(tables, stages)
    waits = history.waiting()
    lines = []
    for name in stages:
        last = history.last(name)
        kept, rejected = fates.get(name, (0, 0))
        ran = last.state if last is not None else ""
        lines.append(TableStatus(name, tables.version(name), kept, rejected, waits.get(name, 0), ran))
    holder = holder_of(tables.state)
    at_work = None if holder is None else f"{holder.says()}, last beat {max(0, time.time() - holder.beat):.0f} s ago"
    unfolded = sum(map(spooled_calls(f"{tables.state}/_spool"), stages))
    batches = sum(not intent.closed for intent in BatchStore(f"{tables.state}/_batches").intents())
    stale = tuple(stale_tables(tables, history))
    return Status(tables.state, at_work, tuple(lines), _calls(tables), unfolded, batches, stale)


def _calls(tables: Tables) -> dict[str, Any]:
    """What the calls in the ledger came to; `usd` at the newest run's prices, None where one is not known."""
    sums = dict.fromkeys(("calls", "failed", *TOKENS), 0)
    if not tables.exists("llm_calls"):
        return {**sums, "usd": 0.0}
    told = runs(tables)
    llm = LlmSettings.model_validate(told[-1].settings["llm"]) if told else None
    usd: float | None = 0.0
    counts = [F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in TOKENS]
    billed = [F.coalesce(F.sum(F.col(name) * price_share("teacher")), F.lit(0.0)) for name in TOKENS]
    failed = F.count_if(F.col("status") != "ok").alias("failed")
    by_stage = tables.read("llm_calls").groupBy("stage")
    for row in by_stage.agg(F.count("*").alias("calls"), failed, *counts, F.array(*billed).alias("billed")).collect():
        sums = {name: count + row[name] for name, count in sums.items()}
        price = None if llm is None else price_of(llm.of(row["stage"]))
        usd = None if usd is None or price is None else usd + price.cost(*row["billed"])
    return {**sums, "usd": usd}


def _fates(tables: Tables, stages: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Rows kept and rejected of every table that is there."""
    kept = F.col("reject_reason").isNull()

    def fate(name: str) -> tuple[int, int]:
        row = tables.read(name).agg(F.count_if(kept), F.count_if(~kept)).collect()[0]
        return row[0], row[1]

    return of_each(filter(tables.exists, stages), fate)


def lines(found: Status) -> Iterator[str]:
    """The status as a table, and where to look next."""
    yield f"{found.state}: " + (f"held by {found.at_work}" if found.at_work else "nobody is at work")
    yield f"{'stage':<20}{'version':>9}{'kept':>12}{'rejected':>10}{'waits':>8}  last execution"
    for one in found.stages:
        if one.version == MISSING:
            yield f"{one.stage:<20}{'–':>9}"
        else:
            yield f"{one.stage:<20}{one.version:>9}{one.kept:>12,}{one.rejected:>10,}{one.waits:>8,}  {one.ran}"
    told = found.calls
    yield (
        f"calls: {told['calls']:,} answered ({told['failed']:,} failed), {told['tokens_in']:,} tokens in, "
        f"{told['tokens_out']:,} out"
        + (f", {told['usd']:,.2f} USD" if told["usd"] else "" if told["usd"] == 0 else ", at a price that is not known")
        + (f"; {found.unfolded:,} newer ones in the spool" if found.unfolded else "")
        + (f"; {found.batches} batches outstanding" if found.batches else "")
    )
    yield from (f"warning: {sentence}" for sentence in found.stale)
    yield _next(found)


def _next(found: Status) -> str:
    if found.at_work:
        return "next: the run goes on; ask again"
    last = found.stages[-1]
    return what_next(sum(one.waits for one in found.stages), last.stage, last.version)


def what_next(waiting: int, last: str, version: int) -> str:
    """What to do with a root that nobody works on; `version` is that of the table of the `last` stage."""
    if waiting:
        return f"next: {waiting:,} rows wait; run the same job again"
    if version == MISSING:
        return f"next: there is no {last} yet; run the job to its end"
    return "next: jobs/report.py shows what came out, jobs/ask.py answers questions, jobs/export.py writes rows"
