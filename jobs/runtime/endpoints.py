"""What the configured endpoints can do: for the doctor, and for settings that leave the form of replies open.

It makes a few small calls; everything else about a machine is looked at elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from pydantic import ValidationError

from jobs.runtime.errors import ServiceRefused
from jobs.runtime.health import Finding
from udfs.llm.teacher import ErrorKind
from udfs.llm.teachers import BATCH
from udfs.settings import LlmSettings

if TYPE_CHECKING:
    from udfs.llm.examine import Examined

STRICTEST = "schema"  # the form that is tried first
MENDS = {
    "authentication": "export {0.api_key_env}=… with a valid key",
    "not_found": "set llm.model to one that the server has, or mend llm.base_url",
    "connection": "start the server, or mend llm.base_url",
    "certificate": "mend llm.base_url, or name your authority's certificates in SSL_CERT_FILE",
    "quota": "look at your quota and your bill",
}


def check_endpoints(config: Path) -> list[Finding]:
    """Ask every endpoint that a settings file names: a few small calls each."""
    section = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("llm") or {}
    try:
        llm = LlmSettings.model_validate(section)
    except ValidationError as error:
        faults = "; ".join(f"llm.{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return [Finding("endpoint", "bad", faults, f"edit {config}")]
    from udfs.llm.examine import examine

    found = [finding for name, one in distinct(llm) for finding in findings(name, one, examine(one))]
    return found + [batch_finding(name, one) for name, one in distinct(llm, batches=True)]


def batch_finding(stage: str, llm: LlmSettings) -> Finding:
    """Whether an endpoint takes batches."""
    from udfs.llm.batch.client import BatchClient, ProviderFault
    from udfs.llm.batch.store import Endpoint

    name = f"batches {stage}".strip()
    try:
        client = BatchClient(Endpoint.of(llm))
        try:
            client.can_batch()
        finally:
            client.close()
    except ProviderFault as fault:
        lacks = fault.reply.error_kind == ErrorKind.NOT_FOUND
        why = "has no /batches" if lacks else f"does not show its batches: {fault}"
        return Finding(name, "bad", f"{llm.base_url} {why}", "--set llm.teacher=openai")
    return Finding(name, "good", f"{llm.base_url} takes batches")


def distinct(llm: LlmSettings, batches: bool = False) -> list[tuple[str, LlmSettings]]:
    """Each endpoint once, by the first stage that has it; the one for all other stages has no name.

    With `batches` only those that are asked by batch files.
    """
    found: dict[tuple[str, ...], tuple[str, LlmSettings]] = {}
    for name in ("", *llm.stages):
        one = llm.of(name)
        if one.teacher == BATCH or (one.teacher != "offline" and not batches):
            found.setdefault((one.base_url, one.model, one.api_key_env, one.key_header), (name, one))
    return list(found.values())


def findings(stage: str, llm: LlmSettings, found: Examined) -> list[Finding]:
    """What there is to say about one endpoint."""
    name = f"endpoint {stage}".strip()
    reply = found.reply
    if found.json_mode is None:
        mend = MENDS.get(str(reply.error_kind), "see the message; the settings are those of llm").format(llm)
        return [Finding(name, "bad", f"{llm.base_url}, {llm.model}: {reply.error}", mend)]
    told = [Finding(name, "good", f"{llm.base_url} answers as {reply.model or llm.model} in {reply.seconds:.1f} s")]
    order = ("prompt", "object", "object_schema", "schema")
    if llm.json_mode == "auto" or order.index(llm.json_mode) == order.index(found.json_mode):
        told.append(Finding(name, "good", f"replies are held to a form by json_mode {found.json_mode}"))
    else:
        mend = f"--set llm.json_mode={found.json_mode}, or auto"
        weaker = order.index(llm.json_mode) < order.index(found.json_mode)
        can = f"it can do json_mode {found.json_mode}, set is {llm.json_mode}"
        told.append(Finding(name, "note" if weaker else "bad", can, mend))
    if found.limits is not None:
        granted = [f"{n:,} {unit}" for n, unit in zip(found.limits, ("requests", "tokens"), strict=True) if n]
        told.append(Finding(name, "good", f"grants {' and '.join(granted)} a minute"))
    return told


def probed(llm: LlmSettings) -> str:
    """The strictest `json_mode` of an endpoint, found out by a few calls. Raises ServiceRefused."""
    from udfs.llm.examine import examine  # it brings the clients, which a run without an endpoint does without

    found = examine(llm)
    if found.json_mode is None:
        passing = found.reply.status == "passing"
        raise ServiceRefused(
            f"the service at {llm.base_url} cannot be used ({found.reply.error_kind}): {found.reply.error}; nothing "
            f"was written. {'Run again later, or run' if passing else 'Run'} jobs/doctor.py with the same --config to "
            "see what it can do."
        )
    return found.json_mode


def settle_json_modes(
    llm: LlmSettings,
    stages: Sequence[str],
    *known: Callable[[str], str | None],
    otherwise: Callable[[LlmSettings], str] = probed,
) -> LlmSettings:
    """The settings with every `json_mode: auto` decided, one mode per endpoint: as it is known, else by `otherwise`.

    `stages` are those that ask a teacher, each of `known(stage)` the mode that their calls were made in, if any; the
    first of them that knows a mode of any stage is believed. Raises what `otherwise` does.
    """
    decided: dict[tuple[str, str], str] = {}

    def decide(name: str) -> str:
        one = llm.of(name)
        place = (one.base_url, one.model)
        if one.json_mode != "auto" or one.teacher == "offline":
            return STRICTEST if one.json_mode == "auto" else one.json_mode
        if place not in decided:
            open_stages = ((stage, llm.of(stage)) for stage in stages)
            alike = [s for s, its in open_stages if its.json_mode == "auto" and (its.base_url, its.model) == place]
            modes = (mode for look in known for mode in map(look, alike) if mode)
            decided[place] = next(modes, None) or otherwise(one)
        return decided[place]

    changed = {name: {**changes, "json_mode": decide(name)} for name, changes in llm.stages.items()}
    return llm.model_copy(update={"json_mode": decide(""), "stages": changed})
