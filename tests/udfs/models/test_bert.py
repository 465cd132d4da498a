"""BERT in plain torch against transformers, and the folders that are left to transformers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from udfs.models.bert import load_bert, read_config
from udfs.models.files import ModelFiles
from udfs.models.loading import load

CPU = torch.device("cpu")


@torch.inference_mode()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hidden_states_equal_those_of_transformers(tiny_bert: Path, dtype: torch.dtype) -> None:
    from transformers import AutoModel

    config = read_config(tiny_bert)
    assert config is not None
    ours = load_bert(tiny_bert, config, CPU, dtype)
    theirs = AutoModel.from_pretrained(tiny_bert, dtype=dtype).eval()
    ids = torch.randint(4, 60, (5, 24), generator=torch.Generator().manual_seed(1))
    mask = (torch.arange(24) < torch.tensor([[24], [1], [8], [23], [9]])).long()
    real = mask.bool()
    tolerance = 2e-6 if dtype == torch.float32 else 0.05
    expected = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    assert (ours(ids, mask)[real] - expected[real]).abs().max() < tolerance
    unmasked = theirs(input_ids=ids).last_hidden_state
    assert (ours(ids, None) - unmasked).abs().max() < tolerance


def test_weights_under_a_head_are_found(tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import BertForMaskedLM

    folder = Path(shutil.copytree(tiny_bert, tmp_path / "masked"))
    BertForMaskedLM.from_pretrained(tiny_bert).save_pretrained(folder)
    config = read_config(folder)
    assert config is not None
    ids = torch.tensor([[2, 5, 6, 3]])
    plain = load_bert(tiny_bert, config, CPU, torch.float32)(ids, None)
    assert torch.equal(load_bert(folder, config, CPU, torch.float32)(ids, None), plain)


@pytest.mark.parametrize(
    "change",
    [{"hidden_act": "relu"}, {"model_type": "roberta"}, {"is_decoder": True}, {"position_embedding_type": "x"}],
)
def test_what_is_not_exactly_bert_is_left_to_transformers(
    tiny_bert: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    assert read_config(tiny_bert) is not None
    assert read_config(folder) is None
    (tmp_path / "empty").mkdir()
    assert read_config(tmp_path / "empty") is None


def test_another_activation_is_computed_and_not_assumed(tiny_bert: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bert, tmp_path / "relu"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    ids = torch.tensor([[2, 5, 6, 3]])
    with torch.inference_mode():
        gelu, relu = (
            load(ModelFiles("m", "local", f), CPU, torch.float32).forward(ids, None) for f in (tiny_bert, folder)
        )
    assert (gelu - relu).abs().max() > 1e-3


def test_the_embedded_model_starts_without_importing_transformers() -> None:
    code = """
import sys
from udfs.models.embedder import embed_texts
from udfs.settings import EmbedderSettings
embed_texts(["a text"], EmbedderSettings(device="cpu"))
print(sorted({"transformers", "torch._dynamo", "sklearn"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
