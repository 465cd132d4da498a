"""What a server got in its busiest window, by its own log."""

from __future__ import annotations

from typing import Any


def most_in_any_window(log: list[dict[str, Any]], seconds: float) -> tuple[int, int]:
    """The most requests, and the most tokens, that the server got within any window."""
    starts = sorted((entry["start"], entry["usage"]["total_tokens"]) for entry in log)
    most_requests = most_tokens = tokens = first = 0
    for last, (at, came) in enumerate(starts):
        tokens += came
        while starts[first][0] <= at - seconds:
            tokens -= starts[first][1]
            first += 1
        most_requests, most_tokens = max(most_requests, last - first + 1), max(most_tokens, tokens)
    return most_requests, most_tokens
