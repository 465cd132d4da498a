"""Where intermediate results go when the session names no place."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from graphs.checkpoints import NoCheckpointDirectory, ensure_directory


class Context:
    """As much of a SparkContext as the function under test touches."""

    def __init__(self, master: str, directory: str | None = None) -> None:
        self.master, self.directory = master, directory

    def getCheckpointDir(self) -> str | None:
        return self.directory

    def setCheckpointDir(self, directory: str) -> None:
        self.directory = directory


def session(context: Context, **confs: str) -> SimpleNamespace:
    return SimpleNamespace(sparkContext=context, conf=confs)


def test_what_is_set_stays() -> None:
    context = Context("yarn", "hdfs:/there")
    ensure_directory(session(context))
    assert context.directory == "hdfs:/there"


def test_a_named_one_is_taken() -> None:
    context = Context("yarn")
    ensure_directory(session(context, **{"spark.checkpoint.dir": "s3a://bucket/there"}))
    assert context.directory == "s3a://bucket/there"


def test_one_machine_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = Context("local[2,4]")
    ensure_directory(session(context))
    assert context.directory is not None
    assert Path(context.directory).parent == tmp_path


def test_a_cluster_must_name_one() -> None:
    with pytest.raises(NoCheckpointDirectory, match=r"Set spark\.checkpoint\.dir"):
        ensure_directory(session(Context("spark://master:7077")))
