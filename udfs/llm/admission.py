"""Leave to send: whoever calls a teacher asks before each try and tells what came of it.

Here is the contract, and the admission that lets everybody in; the one with limits is kept by a coordinator.
"""

from __future__ import annotations

from typing import Protocol

from udfs.llm.teacher import Reply, Request


class NotAdmitted(Exception):
    """Nothing may be sent; `reply` says why, and was never recorded as a call."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.error)
        self.reply = reply


class Admission(Protocol):
    """Who may send, and when."""

    async def enter(self, request: Request) -> int:
        """Wait until the request may be sent; a permit, good for one try. Raises NotAdmitted."""
        ...

    def leave(self, permit: int, reply: Reply) -> None:
        """Give the permit back with what came of the try."""
        ...

    def close(self) -> None:
        """Give back whatever is still out."""
        ...


class Unlimited:
    """Lets every request in at once."""

    async def enter(self, request: Request) -> int:
        """See Admission."""
        return 0

    def leave(self, permit: int, reply: Reply) -> None:
        """See Admission."""

    def close(self) -> None:
        """See Admission."""
