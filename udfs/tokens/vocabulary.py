"""Finds the vocabulary that settings name: one carried by an installed package, a local one, or one of the hub.

"embedded" never touches the network; a Hugging Face id does so only when it is not in the local cache.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from udfs.settings import TokenizerSettings

CL100K = "cl100k_base"
# tiktoken looks a vocabulary up in its cache folder under the sha1 of its address.
CL100K_FILE = "9b5ad71b2ce5302211f9c61530b329a4922fc6a4"
CL100K_SHA256 = "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7"
CARRIERS = (
    ("litellm", "litellm_core_utils/tokenizers"),
    ("litellm", "llms/tokenizers"),
    ("llama_index", "core/_static/tiktoken_cache"),
)


class TokenizerUnavailable(RuntimeError):
    """The tokenizer that settings name cannot be had; the message says where it was looked for."""


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary file and how it is to be read."""

    kind: Literal["tiktoken", "tokenizers"]
    name: str
    path: Path
    sha256: str


def find_vocabulary(settings: TokenizerSettings) -> Vocabulary:
    """The file behind `tokenizer.name`. Raises TokenizerUnavailable."""
    if settings.name == "embedded":
        return embedded_vocabulary()
    local = Path(settings.name).expanduser()
    if local.exists():
        # Named for what it is, not where it lies: the name is part of recipes.
        return json_vocabulary("tokenizer.json", local / "tokenizer.json" if local.is_dir() else local)
    if settings.name.startswith(("/", ".", "~")) or settings.name.endswith(".json"):
        raise TokenizerUnavailable(
            f"tokenizer.name {settings.name} is not there. Give a folder that holds a tokenizer.json, "
            "a Hugging Face id, or 'embedded'."
        )
    return json_vocabulary(settings.name, from_hub(settings.name, settings.revision))


def embedded_vocabulary() -> Vocabulary:
    """cl100k, which packages of the lock carry for use without a network."""
    for package, folder in CARRIERS:
        for root in package_folders(package):
            path = root / folder / CL100K_FILE
            if path.is_file() and digest(path) == CL100K_SHA256:
                return Vocabulary("tiktoken", CL100K, path, CL100K_SHA256)
    packages = ", ".join(sorted({package for package, _ in CARRIERS}))
    raise TokenizerUnavailable(
        f"No installed package carries the {CL100K} vocabulary (looked in {packages}). "
        "Install litellm, or set tokenizer.name to a folder with a tokenizer.json or a Hugging Face id."
    )


def package_folders(package: str) -> list[Path]:
    """Where a package lies, without importing it (litellm takes seconds and may call home)."""
    spec = importlib.util.find_spec(package)
    return [] if spec is None else [Path(folder) for folder in spec.submodule_search_locations or ()]


def json_vocabulary(name: str, path: Path) -> Vocabulary:
    """A tokenizer.json as Hugging Face's library writes it."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise TokenizerUnavailable(
            f"tokenizer.name: {path} cannot be read as a tokenizer.json ({type(error).__name__}). "
            "A model that ships only tokenizer.model has to be converted with transformers first."
        ) from error
    if not isinstance(content, dict) or "model" not in content:
        raise TokenizerUnavailable(f"tokenizer.name: {path} has no 'model', so it is no tokenizer.json.")
    return Vocabulary("tokenizers", name, path, digest(path))


def from_hub(name: str, revision: str) -> Path:
    """tokenizer.json of a Hugging Face model, from the local cache if it is there."""
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise TokenizerUnavailable(
            f"tokenizer.name {name} looks like a Hugging Face id, but huggingface_hub is not installed. "
            "Install it, or give a folder that holds the tokenizer.json."
        ) from error
    complaint = ""
    for cached_only in (True, False):
        try:
            return Path(hf_hub_download(name, "tokenizer.json", revision=revision, local_files_only=cached_only))
        except Exception as error:  # the hub's client raises a family of its own and those of its transport
            complaint = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
    raise TokenizerUnavailable(
        f"tokenizer.name {name} (revision {revision}) is neither in the Hugging Face cache nor to be had from "
        f"the hub ({complaint}). Download it where there is a network, or give its folder, or use 'embedded'."
    )


def digest(path: Path) -> str:
    """sha256, hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
