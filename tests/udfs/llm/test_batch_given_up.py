"""Batches whose results the provider has no more: a run says so, people give them up, what is left of them is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fake_server.client import FakeServer
from tests.udfs.llm.batch_support import batch_settings, take_in, work_on, write
from tests.udfs.llm.support import KEY, spooled
from udfs.llm.batch.client import BatchClient, ProviderFault
from udfs.llm.batch.store import Intent
from udfs.llm.batch.work import BatchWork, ResultsGone
from udfs.llm.calls import CallRow


def batch_of_two_files(tmp_path: Path, provider: FakeServer) -> tuple[BatchWork, Intent, dict[str, Any]]:
    """A batch that ended with an answer and a failure, in a file each; and the batch as the server has it."""
    llm, work = batch_settings(provider), work_on(tmp_path)
    (intent,) = work.intend("stage", llm, write(tmp_path, llm, ["fine", "[[fault:content_filter_400]]"]))
    assert work.look(intent).state == "completed"
    (entry,) = provider.batches()
    return work, work.store.intents()[0], entry["batch"]


@pytest.mark.parametrize(
    ("deleted", "left"),
    [(("output_file_id",), ["lasting"]), (("error_file_id",), ["ok"]), (("output_file_id", "error_file_id"), [])],
)
def test_a_batch_whose_results_are_gone_can_be_given_up(
    tmp_path: Path, provider: FakeServer, deleted: tuple[str, ...], left: list[str]
) -> None:
    work, intent, batch = batch_of_two_files(tmp_path, provider)
    client = BatchClient(intent.endpoint)
    for name in deleted:
        client.delete_file(batch[name])
    with pytest.raises(ResultsGone, match="No such object"):
        work.collect(work.look(intent))
    assert work.store.intents() == [intent], "a run ends with it and leaves it alone"
    told = work_on(tmp_path, "run-2").cancel(intent)
    assert told == f"given up, the provider does not have {' and '.join(batch[name] for name in deleted)} any more"
    rows = {row["key"]: row["status"] for row in spooled(str(tmp_path / "spool"))}
    assert sorted(rows.values()) == left, "what was there is kept"
    assert work.store.intents() == [] and list((tmp_path / "b").iterdir()) == [], "its requests are in nobody's hands"
    assert not any(client.has_file(batch[name]) for name in ("input_file_id", "output_file_id", "error_file_id"))


def test_a_batch_that_ended_with_its_results_is_not_given_up(tmp_path: Path, provider: FakeServer) -> None:
    work, intent, batch = batch_of_two_files(tmp_path, provider)
    assert work.cancel(intent) == "completed; the next run collects what ran"
    provider.change(key="another")
    with pytest.raises(ProviderFault, match="Incorrect API key"):
        work.cancel(intent)
    assert work.store.intents() == [intent], "a provider that cannot be asked has lost nothing"
    provider.change(key=KEY)
    ledger = dict[str, CallRow]()
    (collected,) = take_in(work, ledger, str(tmp_path / "spool"))
    assert (collected.answered, len(ledger)) == (1, 2) and not BatchClient(intent.endpoint).has_file(batch["id"])
