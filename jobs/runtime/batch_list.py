"""The batches of a root for people: which are outstanding, how they stand, and their end on request."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.runtime.errors import ServiceRefused
from udfs.llm.batch.client import ProviderFault
from udfs.llm.batch.work import BatchWork


def batch_lines(work: BatchWork, cancel: bool) -> Iterator[str]:
    """A line per outstanding batch; with `cancel` each is ended first. What ran is paid, and the next run collects it.

    Raises ServiceRefused when the provider cannot be asked.
    """
    intents = [intent for intent in work.store.intents() if not intent.closed]
    if not intents:
        yield "no batch is outstanding"
        return
    yield f"{'batch':<40}{'stage':<20}{'requests':>10}  state"
    for intent in intents:
        try:
            state = work.cancel(intent) if cancel else work.state(intent)
        except ProviderFault as fault:
            raise ServiceRefused(
                f"batch {intent.batch_id or intent.name} of {intent.stage}: {intent.endpoint.base_url} cannot be asked "
                f"({fault}). Batches that were named before are done with; run the same command again."
            ) from None
        yield f"{intent.batch_id or intent.name:<40}{intent.stage:<20}{intent.file.requests:>10,}  {state}"
