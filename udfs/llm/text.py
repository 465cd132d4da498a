"""Two small acts on text that goes to a model: making it encodable, and fencing it off as data.

It knows nothing of prompts or tasks; whoever uses a fence decides what to say about it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def encodable(text: str) -> str:
    """The text with lone surrogates replaced: they come in through JSON escapes and no UTF-8 holds them."""
    return text.encode("utf-8", "replace").decode("utf-8")


def canonical_json(value: Any) -> str:
    """The one JSON text of a value: keys sorted, no spaces, ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def fence_code(data: str) -> str:
    """Twelve hex digits that occur nowhere in `data`, derived from it alone.

    The code depends on this one text, so a document has the same fence in every prompt about it and the
    provider's prefix cache can hold it.
    """
    raw = data.encode("utf-8", "surrogatepass")
    attempt = 0
    while True:
        code = hashlib.sha256(b"fence:%d:" % attempt + raw).hexdigest()[:12]
        if code not in data:
            return code
        attempt += 1


def fence(label: str, data: str) -> str:
    """`data`, verbatim, between an opening and a closing line that it cannot imitate."""
    clean = encodable(data)
    code = fence_code(clean)
    return f"<<<{label} {code}>>>\n{clean}\n<<<end {code}>>>"
