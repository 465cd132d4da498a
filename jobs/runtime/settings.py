"""Settings of a run: YAML file plus `--set` overrides, checked as a whole, all faults listed at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import fsspec
import yaml
from pydantic import Field, ValidationError

from graphs.settings import CanonicalSettings, WalkSettings
from jobs.runtime.errors import SettingsFault, said
from jobs.runtime.health import no_client
from jobs.runtime.secrets import may_be_key, named, shown, stored_credentials, stored_keys, with_credentials
from udfs.llm.prices import price_of
from udfs.settings import (
    ClassifierSettings,
    Count,
    EmbedderSettings,
    EvidenceSettings,
    FilterSettings,
    InfluenceSettings,
    LlmSettings,
    MetaSettings,
    MinhashSettings,
    Positive,
    Section,
    Share,
    TokenizerSettings,
    TypeSettings,
)

# Bytes that are no text and dates that are none raise ValueError; brackets without end, RecursionError.
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class InputSettings(Section):
    """Globs, files or folders. All lists empty: the embedded demonstration corpus is built."""

    conversations: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()  # samples made elsewhere, which jobs/score.py reads


class StorageSettings(Section):
    """A root path, or a Unity Catalog `catalog.schema` with a state path for checkpoints and spool."""

    root: str | None = None
    schema_name: str | None = None
    state_path: str | None = None


class TargetSettings(Section):
    """Accepted samples wanted per setting: the candidates among which `selection` chooses."""

    single: Count = 100
    multi: Count = 50
    max_rounds: Positive = 12
    # Of samples, before any was answered. Below 1 the first round asks for more: it may spare a round, or overshoot.
    expected_acceptance: Annotated[float, Field(ge=0.25, le=1.0)] = 1.0


class DocumentSettings(Section):
    """How documents are drawn for samples."""

    max_draws: Positive = 3  # a document of a rejected sample is drawn again up to this often


class SelectionSettings(Section):
    """Which of the candidates become training rows. Candidates are the accepted samples within the targets.

    Every limit that is given holds; a share is one of the candidates that could be measured.
    """

    by: Literal["order", "influence"] = "order"  # `order` measures nothing and needs no models
    norm: Literal["rank", "zscore", "reference", "paper"] = "rank"  # see sql/influence_scores
    alpha: Share = 0.7  # weight of the two models' gap (HMP); the rest is the attention's (CAS)
    per_type: bool = False  # norms within each document type, so that scores compare a sample with its kind
    keep_mix: bool = True  # every (setting, type) gets its share of what is taken; false: the best, whatever they are
    top_share: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    top_count: Positive | None = None
    token_budget: Positive | None = None  # tokens of context, instruction and response together
    min_score: float | None = None


class LineageSettings(Section):
    """Where MLflow keeps runs; empty values mean `_mlflow` in a root on a disk.

    Its database and files are local: of a root on an object store they lie in the driver's working folder.
    """

    tracking_uri: str | None = None
    artifact_location: str | None = None
    experiment: str = "longloom"


class Settings(Section):
    """Everything a run can be told. Sections are shared with the functions that use them."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 13
    inputs: InputSettings = InputSettings()
    storage: StorageSettings = StorageSettings()
    targets: TargetSettings = TargetSettings()
    documents: DocumentSettings = DocumentSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    filter: FilterSettings = FilterSettings()
    minhash: MinhashSettings = MinhashSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    meta: MetaSettings = MetaSettings()
    types: TypeSettings = TypeSettings()
    canonical: CanonicalSettings = CanonicalSettings()
    walks: WalkSettings = WalkSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    instructions: MinhashSettings = MinhashSettings(shingle_words=2, threshold=0.7)
    evidence: EvidenceSettings = EvidenceSettings()
    llm: LlmSettings = LlmSettings()
    influence: InfluenceSettings = InfluenceSettings()
    selection: SelectionSettings = SelectionSettings()
    lineage: LineageSettings = LineageSettings()


def load_settings(
    config: str | None,
    overrides: Sequence[str],
    root: str | None,
    check_inputs: Callable[[InputSettings], object] | None = None,
    *,
    calls: bool = True,
) -> Settings:
    """Read `config`, apply `section.key=value` overrides (values are YAML), validate everything.

    `calls` is whether the job may ask a teacher: only then must the variables with the keys be set. Raises
    SettingsFault listing every unknown key, bad value and missing variable, and what is wrong with the inputs as far
    as they could be read (`check_inputs` raises SettingsFault for those).
    """
    faults: list[str] = []
    values = _read_config(config, faults)
    for override in overrides:
        _apply(values, override, faults)
    if root is not None:
        _section(values, "storage")["root"] = root
    _make_absolute(values.get("storage"))
    settings = _validate(values, faults)
    if settings is not None:
        faults.extend(_cross_faults(settings, calls))
    if faults or settings is None:
        raise SettingsFault(list(dict.fromkeys([*faults, *_input_faults(values, check_inputs)])))
    return settings


def _input_faults(values: dict[str, Any], check: Callable[[InputSettings], object] | None) -> list[str]:
    """What is wrong with the inputs, where other sections are wrong too and theirs by itself is not."""
    try:
        inputs = InputSettings.model_validate(values.get("inputs", {}))
        if secret := list(with_credentials(inputs, StorageSettings())):
            return secret  # to list them would send it, and tell it where that fails
        if check is not None:
            check(inputs)
    except SettingsFault as fault:
        return fault.faults
    except ValidationError:
        pass  # told already, with the faults of the other sections
    return []


def _read_config(config: str | None, faults: list[str]) -> dict[str, Any]:
    if config is None:
        return {}
    if missing := no_client(config):
        faults.append(f"--config {config}: {missing}")
        return {}
    try:
        with fsspec.open(config, "r", encoding="utf-8") as stream:  # clusters name files on object stores
            values = yaml.safe_load(stream)
    except OSError as error:
        why = "no such file" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror or error})"
        faults.append(f"--config {config}: {why}; see infra/conf/*.yaml for complete examples")
        return {}
    except NOT_YAML as error:
        faults.append(f"--config {config}: not YAML ({' '.join(str(error).split())})")
        return {}
    except Exception as error:  # the clients of remote stores have errors of their own
        faults.append(f"--config {config}: cannot be read ({said(error)})")
        return {}
    if values is None:
        return {}
    if not isinstance(values, dict):
        faults.append(f"--config {config}: expected sections like `targets:`, found {type(values).__name__}")
        return {}
    return values


def _apply(values: dict[str, Any], override: str, faults: list[str]) -> None:
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        faults.append(f"--set {override}: write it as section.key=value")
        return
    try:
        value = yaml.safe_load(text)
    except NOT_YAML:
        value = text
    node = values
    for part in parts[:-1]:
        node = _section(node, part)
    node[parts[-1]] = value


def _make_absolute(storage: Any) -> None:
    """Folders by their whole path, so that executors and the JVM mean the same ones; addresses stay."""
    for key in ("root", "state_path"):
        folder = storage.get(key) if isinstance(storage, dict) else None
        if folder and isinstance(folder, str) and "://" not in folder:
            storage[key] = str(Path(folder).absolute())


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(values.get(name), dict):
        values[name] = {}
    section: dict[str, Any] = values[name]
    return section


def _validate(values: dict[str, Any], faults: list[str]) -> Settings | None:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"])
            if item["type"] == "extra_forbidden":
                faults.append(f"{where}: unknown key{_nearest(item['loc'])}")
            else:
                faults.append(f"{where}: {item['msg']} (found {shown(item['input'], where)})")
        return None


def _nearest(loc: tuple[int | str, ...]) -> str:
    """The closest known key, or the list of those that exist."""
    from difflib import get_close_matches

    model: Any = Settings
    for part in loc[:-1]:
        model = model.model_fields[str(part)].annotation
    known = list(model.model_fields)
    close = get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known keys: {', '.join(known)}"


def _cross_faults(settings: Settings, calls: bool) -> list[str]:
    """Faults that concern more than one key."""
    faults = []
    inputs, storage, rules, walks = settings.inputs, settings.storage, settings.filter, settings.walks
    if bool(inputs.conversations) != bool(inputs.documents):
        missing = "documents" if inputs.conversations else "conversations"
        faults.append(f"inputs.{missing}: empty; give both lists, or neither for the demonstration corpus")
    if storage.root is None and storage.schema_name is None:
        faults.append("storage.root: not given; pass --root PATH (or storage.schema_name and storage.state_path)")
    if storage.schema_name and not storage.state_path:
        faults.append("storage.state_path: needed beside storage.schema_name, for checkpoints and spool")
    if not rules.min_document_tokens < rules.max_pair_document_tokens <= rules.max_document_tokens:
        faults.append(
            "filter: min_document_tokens < max_pair_document_tokens <= max_document_tokens must hold "
            f"(found {rules.min_document_tokens}, {rules.max_pair_document_tokens}, {rules.max_document_tokens})"
        )
    if walks.min_nodes > walks.nodes:
        faults.append(f"walks.min_nodes: {walks.min_nodes} is more than walks.nodes {walks.nodes}")
    endpoints = [settings.llm, *map(settings.llm.of, settings.llm.stages)]
    # What reads no key needs none, but a key that stands there would be stored with the settings all the same.
    variables = {
        llm.api_key_env for llm in endpoints if (calls and llm.teacher != "offline") or may_be_key(llm.api_key_env)
    }
    for variable in sorted(variables - {""}):  # empty for a server without keys
        if not os.environ.get(variable):
            faults.append(
                f"llm.api_key_env: the environment variable {named(variable)} is not set; export it (any text, for a "
                "server that needs no key)"
            )
    faults += sorted({fault for llm in endpoints for fault in stored_keys(llm)})
    faults += stored_credentials(settings.lineage)
    faults += with_credentials(inputs, storage)
    answers = settings.llm.of("samples")
    temperature = answers.extra_body.get("temperature", answers.temperature)
    if settings.evidence.second_draw and answers.teacher != "offline" and not temperature:
        faults.append(
            "evidence.second_draw: answers are drawn at temperature 0, so a second draw would be the first one again; "
            "raise llm.temperature (or that of llm.stages.samples), or switch second draws off"
        )
    if settings.selection.min_score is not None and settings.selection.by == "order":
        faults.append("selection.min_score: there are no scores with selection.by: order; set it to influence")
    if settings.llm.budget_usd:
        for llm in endpoints:
            if price_of(llm) is None:
                faults.append(
                    f"llm.budget_usd: the price of {llm.model} is not known; give llm.price_input and llm.price_output "
                    "(USD per million tokens), or a limit by llm.budget_calls"
                )
    for section, minhash in (("minhash", settings.minhash), ("instructions", settings.instructions)):
        if minhash.permutations % minhash.bands:
            faults.append(f"{section}.bands: must divide {section}.permutations")
    return faults
