"""What must be there before the first stage of a run: stages, root, models, teacher. Nothing is written yet.

Each check raises SettingsFault with a sentence for every fault that it found; `require_all` makes several of them, so
that one run tells all there is to mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jobs.runtime.endpoints import distinct
from jobs.runtime.errors import ServiceRefused, SettingsFault
from jobs.runtime.health import OTHER_ROOT
from jobs.runtime.opening import sources_of
from jobs.runtime.settings import Settings
from jobs.runtime.sources import KINDS
from jobs.runtime.stage import Stage
from jobs.runtime.tables import Tables
from udfs.llm.probe import probe
from udfs.llm.teacher import ErrorKind
from udfs.models.errors import ModelUnavailable
from udfs.models.files import embedder_identity
from udfs.models.influence.support import require_pair
from udfs.settings import LlmSettings
from udfs.tokens import TokenizerUnavailable, tokenizer_identity

MODELS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("embedder", embedder_identity),
    ("tokenizer", tokenizer_identity),
    ("influence", require_pair),
)


def require_all(*checks: Callable[[], object]) -> None:
    """Make every check. Raises SettingsFault with the faults of all of them."""
    faults = list[str]()
    for check in checks:
        try:
            check()
        except SettingsFault as fault:
            faults.extend(fault.faults)
    if faults:
        raise SettingsFault(faults)


def unknown_stages(given: Sequence[str], names: Sequence[str]) -> list[str]:
    """A sentence for every name that is no stage's."""
    return [f"no stage is named {name!r}; stages: {', '.join(names)}" for name in given if name not in names]


def require_own_root(settings: Settings, stages: Sequence[Stage], tables: Tables) -> None:
    """Inputs and root are of the job that has these stages. Raises SettingsFault."""
    faults = []
    for kind in sorted(set(KINDS) - sources_of(stages)):
        job = "jobs/score.py" if kind == "imports" else "jobs/synthesize.py"
        if getattr(settings.inputs, kind):
            faults.append(f"inputs.{kind}: {job} reads them, into a root of its own")
        if tables.exists(kind):
            faults.append(f"--root {tables.state}: was made by {job} (it holds {kind}); {OTHER_ROOT}")
    if faults:
        raise SettingsFault(faults)


def require_models(settings: Settings, stages: Iterable[Stage]) -> None:
    """The models that these stages use are there. Raises SettingsFault."""
    faults = []
    sections = {"tokenizer"}.union(*(stage.sections for stage in stages))  # every job counts tokens
    for name, look in MODELS:
        if name not in sections:
            continue
        try:
            look(getattr(settings, name))
        except (ModelUnavailable, TokenizerUnavailable) as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise SettingsFault(faults)


def require_teacher(settings: LlmSettings) -> None:
    """Every endpoint answers and takes our key. Raises SettingsFault or ServiceRefused."""
    for _, llm in distinct(settings):
        refused = probe(llm)
        if refused is None:
            continue
        if refused.error_kind == ErrorKind.AUTHENTICATION:
            raise ServiceRefused(
                f"the service at {llm.base_url} does not take the key in {llm.api_key_env} ({refused.error}); "
                f"nothing was written. Run `export {llm.api_key_env}=…` with a valid one, then run again."
            )
        raise SettingsFault(
            [
                f"llm.base_url: nothing answers at {llm.base_url} ({refused.error}); start the server, or name "
                "another with --set llm.base_url=http://HOST:PORT/v1"
            ]
        )
