"""Makes the typed errors of the models: what is wrong, where, and what to do about it.

It refuses to know which stage was running or how an error is shown to a person.
"""

from __future__ import annotations


class ModelUnavailable(RuntimeError):
    """A model cannot be found, read or run here as the settings ask.

    `name` is the model as the settings spell it, `where` the folder, hub or device that was looked at,
    `why` what was found there, `remedy` what the reader can do.
    """

    def __init__(self, name: str, where: str, why: str, remedy: str) -> None:
        super().__init__(name, where, why, remedy)
        self.name, self.where, self.why, self.remedy = name, where, why, remedy

    def __str__(self) -> str:
        return f"model {self.name!r} is not available from {self.where}: {self.why}. {self.remedy}"


class TooFewRows(ValueError):
    """A fit has less to learn from than it needs: `found` of `what` where `wanted` are the least; how to mend it."""

    def __init__(self, found: int, wanted: int, what: str, remedy: str) -> None:
        super().__init__(found, wanted, what, remedy)
        self.found, self.wanted, self.what, self.remedy = found, wanted, what, remedy

    def __str__(self) -> str:
        return f"the fit found {self.found} {self.what} and needs at least {self.wanted}: {self.remedy}"


class UntrustedModel(ValueError):
    """Stored model bytes hold something a forest of ours never holds; they were not loaded."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"the stored classifier was refused: {self.why}. Fit the classifier again (--refit classifier)"
