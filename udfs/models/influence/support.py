"""Makes the sentence that refuses a model or a pair before a job starts, from configurations alone.

It refuses to load weights; torch is never imported here, so a plan can ask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from udfs.models.errors import ModelUnavailable
from udfs.models.files import ModelFiles, identity, resolve_files, weight_files
from udfs.models.influence.shipped import embedded_folder
from udfs.settings import InfluenceSettings

DECIDES_PIECES = ("model", "pre_tokenizer", "normalizer")  # of a tokenizer.json: how a text is cut
# What two homologous models share; window and RoPE may differ.
SHAPE = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)


def pair_files(settings: InfluenceSettings) -> tuple[ModelFiles, ModelFiles]:
    """The files of the short and the long model. Raises ModelUnavailable.

    Both are checked as far as their configurations tell: there, without code of their own, homologous.
    """
    short = _files(settings.short_model, settings.short_revision, "short")
    long = _files(settings.long_model, settings.long_revision, "long")
    configs = [_config(files) for files in (short, long)]
    refuse_strangers(short, configs[0], configs[1])
    return short, long


def require_pair(settings: InfluenceSettings) -> None:
    """Raises ModelUnavailable when the pair cannot do what these settings ask, as far as that shows without weights."""
    short, long = pair_files(settings)
    if not _same_tokenizer(short, long):
        raise _refused(short, "it is not homologous to the long model: its tokenizer is another", "Name two siblings.")
    if settings.template == "chat" and not _has_chat_template(long):
        raise _refused(long, "its tokenizer has no chat template", "Set influence.template to gateau or plain.")
    full = settings.short_context == "full"
    longest = _length(long, settings.max_tokens, False)
    refuse_layers(long, _config(long), longest)
    asked = longest if full else settings.short_window or settings.max_tokens
    refuse_layers(short, _config(short), _length(short, asked, full))


def pair_identity(settings: InfluenceSettings) -> tuple[str, str]:
    """`name@revision:hash` of the short and of the long model. Raises ModelUnavailable."""
    short, long = pair_files(settings)
    return identity(short), identity(long)


def refuse_strangers(short: ModelFiles, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """Raises ModelUnavailable when two configurations are not those of homologous models."""
    one, other = _text(one), _text(other)
    differing = [f"{key} {one.get(key)} and {other.get(key)}" for key in SHAPE if one.get(key) != other.get(key)]
    if differing:
        raise _refused(short, f"it is not homologous to the long model: {', '.join(differing)}", "Name two siblings.")


def refuse_layers(files: ModelFiles, config: Mapping[str, Any], length: int) -> None:
    """Raises ModelUnavailable when a layer is no plain causal softmax attention over `length` tokens."""
    fault = unsupported_layers(config, length)
    if fault:
        raise _refused(files, f"it has {fault}, which is not measured exactly", "Name a model without it.")


def unsupported_layers(config: Mapping[str, Any], length: int) -> str | None:
    """What in a configuration is not measured exactly at this length; None when all is."""
    config = _text(config)
    window = config.get("sliding_window") if config.get("use_sliding_window", True) else None
    chunk = config.get("attention_chunk_size")
    kinds = set(config.get("layer_types") or ())
    slides = bool(window) and (not kinds or "sliding_attention" in kinds)
    chunks = bool(chunk) and (not kinds or "chunked_attention" in kinds)
    other = sorted(kinds - {"full_attention", "sliding_attention", "chunked_attention"})
    own = int(config.get("max_position_embeddings") or length)
    # transformers keeps frequencies that a long sequence made grow for shorter ones: the order of samples would count.
    grows = length > own and "dynamic" in _rope_types(config)
    faults = {
        f"a sliding window of {window} tokens (influence.max_tokens is {length})": slides and int(window or 0) < length,
        f"chunked attention of {chunk} tokens (influence.max_tokens is {length})": chunks and int(chunk or 0) < length,
        f"dynamic RoPE beyond its window of {own} tokens (influence.max_tokens is {length})": grows,
        "a soft cap on attention scores": bool(
            config.get("attn_logit_softcapping") or config.get("attn_logit_soft_cap")
        ),
        "latent attention": bool(config.get("kv_lora_rank")),
        "linear position biases": bool(config.get("alibi")),
        "an encoder beside its decoder": bool(config.get("is_encoder_decoder")),
        f"layers of the kind {', '.join(other)}": bool(other),
    }
    found = [fault for fault, is_so in faults.items() if is_so]
    return " and ".join(found) or None


def _text(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says of the model that reads text: nested as `text_config` in one that sees or hears too."""
    return {**config, **(config.get("text_config") or {})}


def _rope_types(config: Mapping[str, Any]) -> set[Any]:
    """The kinds of RoPE in a configuration of any age: one for all layers, or one for each kind of layer."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    each = [said, *(part for part in said.values() if isinstance(part, Mapping))]
    return {part.get("rope_type", part.get("type")) for part in each}


def _same_tokenizer(short: ModelFiles, long: ModelFiles) -> bool:
    """Whether texts are cut alike; taken for granted where a tokenizer is not written as tokenizer.json."""
    places = [files.folder / "tokenizer.json" for files in (short, long)]
    if not all(place.is_file() for place in places):
        return True
    one, other = (json.loads(place.read_text(encoding="utf-8")) for place in places)
    return all(one.get(part) == other.get(part) for part in DECIDES_PIECES)


def _has_chat_template(files: ModelFiles) -> bool:
    said = files.folder / "tokenizer_config.json"
    told = said.is_file() and "chat_template" in json.loads(said.read_text(encoding="utf-8"))
    return told or any(files.folder.glob("chat_template*"))


def _length(files: ModelFiles, asked: int, beyond_window: bool) -> int:
    """The longest sequence this model will be given."""
    own = _text(_config(files)).get("max_position_embeddings")
    return asked if beyond_window or not own else min(asked, int(own))


def _files(name: str, revision: str, role: str) -> ModelFiles:
    if name != "embedded":
        return resolve_files(name, revision)
    folder = embedded_folder(role)
    if folder is None:
        why, remedy = "it holds no embedded pair", "Install a whole longloom, or name models."
        raise ModelUnavailable(name, "the package udfs.models.influence", why, remedy)
    return ModelFiles(f"longloom-tiny-{role}", "embedded", folder)


def _config(files: ModelFiles) -> dict[str, Any]:
    """config.json of a folder with weights and without code. Raises ModelUnavailable."""
    weight_files(files)
    place = files.folder / "config.json"
    try:
        config = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise _refused(files, f"config.json cannot be read ({fault})", "Name a whole folder.") from fault
    for name in ("config.json", "tokenizer_config.json"):
        said = files.folder / name
        if said.is_file() and "auto_map" in json.loads(said.read_text(encoding="utf-8")):
            raise _refused(
                files,
                f"{name} asks for code that comes with the model (auto_map), and none is run",
                "Name a model that transformers knows, or take auto_map out of a copy that it loads without.",
            )
    return dict(config)


def _refused(files: ModelFiles, why: str, remedy: str) -> ModelUnavailable:
    return ModelUnavailable(files.name, f"the folder {files.folder}", why, remedy)
