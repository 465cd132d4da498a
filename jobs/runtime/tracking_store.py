"""MLflow's own database beside the tables: it is there whole, or not at all.

MLflow makes it in some fifty steps and goes on from none of them: cut short by a kill or a full disk, it would refuse
every later run of the root.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

FILE = "mlflow.db"
MAKING = "making-"  # a folder beside it, gone once the database is in its place; MLflow remembers paths, so a new one


def local_store(state: str) -> Path:
    """Where the database of a root is; one that is no folder of this machine has it in the working directory."""
    if "://" in state:
        return Path(FILE)
    folder = Path(state, "_mlflow").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / FILE


def make_whole(place: Path) -> None:
    """Make the database aside and put it in its place, unless a run is recorded there or it is as whole as a new one.

    Raises what MLflow raises; what is in the place stays then.
    """
    if _first(place, "SELECT 1 FROM runs LIMIT 1"):
        return
    from mlflow import MlflowClient

    beside = place.absolute().parent
    for left in beside.glob(f"{MAKING}*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=MAKING, dir=beside))
    try:
        made = folder / FILE
        MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments(max_results=1)
        schema = "SELECT version_num FROM alembic_version"
        if _first(place, schema) != _first(made, schema):
            made.replace(place)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _first(place: Path, query: str) -> object:
    """The first value that a database answers with; None where there is no such file, table or row."""
    if not place.exists():
        return None
    try:
        with closing(sqlite3.connect(place)) as opened:
            row = opened.execute(query).fetchone()
    except sqlite3.OperationalError:  # no such table
        return None
    return None if row is None else row[0]
