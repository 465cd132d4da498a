"""One event loop per process, running in a thread of its own for as long as the process lives.

Clients and connections are bound to a loop, so a loop per batch would open every connection anew. What runs
on it is not known here.
"""

from __future__ import annotations

import asyncio
import os
from threading import Lock, Thread

_lock = Lock()
_loops: dict[int, asyncio.AbstractEventLoop] = {}  # by process id: Spark forks its Python workers


def background_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, started on the first call."""
    with _lock:
        loop = _loops.get(os.getpid())
        if loop is None or loop.is_closed():
            loop = asyncio.new_event_loop()
            Thread(target=loop.run_forever, name="longloom-calls", daemon=True).start()
            _loops.clear()  # a parent's loop is dead in the child
            _loops[os.getpid()] = loop
        return loop
