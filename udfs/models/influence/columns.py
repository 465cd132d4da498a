"""Makes rows of measurements out of rows of samples, on executors: one pair of models per Python worker.

It refuses to know where samples come from and how rows were spread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict

import pandas as pd

from udfs.models.influence.recipe import Sample
from udfs.settings import InfluenceSettings

MEASURED_DDL = (
    "sample string, reject_reason string, context_tokens bigint, dropped_tokens bigint, short_context_tokens bigint, "
    "instruction_tokens bigint, response_tokens bigint, short_log_ppl double, long_log_ppl double, "
    "windowed_log_ppl double, unasked_log_ppl double, segment_tokens array<bigint>, segment_log_ppl array<double>, "
    "segment_attention array<double>, layer_attention array<array<double>>, number_type string"
)
COLUMNS = [part.split()[0] for part in MEASURED_DDL.split(", ")]


def measured(settings: InfluenceSettings) -> Callable[[Iterator[pd.DataFrame]], Iterator[pd.DataFrame]]:
    """For mapInPandas: (sample, context, instruction, response) rows in, MEASURED_DDL rows out, one for each.

    What cannot be measured is a row with a reason (`Scorer.measure`). number_type is what the pair was loaded in:
    `auto` is settled on the worker's own device. Raises ModelUnavailable.
    """

    def run(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        yield from measure_frames(frames, settings)

    return run


def measure_frames(frames: Iterator[pd.DataFrame], settings: InfluenceSettings) -> Iterator[pd.DataFrame]:
    """What `measured` runs: here and not inside it, so that workers import this module and keep the pair."""
    from udfs.models.influence.pair import load_scorer  # here, so that planning does not import torch

    for frame in frames:
        rows = []
        for sample, context, instruction, response in frame.itertuples(index=False, name=None):
            scorer = load_scorer(settings)
            found = asdict(scorer.measure(Sample(context, instruction, response)))
            number_type = str(scorer.long.model.dtype).removeprefix("torch.")
            rows.append({**found, "sample": sample, "reject_reason": found["reason"], "number_type": number_type})
        yield pd.DataFrame(rows, columns=COLUMNS)
