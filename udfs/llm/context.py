"""Does a request fit the model's context? Told before anything is sent.

It counts with the tokenizer it is given, and without one by a bound on characters per token.
"""

from __future__ import annotations

from collections.abc import Sequence

from udfs.llm.teacher import Message
from udfs.settings import LlmSettings, TokenizerSettings

TOKENS_PER_MESSAGE = 4  # chat templates wrap each message in a few tokens
# Without a tokenizer only what cannot possibly fit is held back: English runs at 4 to 5 characters a token.
MOST_CHARS_PER_TOKEN = 8.0


def too_long(
    messages: Sequence[Message],
    reply_tokens: int,
    settings: LlmSettings,
    tokenizer: TokenizerSettings | None = None,
    chars_per_token: float = MOST_CHARS_PER_TOKEN,
) -> str | None:
    """A sentence when prompt and longest reply together exceed `context_tokens`, else None.

    A byte-level tokenizer never makes more tokens than there are bytes, so most prompts pass uncounted.
    """
    room = settings.context_tokens - reply_tokens - TOKENS_PER_MESSAGE * len(messages)
    texts = [message["content"] for message in messages]
    if sum(len(text.encode("utf-8")) for text in texts) <= room:
        return None
    tokens = _count(texts, tokenizer, chars_per_token)
    if tokens <= room:
        return None
    return (
        f"the prompt has about {tokens} tokens and the reply may take {reply_tokens}, "
        f"but the context holds {settings.context_tokens}"
    )


def _count(texts: list[str], tokenizer: TokenizerSettings | None, chars_per_token: float) -> int:
    """Tokens of all texts together."""
    if tokenizer is None:
        return int(sum(len(text) for text in texts) / chars_per_token)
    from udfs.tokens import count_tokens  # imported late: most prompts never need a tokenizer

    return sum(count_tokens(texts, tokenizer))
