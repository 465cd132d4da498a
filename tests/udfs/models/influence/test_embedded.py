"""The embedded pair: what is shipped, where it is found, and that it sees what was planted (benchmarks tell more)."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.udfs.models.influence.planted_figures import (
    Row,
    attended,
    explained,
    field,
    first_share,
    gap_auc,
    measured,
    scorer,
)
from udfs.models.influence import shipped
from udfs.models.influence.pair import make_scorer
from udfs.models.influence.recipe import text_encoder
from udfs.models.influence.support import pair_files
from udfs.models.influence.training.__main__ import LEARNED, PHASES, SEED, SHAPE
from udfs.models.influence.training.corpus import HELD_OUT, TRAINING, permissive
from udfs.models.loading import LOCAL
from udfs.settings import InfluenceSettings

EMBEDDED = Path(shipped.__file__).parent / "embedded"
SETTINGS = InfluenceSettings(device="cpu")


@pytest.fixture(scope="module")
def provenance() -> dict[str, Any]:
    return dict(json.loads((EMBEDDED / "provenance.json").read_text()))


def test_the_files_are_those_that_the_training_recorded(provenance: dict[str, Any]) -> None:
    digests = {name: hashlib.sha256((EMBEDDED / name).read_bytes()).hexdigest() for name in provenance["sha256"]}
    assert digests == provenance["sha256"]
    assert {name.split("/")[0] for name in digests} == {"short", "long"}
    assert sum(path.stat().st_size for path in EMBEDDED.rglob("*")) <= 16 * 2**20


def test_the_training_that_made_them_is_the_one_in_the_project(provenance: dict[str, Any]) -> None:
    assert provenance["steps_divisor"] == 1 and provenance["seed"] == SEED
    assert provenance["phases"] == {name: [list(each) for each in phase.lengths] for name, phase in PHASES.items()}
    for files in pair_files(SETTINGS):
        config = json.loads((files.folder / "config.json").read_text())
        assert {key: config[key] for key in SHAPE} == SHAPE


def test_the_two_read_alike_and_differ_in_words() -> None:
    """What a training leaves alone is the same in both, to the bit."""
    short, long = (load_file(files.folder / "model.safetensors") for files in pair_files(SETTINGS))
    differ = {name for name, weight in long.items() if not torch.equal(weight, short[name])}
    assert {f"model.layers.1.mlp.{part}_proj.weight" for part in ("gate", "up", "down")} <= differ
    assert all(name.startswith(LEARNED) for name in differ)


def test_the_text_was_permissive_and_is_named(provenance: dict[str, Any]) -> None:
    assert tuple(text["package"].lower() for text in provenance["text"]) == TRAINING
    assert not set(TRAINING) & set(HELD_OUT)
    assert all(permissive(text["licence"]) for text in provenance["text"])
    notes = (EMBEDDED / "README.md").read_text()
    assert all(
        f"{text['package']} {text['version']}" in notes and text["licence"] in notes for text in provenance["text"]
    )


def test_the_tokenizer_gives_back_every_text() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(pair_files(SETTINGS)[1].folder, **LOCAL)
    encode = text_encoder(tokenizer)
    for text in ("naïve café 北京 🙂\n\n  two  spaces\t1234", "### Response: <s> </s>", "\ufeff\u200b ‮x"):
        assert tokenizer.decode(encode(text)) == text
        assert tokenizer.bos_token_id not in encode(text)
    assert len(encode("1234")) == 4


def test_a_pair_in_a_zip_is_unpacked_once(tmp_path: Path) -> None:
    """Clusters take our code as a zip, transformers wants a folder; another thing in its place is not used."""
    packed = tmp_path / "longloom.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in (EMBEDDED.parents[2]).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(EMBEDDED.parents[3]))
    code = """
from udfs.models.loading import LOCAL
from udfs.settings import InfluenceSettings
from udfs.models.influence import support
print(support.__file__)
for files in support.pair_files(InfluenceSettings()):
    print(files.folder)
"""

    def found() -> list[str]:
        environment = {"PYTHONPATH": str(packed), "TMPDIR": str(tmp_path)}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        ).stdout.splitlines()

    module, *places = found()
    assert module.startswith(str(packed))
    for role, place in zip(("short", "long"), places, strict=True):
        for path in (EMBEDDED / role).iterdir():
            assert (Path(place) / path.name).read_bytes() == path.read_bytes()
    assert found()[1:] == places
    (Path(places[0]) / "config.json").write_text("{}")
    assert found()[1] != places[0] and found()[2] == places[1]


def test_it_works_in_half_precision() -> None:
    make_scorer(SETTINGS.model_copy(update={"dtype": "bfloat16"}), torch.device("cpu"))


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return measured(scorer(SETTINGS), field(SETTINGS).samples(16, 2_048, seed=11))


def test_it_tells_answers_from_far_back_from_others(rows: list[Row]) -> None:
    assert gap_auc(rows, lambda row: not row["reworded"]) >= 0.95
    assert gap_auc(rows, lambda row: bool(row["reworded"])) >= 0.9


def test_it_finds_the_segment_that_holds_the_fact(rows: list[Row]) -> None:
    said = [row for row in rows if not row["reworded"]]
    assert first_share(said, explained) >= 0.95
    assert max(first_share(rows, partial(attended, layer=layer)) for layer in (0, 1)) >= 0.95
