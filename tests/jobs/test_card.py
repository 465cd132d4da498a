"""The exported folder: splits by document, a card that the datasets library reads, and nothing sent unasked."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from httpx import ConnectError
from pyspark.sql import SparkSession

from jobs import export
from jobs.runtime import publishing
from jobs.runtime.errors import LongloomError, SettingsFault
from jobs.runtime.exporting import FORMATS, write, write_card
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


CLAIMS_OF_OURS = ("after WildLong", "a teacher answers", "located", "Quotes", "onversations", "ocuments of the fitting")


@pytest.mark.spark
def test_rows_made_elsewhere_are_split_by_their_text_and_told_as_such(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three papers, several questions about two of them, each an imported row of its own."""
    papers = {"i1": "one", "i2": "two", "i3": "one", "i4": "one", "i5": "three", "i6": "two"}
    given = {"paradigm": "imported", "evidence": [], "grounded_share": None, "generator": None, "messages": TURNS}
    samples = [
        sample(f"s-{name}", "single", "paper", "", (10, 2, 2), parent_ids=[name], context=f"Paper {paper}.",
               documents=[document("d1", 0, 10) | {"doc_id": name}], **given)
        for name, paper in papers.items()
    ]  # fmt: skip
    rows = {
        "source_files": [{"id": "f1"}],
        "imports": [{"id": name, "record_id": f"r-{name}", "split": "last_block"} for name in papers],
        "samples": samples,
        "training_set": [chosen(one["id"], "single", "paper", 14, []) | {"teacher": None} for one in samples],
    }
    tables = SmallTables(small_session(spark), rows)
    out = tmp_path / "sft"
    write(tables, str(out), ["parquet"], 0.5)
    write_card(tables, str(out), "read in")
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    import datasets

    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    sides = {split: {papers[row["record_id"][2:]] for row in part} for split, part in loaded.items()}
    assert sides.keys() == {"train", "test"} and not sides["train"] & sides["test"]
    assert set(loaded["train"].column_names) >= {"id", "record_id"}
    assert not set(loaded["train"].column_names) & {"context", "together", "position"}

    text = (out / "README.md").read_text(encoding="utf-8")
    assert [claim for claim in CLAIMS_OF_OURS if claim in text] == []
    assert "synthetic" not in text
    for sentence in (
        "made elsewhere and read in",
        "Made by context: rows over the same text",
        "wrote none of them",
        "GATEAU (arXiv 2410.15633)",
        "longloom did not check them",
        "| training set | A | MIT | 6 | 6,000 |",
    ):
        assert sentence in text


@pytest.mark.spark
def test_json_lines_load_where_a_field_is_first_stated_late(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first licence, language and model beyond what a loader reads to learn the columns (10 MB)."""
    long = [{"role": "user", "content": "word " * 1_200_000}, TURNS[1]]
    unknown = {"language": None, "generator": None}
    samples = [
        sample(f"s{n}", "single", "report", "w1", (10, 2, 2), messages=long, **(unknown if n < 4 else {}),
               documents=[document("d2" if n < 4 else "d1", 0, 10)])
        for n in range(5)
    ]  # fmt: skip
    order = [chosen(f"s{n}", "single", "report", 14, ["d1"]) | {"position": n} for n in range(5)]
    write(SmallTables(small_session(spark), {"samples": samples, "training_set": order}), str(tmp_path / "o"), FORMATS)
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    import datasets

    loaded = datasets.load_dataset(str(tmp_path / "o" / "jsonl"), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["documents"][0]["licence"] for row in loaded] == ["", "", "", "", "MIT"]
    assert loaded["language"][:] == ["", "", "", "", "en"] and loaded["model"][:] == ["", "", "", "", "m"]
    typed = datasets.load_dataset(str(tmp_path / "o" / "parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert typed["language"][:] == [None, None, None, None, "en"], "what is typed keeps its nulls"


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
    monkeypatch.setattr("jobs.runtime.session.build_session", lambda name: pytest.fail("Spark was started"))
    assert export.main(["--root", "r", "--out", "memory://rows", "--card", "--push", "me/my rows"]) == 2
    told = capsys.readouterr().err
    assert "--push me/my rows: the environment variable HF_TOKEN is not set" in told
    assert "--push me/my rows: memory://rows is no folder of this machine" in told
    assert "--push me/my rows: Repo id must use alphanumeric chars" in told
    with pytest.raises(SettingsFault, match="the environment variable HF_TOKEN is not set"):
        publishing.push(str(exported_nowhere), "me/rows", "HF_TOKEN")


def test_push_makes_a_private_dataset_of_the_folder(exported_nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    sent: list[tuple[str, dict[str, Any]]] = []
    failing: list[Exception] = []

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
                raise failing.pop()
            sent.append(("upload", given))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setenv("HUB_TOKEN", "secret")
    assert publishing.push(str(exported_nowhere), "me/rows", "HUB_TOKEN") == "https://hub/me/rows"
    assert sent[0] == ("me/rows", {"repo_type": "dataset", "private": True, "exist_ok": True})
    assert sent[1][1]["folder_path"] == str(exported_nowhere)
    for error, words in (
        (OSError("no route"), "OSError: no route"),
        (ConnectError("refused"), "ConnectError: refused"),
    ):
        failing.append(error)
        with pytest.raises(LongloomError, match=f"--push me/refused: {words}; what was exported stands in "):
            publishing.push(str(exported_nowhere), "me/refused", "HUB_TOKEN")
    before = len(sent)
    with pytest.raises(SettingsFault, match="--push me/public: it is there already and public"):
        publishing.push(str(exported_nowhere), "me/public", "HUB_TOKEN")
    assert [what for what, _ in sent[before:]] == ["me/public"], "nothing was uploaded"


@pytest.fixture
def exported_nowhere(tmp_path: Path) -> Path:
    return tmp_path
