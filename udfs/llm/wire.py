"""What the coordinator of a run's calls and its clients agree on."""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

BEAT_S = 15.0  # between two signs of life
SILENCE_S = 60.0  # without one the other side is taken for dead
LONGEST_LINE = 1 << 22


@dataclass(frozen=True)
class Address:
    """Where the coordinator listens, and what its clients must know."""

    host: str
    port: int
    secret: bytes = field(repr=False)


def proof(secret: bytes, nonce: str) -> str:
    """What only somebody who knows the secret can answer to a nonce."""
    return hmac.new(secret, nonce.encode(), "sha256").hexdigest()
