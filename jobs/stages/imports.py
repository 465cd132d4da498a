"""Samples made elsewhere: every record of every registered file, in its parts or quarantined."""

from __future__ import annotations

from typing import Any

from pyspark.sql import DataFrame

from jobs.runtime.stage import Shared, stage
from sql.frames import first_sightings, sightings, source_records, spread
from udfs.readers import IMPORT_FIELDS, read_files


@stage(streams="source_files", where="kind = 'imports'", also=("sources",), dedupe=True, counts="inputs")
def imports(source_files: DataFrame) -> Shared:
    """Read files on executors; one row per content, every sighting noted in `sources`."""
    files = spread(source_files, "path")
    reader: Any = read_files("imports")
    return Shared(source_records(files.mapInArrow(reader, IMPORT_FIELDS), "imports"), _tables)


def _tables(records: DataFrame) -> dict[str, DataFrame]:
    return {"imports": first_sightings(records), "sources": sightings(records, "imports")}
