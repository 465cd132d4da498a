"""Which teacher the settings name, made once per process and closed when it ends.

It is the one place that knows all teachers; each is imported only when it is asked for.
"""

from __future__ import annotations

import asyncio
import atexit
import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from udfs.llm.loop import background_loop
from udfs.llm.teacher import Teacher
from udfs.settings import LlmSettings

if TYPE_CHECKING:
    from udfs.llm.openai_teacher import OpenAITeacher

BATCH = "openai_batch"

_lock = Lock()
_teachers: dict[tuple[int, str], Teacher] = {}  # by process: Spark forks, and a client must not cross a fork


def who_answers(teacher: str) -> str:
    """The teacher as rows name it: the same model answers, whether it is asked by batch files or call by call."""
    return "openai" if teacher == BATCH else teacher


def teacher_of(settings: LlmSettings) -> Teacher:
    """The teacher that the settings name; one per process and settings, so connections are reused."""
    key = (os.getpid(), settings.model_dump_json())
    with _lock:
        if key not in _teachers:
            _teachers[key] = _make(settings)
        return _teachers[key]


def _make(settings: LlmSettings) -> Teacher:
    if settings.teacher == "offline":
        from udfs.llm.offline.teacher import OfflineTeacher

        return OfflineTeacher()
    from udfs.llm.openai_teacher import OpenAITeacher

    teacher = OpenAITeacher(settings)
    atexit.register(_close, teacher)
    return teacher


def _close(teacher: OpenAITeacher) -> None:
    """Close connections while the loop still runs; a process that ends anyway does not wait long for it."""
    with suppress(Exception):
        asyncio.run_coroutine_threadsafe(teacher.aclose(), background_loop()).result(timeout=2)
