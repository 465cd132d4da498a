"""The measurements computed the plain way: eager float32, every matrix written out, one sequence at a time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from tests.udfs.models.influence.families import SPECIAL

HEADINGS = ("### Input:", "\n\n ### Instruction: ", "\n\n ### Response: ")
FRAMES = {
    "gateau": HEADINGS,
    "plain": ("", "\n\n", "\n\n"),
    "chat": ("<|im_start|>user\n", "\n\n", "<|im_end|>\n<|im_start|>assistant\n"),  # of `families.CHAT`
}


class Oracle:
    """Two folders of models over the byte tokenizer of `families`."""

    def __init__(self, short: Path, long: Path, bos: bool, rope_factor: float = 1.0, template: str = "gateau") -> None:
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(short)
        if rope_factor != 1.0:
            config.rope_parameters["rope_theta"] *= rope_factor
        eager: dict[str, Any] = {"attn_implementation": "eager", "dtype": torch.float32}
        self.short = AutoModelForCausalLM.from_pretrained(short, config=config, **eager).eval()
        self.long = AutoModelForCausalLM.from_pretrained(long, **eager).eval()
        self.byte = {byte: self._ids_of(long, byte) for byte in range(128)}
        bos_ids = [256] if bos and template != "chat" else []  # the chat template writes none
        head, self.between, self.tail = (self.framed(text) for text in FRAMES[template])
        self.head = bos_ids + head

    @staticmethod
    def _ids_of(folder: Path, byte: int) -> int:
        from tokenizers import pre_tokenizers

        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        piece = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(chr(byte))[0][0]
        return alphabet.index(piece)

    def ids(self, text: str) -> list[int]:
        return [self.byte[byte] for byte in text.encode("ascii")]

    def framed(self, text: str) -> list[int]:
        """Ids of a template's own text, where special tokens are what they say."""
        parts = re.split(f"({'|'.join(map(re.escape, SPECIAL))})", text)
        return [one for part in parts for one in ([256 + SPECIAL.index(part)] if part in SPECIAL else self.ids(part))]

    @torch.no_grad()
    def forward(self, model: Any, ids: list[int], n_response: int) -> tuple[float, torch.Tensor]:
        """Log-perplexity of the end of `ids`, and attention [layers, n] of those rows, averaged over rows and heads."""
        out = model(input_ids=torch.tensor([ids]), output_attentions=True)
        logs = out.logits[0].double().log_softmax(-1)
        first = len(ids) - n_response
        values = [-float(logs[at - 1, ids[at]]) for at in range(first, len(ids))]
        attention = torch.stack([layer[0, :, first:].double().mean(dim=(0, 1)) for layer in out.attentions])
        return sum(values) / len(values), attention

    def in_pieces(self, model: Any, pieces: list[tuple[list[int], int]]) -> float:
        """Log-perplexity of a response whose parts end these sequences."""
        total = sum(self.forward(model, ids, count)[0] * count for ids, count in pieces)
        return total / sum(count for _, count in pieces)

    def measure(
        self, context: str, instruction: str, response: str, segment: int, window: int, short_window: int | None
    ) -> dict[str, Any]:
        head = self.head
        question = self.between + self.ids(instruction) + self.tail
        answer = self.ids(response)
        everything = self.ids(context)
        around = len(head) + len(question) + len(answer)
        kept = everything[max(0, len(everything) - (window - around)) :]
        cut, pieces = kept, [(head + kept + question + answer, len(answer))]
        if short_window is not None and around + len(everything) > short_window:
            room = short_window - len(head) - len(question)
            pieces = []
            for start in range(0, len(answer), room // 2):
                part = answer[start : start + room // 2]
                read = list(zip("c" * len(everything) + "r" * start, everything + answer[:start], strict=True))
                near = read[max(0, len(read) - (room - len(part))) :]
                context, before = ([token for kind, token in near if kind == one] for one in "cr")
                pieces.append((head + context + question + before + part, len(part)))
                cut = cut if start else context
        long, attention = self.forward(self.long, head + kept + question + answer, len(answer))
        layers, values, sizes = [], [], []
        for start in range(0, len(kept), segment):
            part = kept[start : start + segment]
            sizes.append(len(part))
            values.append(self.forward(self.long, head + part + question + answer, len(answer))[0])
            layers.append(attention[:, len(head) + start : len(head) + start + len(part)].sum(dim=1))
        by_layer = torch.stack(layers, dim=1)
        bare = self.between + self.tail
        return {
            "context_tokens": len(kept),
            "dropped_tokens": len(everything) - len(kept),
            "short_context_tokens": len(cut),
            "instruction_tokens": len(instruction),
            "response_tokens": len(answer),
            "short_log_ppl": self.in_pieces(self.short, pieces),
            "long_log_ppl": long,
            "windowed_log_ppl": self.in_pieces(self.long, pieces),
            "unasked_log_ppl": self.forward(self.long, head + bare + answer, len(answer))[0],
            "segment_tokens": sizes,
            "segment_log_ppl": values,
            "segment_attention": by_layer.mean(dim=0).tolist(),
            "layer_attention": by_layer.tolist(),
        }
