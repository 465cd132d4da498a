"""Registers the classifier of a root in MLflow and says how good it is."""

from __future__ import annotations

from jobs.runtime.lineage import Lineage
from jobs.runtime.runner import Runner

NAME = "longloom-document-types"
FIGURES = ("version", "accuracy", "interval_low", "interval_high", "n_held_out")


def register_classifier(runner: Runner, lineage: Lineage) -> None:
    """Register the classifier if it is not, for a run that died may not have come so far; say how good it is."""
    for row in runner.tables.read("classifier").collect():
        figures = {key: row[key] for key in FIGURES}
        registered = lineage.register_classifier(bytes(row["model"]), figures, NAME, runner.summary)
        runner.say(
            f"classifier: held-out accuracy {row['accuracy']:.3f} (n = {row['n_held_out']}, 95 % interval "
            f"{row['interval_low']:.3f}–{row['interval_high']:.3f}), model version {registered or '(none yet)'}"
        )
        if runner.settings.llm.teacher == "offline":
            runner.say(
                "  note: the offline teacher's labels and the features both come from surface text, so this "
                "accuracy is not evidence of quality"
            )
