"""What is known of batches, on the root's own storage: written before it is needed, so that a kill forgets nothing.

A folder holds three files per batch: `NAME.input.jsonl` (the requests, until the provider has them), `NAME.calls.jsonl`
(what each line is a call of) and `NAME.json` (the intent). It makes no call.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from pydantic import BaseModel, ConfigDict

from udfs.llm.spool import SpoolUnavailable, open_storage
from udfs.settings import LlmSettings

INPUT, CALLS, INTENT = ".input.jsonl", ".calls.jsonl", ".json"


class Endpoint(BaseModel):
    """Where a batch lies, and the name of the variable that holds the key to it."""

    model_config = ConfigDict(frozen=True)

    base_url: str
    query: dict[str, str]
    api_key_env: str
    key_header: str
    timeout_s: float

    @classmethod
    def of(cls, llm: LlmSettings) -> Endpoint:
        """The endpoint of these settings."""
        return cls(
            base_url=llm.base_url,
            query=llm.query,
            api_key_env=llm.api_key_env,
            key_header=llm.key_header,
            timeout_s=llm.timeout_s,
        )


class BatchFile(BaseModel):
    """A file of requests that was written: lines, bytes, sha256, and the USD expected (0 without a price)."""

    model_config = ConfigDict(frozen=True)

    name: str
    requests: int
    size: int
    sha256: str
    expected_usd: float


class Intent(BaseModel):
    """A batch that is to be made, or was: ids are set once the provider told them.

    `closed` says that its results are in the ledger. `made` is the Unix time of the intent.
    """

    model_config = ConfigDict(frozen=True)

    file: BatchFile
    stage: str
    run_id: str
    endpoint: Endpoint
    max_error_share: float
    made: float
    file_id: str | None = None
    batch_id: str | None = None
    closed: bool = False

    @property
    def name(self) -> str:
        """The intent's own id, which the provider keeps beside the batch."""
        return self.file.name


class BatchStore:
    """The batches of one root, below `folder` (any fsspec URL). Raises SpoolUnavailable when it cannot be used."""

    def __init__(self, folder: str) -> None:
        self.folder = folder.rstrip("/")
        self._files, self._path, self._local = open_storage(self.folder)

    def intents(self, stage: str | None = None) -> list[Intent]:
        """All intents, or those of a stage, by name."""
        found = [self._read(name) for name in self._names() if name.endswith(INTENT)]
        return [intent for intent in found if stage is None or intent.stage == stage]

    def save(self, intent: Intent) -> Intent:
        """Make an intent durable, in place of what was known before; returns it."""
        content = orjson.dumps(intent.model_dump(mode="json"))
        path = f"{self._path}/{intent.name}{INTENT}"
        try:
            self._files.makedirs(self._path, exist_ok=True)
            if self._local:
                _replace(Path(path), content)
            else:
                self._files.pipe_file(path, content)
        except OSError as error:
            raise SpoolUnavailable(f"{self.folder}: cannot be written, so no batch is sent: {error}") from error
        return intent

    def drop(self, name: str) -> None:
        """Forget a batch; the intent goes last, so that a repetition finds it."""
        for ending in (INPUT, CALLS, INTENT):
            self.drop_file(name, ending)

    def drop_file(self, name: str, ending: str) -> None:
        """Remove one file of a batch, if it is there."""
        path = f"{self._path}/{name}{ending}"
        if self._files.exists(path):
            self._files.rm_file(path)

    def drop_strays(self) -> None:
        """Remove files that no intent names: a task wrote them and died, or was repeated."""
        known = {intent.name for intent in self.intents()}
        for name in self._names():
            for ending in (INPUT, CALLS):
                if name.endswith(ending) and name.removesuffix(ending) not in known:
                    self.drop_file(name.removesuffix(ending), ending)

    def has_input(self, name: str) -> bool:
        """Whether the requests of a batch still lie here."""
        return bool(self._files.exists(f"{self._path}/{name}{INPUT}"))

    @contextmanager
    def open_input(self, name: str) -> Iterator[BinaryIO]:
        """The requests of a batch, to be read."""
        with self._files.open(f"{self._path}/{name}{INPUT}", "rb") as file:
            yield file

    def calls(self, name: str) -> Iterator[dict[str, Any]]:
        """What each line of a batch is a call of: key, parent_key, task, prompt_sha, parameters (canonical JSON)."""
        with self._files.open(f"{self._path}/{name}{CALLS}", "rb") as file:
            for line in file:
                yield orjson.loads(line)

    def write(self, name: str, ending: str) -> DurableFile:
        """A new file of a batch."""
        self._files.makedirs(self._path, exist_ok=True)
        return DurableFile(self._files.open(f"{self._path}/{name}{ending}", "wb"), self._local)

    def _names(self) -> list[str]:
        self._files.invalidate_cache()
        if not self._files.exists(self._path):
            return []
        return sorted(Path(path).name for path in self._files.ls(self._path, detail=False))

    def _read(self, name: str) -> Intent:
        content = self._files.cat_file(f"{self._path}/{name}")
        try:
            return Intent.model_validate_json(content)
        except ValueError as error:
            raise SpoolUnavailable(
                f"{self.folder}/{name}: cannot be read ({error}); restore it, or remove it to give its batch up"
            ) from error


class DurableFile:
    """A file whose lines are on the disk once it is closed."""

    def __init__(self, file: Any, local: bool) -> None:
        self._file, self._local = file, local

    def write(self, line: bytes) -> None:
        """Append bytes."""
        self._file.write(line)

    def close(self) -> None:
        """Write what is buffered, sync it, end."""
        if self._local:
            self._file.flush()
            os.fsync(self._file.fileno())
        self._file.close()


def _replace(path: Path, content: bytes) -> None:
    """Write a file as a whole or not at all."""
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
