"""How the scorers of a training set agree: rank correlations and shared tops, of the samples that have a score."""

from __future__ import annotations

from jobs.runtime.analysis import Analyst
from jobs.runtime.runner import Runner

USUAL_TOP = 0.1  # share that is compared where everything is taken


def compare_scorers(runner: Runner) -> None:
    """Put the agreement of every pair of scorers into the summary, with a warning where a norm claims too much."""
    chosen = runner.settings.selection
    share = chosen.top_share if chosen.top_share < 1 else USUAL_TOP
    answer = Analyst(runner.tables).ask("influence_scorers", {"share": share, "seed": runner.settings.seed})
    runner.summary.scorers = [row.asDict() for row in answer.collect()]
    if chosen.norm in ("paper", "reference") and runner.settings.influence.short_context != "full":
        runner.summary.warn(
            f"selection.norm: {chosen.norm} is GATEAU's only where both models read the same context; "
            "influence.short_context is window"
        )
