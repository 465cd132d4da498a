"""The doctor's findings, each with the command that mends it; and the Java that is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.doctor import main, table
from jobs.runtime import checkout, health
from jobs.runtime.health import (
    Finding,
    available_memory,
    check_models,
    check_pair,
    check_settings,
    check_teacher,
    full,
    quick,
    threshold,
)
from jobs.runtime.java import find_java, installed, major

NOWHERE = {"PATH": "/nowhere"}


def java_home(folder: Path, version: str, release: bool = True) -> Path:
    """A folder that looks like a Java installation; without `release` its java tells the version."""
    (folder / "bin").mkdir(parents=True)
    program = folder / "bin" / "java"
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    program.chmod(0o755)
    if release:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("told", "number"), [("17.0.15", 17), ("1.8.0_402", 8), ("21", 21), ("24-ea", 24), ("", None), ("x", None)]
)
def test_major_version(told: str, number: int | None) -> None:
    assert major(told) == number


@pytest.mark.parametrize("release", [True, False])
def test_java_tells_its_version(tmp_path: Path, release: bool) -> None:
    home = java_home(tmp_path / "jdk", "17.0.9", release)
    java = find_java({"JAVA_HOME": str(home), **NOWHERE}, homes=())
    assert java is not None and (java.home, java.version) == (home, 17)


def test_a_fitting_java_is_preferred_to_the_named_one(tmp_path: Path) -> None:
    old, new = java_home(tmp_path / "jdk-11", "11.0.2"), java_home(tmp_path / "jdk-21", "21.0.1")
    environment = {"JAVA_HOME": str(old), **NOWHERE}
    homes = (f"{tmp_path}/jdk-*",)
    found = find_java(environment, homes)
    assert found is not None and found.home == new
    assert [java.version for java in installed(environment, homes)] == [11, 21]


def test_java_from_path_and_none_at_all(tmp_path: Path) -> None:
    home = java_home(tmp_path / "jdk", "17.0.9")
    found = find_java({"PATH": str(home / "bin")}, homes=())
    assert found is not None and found.home == home
    assert find_java(NOWHERE, homes=()) is None


def test_an_old_java_and_a_missing_one_are_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = java_home(tmp_path / "jdk", "11.0.2")
    monkeypatch.setattr(health, "find_java", lambda environment: find_java(environment, homes=()))
    old = health.check_java({"JAVA_HOME": str(home), **NOWHERE})
    assert old.state == "bad" and "11 in" in old.detail and "openjdk-17" in old.mend
    missing = health.check_java(NOWHERE)
    assert missing.state == "bad" and "openjdk-17" in missing.mend


def test_a_java_nobody_tested_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = java_home(tmp_path / "jdk", "25")
    monkeypatch.setattr(health, "find_java", lambda environment: find_java(environment, homes=()))
    assert health.check_java({"JAVA_HOME": str(home), **NOWHERE}).state == "note"


def test_gpus_are_told_and_missed_only_where_they_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tmp_path / "gpu.yaml"
    wanted.write_text("influence: {device: cuda}\nembedder: {device: auto}\n", encoding="utf-8")
    assert health.wants_gpu(wanted) == ["influence.device"] and health.wants_gpu(None) == []
    none = health.check_gpu([], "13.0", [])
    assert none.state == "good" and "run on the CPU" in none.detail
    missing = health.check_gpu([], "13.0", ["influence.device"])
    assert missing.state == "bad" and "influence.device is cuda, and there is none" in missing.detail and missing.mend
    assert health.check_gpu(["H200", "H200"], "13.0", []) == Finding(
        "gpu", "good", "H200, H200; torch is built for CUDA 13.0"
    )
    assert health.check_gpu(["H200"], None, []).state == "note"
    assert health.check_gpu(["H200"], None, ["influence.device"]).state == "bad"

    import torch

    assert health.torch_cuda() == torch.version.cuda
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H200'\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert health.gpus() == ["NVIDIA H200"]
    tool.unlink()
    assert health.gpus() == []


def test_missing_jars_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "JARS", tmp_path / ".jars")
    found = health.check_jars(hashes=False)
    assert found.state == "bad" and "is missing" in found.detail and "make setup" in found.mend


def test_a_missing_model_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(health.MODEL_FILES, "encoder", ("no_such_package_here", ("x",)))
    monkeypatch.setitem(health.MODEL_FILES, "tokenizer", ("litellm", ("no-such-file",)))
    assert health.check_model("encoder").mend == "make setup"
    assert "lacks no-such-file" in health.check_model("tokenizer").detail


def test_quantities() -> None:
    states = [threshold("disk", have, 1.0, 5.0, "free", "free some").state for have in (0.5, 3.0, 9.0)]
    assert states == ["bad", "note", "good"]


def test_memory_of_a_container(tmp_path: Path) -> None:
    proc = tmp_path / "meminfo"
    proc.write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n", encoding="ascii")
    assert available_memory(proc, tmp_path) == 8.0
    (tmp_path / "memory.max").write_text(f"{3 * 1024**3}\n", encoding="ascii")
    (tmp_path / "memory.current").write_text(f"{1024**3}\n", encoding="ascii")
    assert available_memory(proc, tmp_path) == 2.0
    (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
    assert available_memory(proc, tmp_path) == 8.0
    assert available_memory(tmp_path / "none", tmp_path) is None


def test_a_disk_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert health.check_disk(str(tmp_path / "a" / "b")).state == "bad"
    assert health.check_disk("memory://bucket/root").state == "good"
    monkeypatch.setitem(sys.modules, "s3fs", None)  # as where it is not installed
    missing = health.check_disk("s3a://bucket/root")
    assert missing.state == "bad" and "install s3fs for the driver and every executor" in missing.detail


@pytest.mark.parametrize(
    ("text", "environment", "states"),
    [
        ("llm: {teacher: offline}", {}, ["good"]),
        ("seed: 1", {}, ["good"]),
        ("llm: {teacher: openai, api_key_env: MY_KEY}", {"MY_KEY": "x"}, ["good"]),
        ("llm: {teacher: openai, api_key_env: MY_KEY}", {}, ["bad"]),
        ("llm: {teacher: openai, api_key_env: ''}", {}, ["good"]),
        ("llm: {teacher: openai, base_url: 'localhost:1'}", {"OPENAI_API_KEY": "x"}, ["bad", "good"]),
        ("llm: [", {}, ["bad"]),
    ],
)
def test_teacher(tmp_path: Path, text: str, environment: dict[str, str], states: list[str]) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(text, encoding="utf-8")
    assert [finding.state for finding in check_teacher(config, environment)] == states


def test_settings_are_checked_as_a_run_does(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        "targetz: {single: 1}\nwalks: {nodes: 99}\nllm: {teacher: openai, api_key_env: MY_KEY}", encoding="utf-8"
    )
    found = check_settings(config, str(tmp_path))
    assert [finding.state for finding in found] == ["bad", "bad"]
    assert "walks.nodes" in found[0].detail and "targetz: unknown key; did you mean 'targets'?" in found[1].detail
    config.write_text("llm: {teacher: openai, api_key_env: MY_KEY}", encoding="utf-8")
    states = [finding.state for finding in check_settings(config, str(tmp_path))]
    assert states == ["good"], "that the key is missing is told with the teacher"
    config.write_text("seed: 1", encoding="utf-8")
    assert [finding.state for finding in check_settings(config, str(tmp_path))] == ["good"]
    config.write_text("embedder: 3", encoding="utf-8")
    assert [finding.state for finding in check_settings(config, str(tmp_path))] == ["bad"]
    assert check_models(config) == [] and health.wants_gpu(config) == []


def test_named_models_are_looked_for(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("tokenizer: {name: ./nowhere}\nembedder: {name: ./nowhere}", encoding="utf-8")
    found = check_models(config)
    assert [(one.name, one.state) for one in found] == [("tokenizer", "bad"), ("embedder", "bad")]
    assert all("nowhere" in one.detail and one.mend for one in found)
    config.write_text("embedder: {name: embedded}", encoding="utf-8")
    assert check_models(config) == []


def test_a_pair_is_looked_for_where_it_is_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("influence: {short_model: ./nowhere}", encoding="utf-8")
    assert check_pair(config) == [], "nothing is selected by influence"
    config.write_text("selection: {by: influence}\ninfluence: {short_model: ./nowhere}", encoding="utf-8")
    (missing,) = check_pair(config)
    assert missing.state == "bad" and "there is no such folder" in missing.detail and "mount" in missing.mend
    config.write_text("selection: {by: influence}\ninfluence: {segment_tokens: 0}", encoding="utf-8")
    (wrong,) = check_pair(config)
    assert wrong.state == "bad" and "segment_tokens" in wrong.detail


def test_a_key_is_never_printed(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("llm: {teacher: openai}", encoding="utf-8")
    assert "sk-secret" not in table(check_teacher(config, {"OPENAI_API_KEY": "sk-secret"}))


def test_this_machine_is_well_and_quickly_told() -> None:
    start = time.process_time()  # a busy machine takes longer by the clock
    findings = quick(os.environ)
    assert time.process_time() - start < 0.5
    assert [finding for finding in findings if finding.state == "bad"] == []


def test_full_finds_everything_here(tmp_path: Path) -> None:
    findings = {finding.name: finding for finding in full(os.environ, str(tmp_path), None)}
    assert set(findings) == {"python", "spark", "java", "jars", "encoder", "tokenizer", "disk", "memory", "gpu"}
    assert "hashes as locked" in findings["jars"].detail
    assert {findings[name].state for name in ("python", "spark", "java", "jars", "encoder", "tokenizer")} == {"good"}


def test_table_and_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    findings = [Finding("java", "good", "17"), Finding("jars", "bad", "gone", "make setup")]
    monkeypatch.setattr("jobs.doctor.quick", lambda environment: findings)
    assert main(["--quick"]) == 1
    assert capsys.readouterr().out.splitlines() == ["ok    java  17", "MEND  jars  gone", "            -> make setup"]
    monkeypatch.setattr("jobs.doctor.quick", lambda environment: findings[:1])
    assert main(["--quick"]) == 0


def test_as_a_user_types_it() -> None:
    """Plain Python, no environment at all, no heavy import."""
    command = [sys.executable, "-X", "importtime", str(checkout.CHECKOUT / "jobs" / "doctor.py"), "--quick"]
    run = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert not {"pyspark", "pandas", "torch", "yaml"} & {
        line.split("|")[-1].strip() for line in run.stderr.splitlines()
    }


def test_a_foreign_python_is_told_what_to_do() -> None:
    """`-S` leaves out site-packages, as a Python without this project would."""
    command = [sys.executable, "-S", str(checkout.CHECKOUT / "jobs" / "doctor.py")]
    run = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert run.returncode == 1 and "make setup" in run.stderr


def test_a_root_whose_name_no_file_system_takes_is_told(tmp_path: Path) -> None:
    told = health.unwritable(str(tmp_path / ("x" * 300) / "root"))
    assert told is not None and "too long" in told
    assert health.check_disk(str(tmp_path / ("x" * 300))).state == "bad"
