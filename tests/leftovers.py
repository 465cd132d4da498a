"""What a run that died leaves in a root, and where a text is still to be found in it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from udfs.llm.spool import SpoolWriter


def holding(root: Path, text: str) -> list[str]:
    """Files under `root` that hold `text`, by their paths in it.

    Parquet files are read, whichever version they belong to, checkpoints of Delta logs among them; others byte by byte.
    """
    wanted = text.encode()
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [str(path.relative_to(root)) for path in files if wanted in _content(path)]


def leave_call(root: str, stage: str, text: str) -> None:
    """Leave an answered call in the spool of a root, as a run does that dies before it is folded."""
    with SpoolWriter(f"{root}/_spool", stage, "died") as spool:
        spool.append(
            {
                "id": None, "key": "k", "parent_key": None, "stage": stage, "task": "instruction", "run_id": "died",
                "teacher": "offline", "model": "offline", "status": "ok", "error_kind": None, "error": None,
                "text": text, "finish_reason": "stop", "tokens_in": 1, "tokens_out": 1, "tokens_cached": 0,
                "seconds": 0.0, "prompt_sha": "p", "parameters": "{}",
            }
        ).result()  # fmt: skip


def _content(path: Path) -> bytes:
    if path.suffix != ".parquet":
        return path.read_bytes()
    table, sink = pq.ParquetFile(path).read(), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:  # uncompressed, so that texts lie in it as they are
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
