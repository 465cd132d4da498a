"""What does not fit the model's context is told before it is sent, by the configured tokenizer's own count."""

from __future__ import annotations

import pytest

from udfs.llm.context import TOKENS_PER_MESSAGE, too_long
from udfs.llm.teacher import Message
from udfs.settings import LlmSettings, TokenizerSettings
from udfs.tokens import count_tokens

REPLY = 700
TEXTS = {
    "prose": "The harbour was measured again in spring, and nobody knew why it had grown. " * 200,
    "symbols": "∮ ∇×E = −∂B/∂t; 日本語のテキスト 🜁🜂 " * 300,  # more tokens than characters
    "one word": "x" * 20_000,
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_last_token_that_fits(name: str) -> None:
    tokenizer = TokenizerSettings()
    texts = ["You write instructions.", TEXTS[name]]
    messages: list[Message] = [{"role": "system", "content": texts[0]}, {"role": "user", "content": texts[1]}]
    tokens = sum(count_tokens(texts, tokenizer))
    needed = tokens + REPLY + TOKENS_PER_MESSAGE * len(messages)
    assert too_long(messages, REPLY, LlmSettings(context_tokens=needed), tokenizer) is None
    said = too_long(messages, REPLY, LlmSettings(context_tokens=needed - 1), tokenizer)
    assert said is not None and f"about {tokens} tokens" in said and f"the context holds {needed - 1}" in said


def test_without_a_tokenizer_only_what_cannot_fit_is_held_back() -> None:
    messages: list[Message] = [{"role": "user", "content": "a" * 8_000}]  # a thousand tokens at the very least
    room = 1_000 + REPLY + TOKENS_PER_MESSAGE
    assert too_long(messages, REPLY, LlmSettings(context_tokens=room)) is None
    assert too_long(messages, REPLY, LlmSettings(context_tokens=room - 1)) is not None
