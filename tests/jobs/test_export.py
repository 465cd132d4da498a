"""An export onto a disk that is full or read-only, or to no folder at all: a sentence and the documented status."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from jobs import export
from jobs.runtime.exporting import export_fault, require_empty, require_one_place, write, write_format
from tests.sql.small_root import ROWS, SmallTables, small_session

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """The job without Spark."""
    build = MagicMock()
    monkeypatch.setattr("jobs.runtime.session.build_session", build)
    for step in ("require_layout", "suit_plans", "write_card"):
        monkeypatch.setattr(export, step, MagicMock())
    return build


@pytest.mark.parametrize("step", ["write", "write_card"])
@pytest.mark.parametrize(
    "fault",
    [
        FULL,
        PySparkException("Job aborted due to stage failure\njava.io.IOException: No space left on device\n\tat java"),
        type("ClientError", (Exception,), {})("An error occurred (AccessDenied) when calling the PutObject operation"),
    ],
)
def test_a_full_or_refusing_storage_is_a_sentence(
    session: MagicMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    step: str, fault: Exception,
) -> None:  # fmt: skip
    """Python's, Spark's and a store's own, whichever step meets it."""
    out = tmp_path / "sft"
    monkeypatch.setattr(export, "write", MagicMock(return_value={}))
    monkeypatch.setattr(export, step, MagicMock(side_effect=fault))
    assert export.main(["--root", str(tmp_path / "root"), "--out", str(out), "--card"]) == 6
    told = capsys.readouterr().err
    assert told.startswith(f"longloom: the storage of {out}, or the machine's own scratch space, ")
    assert f"What lies in {out} is not whole" in told and "the run continues" not in told
    session.return_value.stop.assert_called_once()


def test_an_error_that_nobody_foresaw_is_raised(
    session: MagicMock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(export, "write", MagicMock(side_effect=KeyError("messages")))
    with pytest.raises(KeyError):
        export.main(["--root", str(tmp_path / "root"), "--out", str(tmp_path / "sft")])


def test_a_place_that_is_wrong_or_must_not_be_written_is_known_before_spark_starts(
    session: MagicMock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    given = ["--root", str(tmp_path / "root"), "--out"]
    assert export.main([*given, str(tmp_path / "file" / "sft")]) == 2
    assert f"{tmp_path}/file is a file, not a folder" in capsys.readouterr().err
    assert export.main([*given, str(tmp_path / ("long" * 100))]) == 2
    assert "cannot be written (File name too long)" in capsys.readouterr().err
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert export.main([*given, str(tmp_path / "sft")]) == 2
    assert f"{tmp_path} cannot be written to" in capsys.readouterr().err
    session.assert_not_called()


def test_a_folder_that_must_not_be_looked_into_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.ls", MagicMock(side_effect=denied))
    with pytest.raises(export.SettingsFault, match=r"--out .*: cannot be written \(Permission denied\)"):
        require_empty(str(tmp_path))


@pytest.mark.parametrize("here", [None, '{"id": "a"}\n'])
def test_rows_that_executors_wrote_to_their_own_disks_are_missed(tmp_path: Path, here: str | None) -> None:
    """Nothing came here, or only what an executor on this machine wrote."""
    rows, out = MagicMock(), tmp_path / "sft" / "jsonl"

    def save(folder: str) -> None:
        if here is not None:
            Path(folder).mkdir(parents=True)
            Path(folder, "part-00000.json").write_text(here, encoding="utf-8")

    rows.write.format.return_value.option.return_value.save = save
    told = rf"--out {out}: {0 if here is None else 1} of 2 rows came here, for executors wrote to disks of their own"
    with pytest.raises(export.SettingsFault, match=told):
        write_format(rows, str(out), "jsonl", "train", 2)


@pytest.mark.spark
def test_a_folder_of_no_file_system_is_refused_where_spark_has_another_default(spark: SparkSession) -> None:
    conf = spark.sparkContext._jsc.hadoopConfiguration()
    before = conf.get("fs.defaultFS")
    require_one_place(spark, "/data/sft")
    try:
        conf.set("fs.defaultFS", "hdfs://name:8020")
        require_one_place(spark, "s3a://bucket/sft")
        with pytest.raises(export.SettingsFault, match="give hdfs://name:8020/data/sft"):
            require_one_place(spark, "/data/sft")
    finally:
        conf.set("fs.defaultFS", before)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that holds a few files of a page each."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "longloom-tests", str(place)]
    if not (sys.platform == "linux" and subprocess.run(mount, capture_output=True, check=False).returncode == 0):
        pytest.skip("a small file system can only be mounted by root on Linux")
    yield place
    # Spark's process, which lives on, may still hold the file that it could not write.
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


@pytest.mark.spark
@pytest.mark.faults
def test_a_disk_that_fills_up_under_spark_is_told(spark: SparkSession, disk: Path) -> None:
    turns = [{"role": "user", "content": "a long question " * 5_000}]
    samples = [{**row, "messages": turns} for row in ROWS["samples"]]
    out = str(disk / "sft")
    with pytest.raises(Exception, match=r".") as raised:
        write(SmallTables(small_session(spark), ROWS | {"samples": samples}), out, ["jsonl"])
    fault = export_fault(raised.value, out)
    assert fault is not None and fault.exit_status == 6 and "is full" in str(fault)
