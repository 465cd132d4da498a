"""Pairs that are refused before a job starts, each with its name and the reason."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.udfs.models.influence.families import SHAPE, save_chunked, save_family, save_model, save_tokenizer
from udfs.models.errors import ModelUnavailable
from udfs.models.influence.pair import load_scorer, make_scorer
from udfs.models.influence.support import pair_files, pair_identity, require_pair, unsupported_layers
from udfs.settings import InfluenceSettings

Pairs = Callable[[str], tuple[Path, Path]]
CPU = torch.device("cpu")


def refusal(short: Path, long: Path, **changes: Any) -> ModelUnavailable:
    settings = InfluenceSettings(short_model=str(short), long_model=str(long), device="cpu", **changes)
    with pytest.raises(ModelUnavailable) as caught:
        make_scorer(settings, CPU)
    return caught.value


def refusal_before_a_job(short: Path, long: Path, **changes: Any) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        require_pair(InfluenceSettings(short_model=str(short), long_model=str(long), **changes))
    return caught.value


@pytest.mark.parametrize(
    ("config", "length", "fault"),
    [
        ({"sliding_window": 4_096}, 4_096, None),
        ({"sliding_window": 4_096}, 4_097, "a sliding window of 4096 tokens"),
        ({"sliding_window": 512, "use_sliding_window": False}, 9_000, None),
        ({"sliding_window": 512, "layer_types": ["full_attention"]}, 9_000, None),
        ({"sliding_window": 512, "layer_types": ["full_attention", "sliding_attention"]}, 9_000, "a sliding window"),
        ({"attention_chunk_size": 512}, 9_000, "chunked attention of 512 tokens"),
        ({"attention_chunk_size": 512, "layer_types": ["full_attention"]}, 9_000, None),
        ({"text_config": {"attention_chunk_size": 512}}, 9_000, "chunked attention of 512 tokens"),
        ({"text_config": {"sliding_window": 512}, "sliding_window": None}, 513, "a sliding window of 512 tokens"),
        ({"text_config": None, "sliding_window": 512}, 513, "a sliding window of 512 tokens"),
        ({"rope_parameters": {"rope_type": "dynamic"}, "max_position_embeddings": 128}, 128, None),
        ({"rope_parameters": {"rope_type": "dynamic"}, "max_position_embeddings": 128}, 129, "dynamic RoPE beyond"),
        ({"rope_scaling": {"type": "dynamic"}, "max_position_embeddings": 128}, 129, "dynamic RoPE beyond"),
        ({"rope_parameters": {"full_attention": {"rope_type": "dynamic"}}, "max_position_embeddings": 9}, 10, "dynam"),
        ({"rope_scaling": {"rope_type": "yarn", "type": "dynamic"}, "max_position_embeddings": 128}, 129, None),
        ({"attn_logit_softcapping": 50.0}, 10, "a soft cap"),
        ({"kv_lora_rank": 512}, 10, "latent attention"),
        ({"alibi": True}, 10, "linear position biases"),
        ({"is_encoder_decoder": True}, 10, "an encoder"),
        ({"layer_types": ["linear_attention", "full_attention"]}, 10, "layers of the kind linear_attention"),
        ({"sliding_window": None, "kv_lora_rank": None, "layer_types": None}, 10, None),
    ],
)
def test_layers_are_refused_by_name(config: dict[str, Any], length: int, fault: str | None) -> None:
    found = unsupported_layers(config, length)
    assert found is None if fault is None else found is not None and found.startswith(fault)


def test_a_sliding_window_is_read_up_to_its_length(tmp_path: Path) -> None:
    folder = save_family(tmp_path / "m", "mistral", sliding_window=300)
    assert "a sliding window of 300 tokens" in refusal(folder, folder).why
    settings = InfluenceSettings(short_model=str(folder), long_model=str(folder), device="cpu", max_tokens=300)
    assert make_scorer(settings, CPU).long.window == 300


def test_architectures_that_the_probe_does_not_understand_are_refused(tmp_path: Path) -> None:
    from transformers import BloomConfig, Gemma2Config, GptOssConfig

    configs = {
        "gemma2": Gemma2Config(**{**SHAPE, "head_dim": 8, "num_key_value_heads": 2, "sliding_window": 9_000}),
        "bloom": BloomConfig(vocab_size=259, hidden_size=32, n_layer=1, n_head=2),
        "gpt_oss": GptOssConfig(
            **{**SHAPE, "head_dim": 8, "num_key_value_heads": 2, "num_local_experts": 2, "num_experts_per_tok": 1},
            sliding_window=9_000,
        ),
    }
    why = {}
    for name, config in configs.items():
        folder = save_model(tmp_path / name, config)
        save_tokenizer(folder)
        why[name] = refusal(folder, folder, max_tokens=512).why
    assert "a soft cap" in why["gemma2"]
    assert why["bloom"] == ("UnsupportedAttention: its attention does not go through transformers' attention interface")
    assert "sinks" in why["gpt_oss"]


def test_models_that_are_no_siblings_are_refused(pair: Pairs, tmp_path: Path) -> None:
    short, long = pair("llama")
    wider = save_family(tmp_path / "wider", "llama", intermediate_size=64)
    assert refusal(wider, long).why == "it is not homologous to the long model: intermediate_size 64 and 48"
    assert "model_type mistral and llama" in refusal(pair("mistral")[0], long).why
    other = Path(shutil.copytree(short, tmp_path / "other"))
    save_tokenizer(other, extra="<|more|>")
    make_scorer(InfluenceSettings(short_model=str(other), long_model=str(long), device="cpu"), CPU)  # pieces are equal
    engine = json.loads((other / "tokenizer.json").read_text())
    pieces = list(engine["model"]["vocab"])
    engine["model"]["vocab"] = {piece: at for at, piece in enumerate(reversed(pieces))}
    (other / "tokenizer.json").write_text(json.dumps(engine))
    assert "its tokenizer is another" in refusal(other, long).why


@pytest.mark.parametrize(
    ("name", "made"), [("config.json", "AutoModelForCausalLM"), ("tokenizer_config.json", "AutoTokenizer")]
)
def test_a_folder_with_code_of_its_own_is_refused(pair: Pairs, tmp_path: Path, name: str, made: str) -> None:
    short, long = pair("llama")
    coded = Path(shutil.copytree(long, tmp_path / "coded"))
    said = json.loads((coded / name).read_text())
    trap = tmp_path / "ran"
    (coded / "trap.py").write_text(f"open({str(trap)!r}, 'w')\n")
    (coded / name).write_text(json.dumps({**said, "auto_map": {made: "trap.Trap"}}))
    for pair_of_folders in ((short, coded), (coded, long)):
        refused = refusal(*pair_of_folders), refusal_before_a_job(*pair_of_folders)
        assert all(each.why.startswith(f"{name} asks for code that comes with the model") for each in refused)
    assert not trap.exists()


def test_missing_and_torn_folders_are_refused(pair: Pairs, tmp_path: Path) -> None:
    short, long = pair("llama")
    assert "no such folder" in refusal(tmp_path / "nowhere", long).why
    torn = Path(shutil.copytree(long, tmp_path / "torn"))
    (torn / "config.json").write_text("{")
    assert "config.json cannot be read" in refusal(short, torn).why
    shutil.copy(long / "config.json", torn)
    (torn / "tokenizer.json").unlink()
    assert refusal(short, torn).where.endswith("torn")
    (torn / "model.safetensors").unlink()
    assert "it holds neither" in refusal(short, torn).why


def test_what_a_nested_configuration_says_is_refused_before_a_job_starts(tmp_path: Path) -> None:
    """As in Llama 4, which sees: its configuration holds the text model's own."""

    def saved(name: str, **changes: Any) -> Path:
        folder = save_chunked(tmp_path / name, **changes)
        save_tokenizer(folder)
        text = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({"model_type": "llama4", "text_config": text}))
        return folder

    chunked, ends, narrow = saved("chunked"), saved("ends", max_position_embeddings=64), saved("narrow", hidden_size=16)
    for refused in (refusal_before_a_job(chunked, ends), refusal(ends, chunked)):
        assert refused.name == "chunked" and "chunked attention of 64 tokens" in refused.why
    assert "hidden_size 16 and 32" in refusal_before_a_job(narrow, ends).why
    require_pair(InfluenceSettings(short_model=str(ends), long_model=str(ends)))
    require_pair(InfluenceSettings(short_model=str(chunked), long_model=str(ends), max_tokens=64))


def test_dynamic_rope_beyond_its_window_is_refused(tmp_path: Path) -> None:
    """Its frequencies stay grown until a short sequence comes, so the order of samples would change results."""
    rope = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10_000.0}
    short, long = (
        save_family(tmp_path / name, "llama", max_position_embeddings=own, rope_parameters=rope)
        for name, own in (("short", 128), ("long", 512))
    )
    for refused in (
        refusal(short, long, short_context="full"),
        refusal_before_a_job(short, long, short_context="full"),
    ):
        assert refused.name == "short" and "dynamic RoPE beyond its window of 128 tokens" in refused.why
    require_pair(InfluenceSettings(short_model=str(short), long_model=str(long)))


def test_positions_that_end_and_templates_that_are_missing_are_refused(tmp_path: Path, pair: Pairs) -> None:
    from transformers import GPT2Config

    small, large = tmp_path / "small", tmp_path / "large"
    for folder, n in ((small, 128), (large, 256)):
        save_model(folder, GPT2Config(vocab_size=259, n_embd=16, n_layer=1, n_head=2, n_positions=n))
        save_tokenizer(folder)
    assert "no more than its window of 128" in refusal(small, large, short_context="full").why
    assert "one RoPE base" in refusal(small, large, short_rope_factor=2.0).why
    settings = InfluenceSettings(short_model=str(small), long_model=str(large), device="cpu")
    assert make_scorer(settings, CPU).short_window == 128
    bare = Path(shutil.copytree(pair("llama")[0], tmp_path / "bare"))
    (bare / "chat_template.jinja").unlink()
    assert "chat template" in refusal(bare, bare, template="chat").why


def test_a_plan_asks_without_importing_torch(pair: Pairs) -> None:
    short, long = pair("llama")
    code = f"""
import sys
from udfs.settings import InfluenceSettings
from udfs.models.influence.support import pair_files
print(pair_files(InfluenceSettings(short_model={str(short)!r}, long_model={str(long)!r}))[1].folder)
print(sorted({{"torch", "transformers"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [str(long), "[]"]


def test_one_pair_is_kept_per_process(pair: Pairs) -> None:
    short, long = (str(folder) for folder in pair("llama"))
    settings = InfluenceSettings(short_model=short, long_model=long, device="cpu")
    first = load_scorer(settings)
    assert load_scorer(settings) is first
    assert load_scorer(settings.model_copy(update={"template": "plain"})) is not first
    assert pair_files(settings)[0].folder == Path(short)


def test_what_shows_without_weights_is_refused_before_a_job_starts(pair: Pairs, tmp_path: Path) -> None:
    def refused(short: Path, long: Path, **changes: Any) -> str:
        return refusal_before_a_job(short, long, **changes).why

    short, long = pair("llama")
    require_pair(InfluenceSettings(short_model=str(short), long_model=str(long), template="chat"))
    assert "model_type mistral and llama" in refused(pair("mistral")[0], long)
    assert refused(tmp_path / "nowhere", long) == "there is no such folder"
    other = Path(shutil.copytree(long, tmp_path / "other"))
    engine = json.loads((other / "tokenizer.json").read_text())
    engine["model"]["vocab"] = {piece: at for at, piece in enumerate(reversed(list(engine["model"]["vocab"])))}
    (other / "tokenizer.json").write_text(json.dumps(engine))
    assert refused(other, long) == "it is not homologous to the long model: its tokenizer is another"
    mute = Path(shutil.copytree(long, tmp_path / "mute"))
    for path in mute.glob("chat_template*"):
        path.unlink()
    said = json.loads((mute / "tokenizer_config.json").read_text())
    (mute / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in said.items() if k != "chat_template"}))
    assert refused(short, mute, template="chat") == "its tokenizer has no chat template"
    sliding = save_family(tmp_path / "sliding", "mistral", sliding_window=300)
    assert "a sliding window of 300 tokens" in refused(sliding, sliding)
    require_pair(InfluenceSettings(short_model=str(sliding), long_model=str(sliding), max_tokens=300))
    one, two = pair_identity(InfluenceSettings(short_model=str(short), long_model=str(long)))
    assert one.startswith("short@local:") and two.startswith("long@local:") and one[12:] != two[12:]
