"""The exported folder: splits by document, a card that the datasets library reads, and nothing sent unasked."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from pyspark.sql import SparkSession

from jobs import export
from jobs.runtime import publishing
from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.exporting import write, write_card
from tests.sql.small_root import ROWS, SmallTables, chosen, document, sample, small_session, span

TURNS = [{"role": "user", "content": "a | b"}, {"role": "assistant", "content": "c"}]


@pytest.fixture(scope="module")
def exported(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four rows over three documents, one of them apart from the others, exported with a card."""
    facts = {"documents": [document("d2", 0, 50) | {"doc_id": "d9"}], "evidence": [span("d9", 20, 40)]}
    apart = sample("s9", "single", "report", "w1", (10, 2, 2), **facts)
    rows = ROWS | {
        "samples": [{**row, "messages": TURNS} for row in [*ROWS["samples"], apart]],
        "training_set": [*ROWS["training_set"], chosen("s9", "single", "report", 14, ["d9"])],
    }
    tables = SmallTables(small_session(spark), rows)
    out = tmp_path_factory.mktemp("export") / "sft"
    assert write(tables, str(out), ["jsonl", "parquet"], 0.3) == {"jsonl": 4, "parquet": 4}
    write_card(tables, str(out), "small rows")
    return out


@pytest.mark.spark
def test_the_folder_loads_with_its_splits(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    import datasets

    loaded = datasets.load_dataset(str(exported), cache_dir=str(tmp_path))
    assert {split: sorted(rows["id"]) for split, rows in loaded.items()} == {
        "train": ["s1", "s2", "s3"],
        "test": ["s9"],
    }
    assert loaded["test"][0]["messages"] == TURNS
    assert loaded["test"][0]["documents"][0]["doc_id"] == "d9"
    assert loaded["train"].features["n_tokens"].dtype == "int64"


@pytest.mark.spark
def test_the_card_says_what_it_is_and_what_it_is_not(exported: Path) -> None:
    head, _, body = (exported / "README.md").read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    matter: dict[str, Any] = yaml.safe_load(head)
    assert matter["language"] == ["en"] and matter["size_categories"] == ["n<1K"] and matter["license"] == "other"
    assert matter["dataset_info"]["splits"] == [
        {"name": "train", "num_examples": 3},
        {"name": "test", "num_examples": 1},
    ]
    for sentence in (
        "# small rows\n\n4 rows (3 single, 1 multi) of 1 document type",
        "> **Note.** Rows of the teacher “offline”",
        "| training set | A | MIT | 3 | 3,000 |",
        "| samples | rejected | ungrounded | 1 |",
        "| samples | offline | m | p3 | 5 |",
        "## Decontamination\n\nNone was run",
        "for testing the pipeline only",
    ):
        assert sentence in body


def test_nothing_is_pushed_without_a_card_or_a_token(
    capsys: pytest.CaptureFixture[str], exported_nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--root", "r", "--out", str(exported_nowhere), "--test-share", "1.5", "--push", "me/rows"]
    assert export.main(given) == 2
    told = capsys.readouterr().err
    assert "--push: needs --card" in told and "--test-share 1.5: from 0 to less than 1" in told
    assert export.main(["--root", "r", "--out", "nosuch://rows"]) == 2
    assert "--out nosuch://rows: nothing that is installed here opens nosuch:// addresses" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(SettingsFault, match="the environment variable HF_TOKEN is not set"):
        publishing.push(str(exported_nowhere), "me/rows", "HF_TOKEN")


def test_push_makes_a_private_dataset_of_the_folder(exported_nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    sent: list[tuple[str, dict[str, Any]]] = []

    class Hub:
        def __init__(self, token: str) -> None:
            assert token == "secret"

        def create_repo(self, name: str, **given: Any) -> str:
            sent.append((name, given))
            return f"https://hub/{name}"

        def repo_info(self, name: str, repo_type: str) -> SimpleNamespace:
            return SimpleNamespace(private=name != "me/public")

        def upload_folder(self, **given: Any) -> None:
            if given["repo_id"] == "me/refused":
                raise OSError("no route")
            sent.append(("upload", given))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setenv("HUB_TOKEN", "secret")
    assert publishing.push(str(exported_nowhere), "me/rows", "HUB_TOKEN") == "https://hub/me/rows"
    assert sent[0] == ("me/rows", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert sent[1][1]["folder_path"] == str(exported_nowhere)
    with pytest.raises(LongloomError, match="--push me/refused: no route"):
        publishing.push(str(exported_nowhere), "me/refused", "HUB_TOKEN")
    before = len(sent)
    with pytest.raises(SettingsFault, match="--push me/public: it is there already and public"):
        publishing.push(str(exported_nowhere), "me/public", "HUB_TOKEN")
    assert [what for what, _ in sent[before:]] == ["me/public"], "nothing was uploaded"


@pytest.fixture
def exported_nowhere(tmp_path: Path) -> Path:
    return tmp_path
