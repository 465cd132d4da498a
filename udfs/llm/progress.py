"""How far the calls of a stage have come, as one line.

Plain counts; who counts, and when a line is printed, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass

from udfs.llm.prices import Price


@dataclass
class Progress:
    """What the calls of a stage came to so far."""

    expected: int = 0  # calls that the stage still had to make when it began
    answered: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    tokens_cached: int = 0
    usd: float = 0.0
    served: int = 0  # requests that the ledger answered instead
    saved_ledger: float = 0.0  # USD that they had cost
    saved_cache: float = 0.0  # USD that the provider's prefix cache took off

    def line(self, stage: str, price: Price | None) -> str:
        """One line: done, tokens, money spent and projected, and what was saved."""
        cached = self.tokens_cached / self.tokens_in if self.tokens_in else 0.0
        told = f"{stage:<20} {self.answered:>8,} of {max(self.expected, self.answered):,} calls  "
        told += f"{self.tokens_in:,} tokens in ({cached:.0%} cached)  {self.tokens_out:,} out"
        if self.served:
            told += f"  {self.served:,} served from the ledger"
        if price is None or not self.answered:
            return told
        whole = self.usd / self.answered * max(self.expected, self.answered)
        saved = f"{self.saved_ledger:.2f} saved by the ledger, {self.saved_cache:.2f} by the prefix cache"
        return f"{told}  {self.usd:.2f} USD spent, {whole:.2f} projected, {saved}"
