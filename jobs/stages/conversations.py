"""Source conversations: every record of every registered file, normalised or quarantined."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame

from jobs.runtime.stage import Shared, stage
from sql.frames import first_sightings, sightings, source_records, spread
from udfs.readers import CONVERSATION_FIELDS, read_files


@stage(
    streams="source_files", where="kind = 'conversations'", also=("sources",), dedupe=True, counts="inputs", revision=2
)
def conversations(source_files: DataFrame) -> Shared:
    """Read files on executors; one row per content, every sighting noted in `sources`."""
    files = spread(source_files, "path")
    reader: Any = read_files("conversations")
    read = files.mapInArrow(reader, CONVERSATION_FIELDS)
    return Shared(source_records(read, "conversations"), _tables)


def _tables(records: DataFrame) -> dict[str, DataFrame]:
    return {"conversations": first_sightings(records), "sources": sightings(records, "conversations")}
