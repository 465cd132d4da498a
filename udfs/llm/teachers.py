"""Which teacher the settings name, made once per process.

It is the one place that knows all teachers; each is imported only when it is asked for.
"""

from __future__ import annotations

import os
from threading import Lock

from udfs.llm.teacher import Teacher
from udfs.settings import LlmSettings

_lock = Lock()
_teachers: dict[tuple[int, str], Teacher] = {}  # by process: Spark forks, and a client must not cross a fork


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

    return OpenAITeacher(settings)
