"""The files of infra/, the Makefile and the CI script: what one of them says, the others agree with."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.runtime.checkout import CHECKOUT
from jobs.runtime.clusters import BROUGHT_BY_DATABRICKS, BROUGHT_BY_EMR, cluster_files, package_name
from jobs.runtime.health import PYTHONS
from jobs.runtime.jars import read_lock

INFRA = CHECKOUT / "infra"
LOCKS = ("requirements-setup", "requirements", "requirements-models", "requirements-dev", "requirements-servers")
TARGETS = ("setup", "demo", "test", "check", "bench", "faults", "cluster", "lock", "clean", "help")


def wanted(name: str) -> set[str]:
    """Packages that an `.in` file names, includes followed."""
    names = set()
    for line in (INFRA / f"{name}.in").read_text(encoding="utf-8").splitlines():
        line = line.partition("#")[0].strip()
        if line.startswith("-r "):
            names |= wanted(line[3:].strip().removesuffix(".in"))
        elif line and not line.startswith("-c "):  # versions alone
            names.add(package_name(line))
    return names


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_and_hash_everything_and_name_no_address(name: str) -> None:
    text = (INFRA / f"{name}.lock").read_text(encoding="utf-8")
    assert "://" not in text and "--index" not in text and "--find-links" not in text
    entries = re.split(r"\n(?=\S)", text.strip())
    assert all(re.match(r"[\w.-]+==\S+", entry) and "--hash=sha256:" in entry for entry in entries)
    pinned = {package_name(entry) for entry in entries}
    assert wanted(name) <= pinned


def test_locks_agree_with_each_other() -> None:
    """One version of a package, whichever of the locks it is installed from."""
    pins: dict[str, set[str]] = {}
    for name in LOCKS:
        for pin in re.findall(r"^(\S+==\S+(?: ;[^\\]*)?)", (INFRA / f"{name}.lock").read_text(encoding="utf-8"), re.M):
            pins.setdefault(package_name(pin) + pin.partition(";")[2].strip(), set()).add(pin.strip())
    assert {name: found for name, found in pins.items() if len(found) > 1} == {}


def test_python_versions_are_the_same_everywhere() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (oldest, beyond) = (".".join(map(str, version)) for version in PYTHONS)
    assert project["requires-python"] == f">={oldest},<{beyond}"
    makefile = (CHECKOUT / "Makefile").read_text(encoding="utf-8")
    assert f"--python-version {oldest} " in makefile
    assert f"not {PYTHONS[0]} <= sys.version_info[:2] < {PYTHONS[1]}" in makefile


# --- clusters ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(cluster_files(read_lock(), INFRA)))
def test_written_files_are_up_to_date(name: str) -> None:
    assert (INFRA / name).read_text(encoding="utf-8") == cluster_files(read_lock(), INFRA)[name], "run `make lock`"


def bundle() -> dict[str, Any]:
    """The Databricks bundle with its include."""
    folder = INFRA / "databricks"
    main: dict[str, Any] = yaml.safe_load((folder / "databricks.yml").read_text(encoding="utf-8"))
    for name in main["include"]:
        included = yaml.safe_load((folder / name).read_text(encoding="utf-8"))
        main["variables"] |= included["variables"]
    return main


def test_bundle_uses_the_locked_coordinate_and_never_delta() -> None:
    made = bundle()
    assert made["variables"]["graphframes"]["default"] == read_lock().graphframes
    text = json.dumps(made)
    assert "delta-spark" not in text and "delta_spark" not in text and "${var.graphframes}" in text


def test_bundle_paths_exist_and_nothing_starts_by_itself() -> None:
    job = bundle()["resources"]["jobs"]["refresh"]
    assert job["schedule"]["pause_status"] == "PAUSED" and job["max_concurrent_runs"] == 1
    for task in job["tasks"]:
        assert (INFRA / "databricks" / task["spark_python_task"]["python_file"]).resolve().is_file()
        named = [library["requirements"] for library in task["libraries"] if "requirements" in library]
        assert all((INFRA / "databricks" / path).is_file() for path in named)
    variables = set(
        re.findall(r"\$\{var\.(\w+)\}", (INFRA / "databricks" / "databricks.yml").read_text(encoding="utf-8"))
    )
    assert variables <= set(bundle()["variables"])


def test_bundle_holds_references_to_secrets_only() -> None:
    (cluster,) = bundle()["resources"]["jobs"]["refresh"]["job_clusters"]
    keys = [value for name, value in cluster["new_cluster"]["spark_env_vars"].items() if "KEY" in name]
    assert keys and all(re.fullmatch(r"\{\{secrets/\w+/\w+\}\}", value) for value in keys)


def test_emr_confs_name_graphframes_and_the_clusters_own_delta() -> None:
    configurations = json.loads((INFRA / "emr" / "configurations.json").read_text(encoding="utf-8"))
    properties = {each["Classification"]: each["Properties"] for each in configurations}
    assert properties["delta-defaults"] == {"delta.enabled": "true"}
    assert properties["spark-defaults"]["spark.jars.packages"] == read_lock().graphframes
    serverless = json.loads((INFRA / "emr" / "serverless.json").read_text(encoding="utf-8"))["sparkSubmit"]
    assert f"spark.jars.packages={read_lock().graphframes} " in serverless["sparkSubmitParameters"]
    job = serverless["entryPoint"].partition("longloom/")[2]
    assert (CHECKOUT / job).is_file()


@pytest.mark.parametrize(
    ("platform", "brought", "clients"),
    [("databricks", BROUGHT_BY_DATABRICKS, set()), ("emr", BROUGHT_BY_EMR, {"s3fs"})],
)
def test_clusters_install_what_they_do_not_bring(platform: str, brought: frozenset[str], clients: set[str]) -> None:
    lines = (INFRA / platform / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {package_name(line) for line in lines if not line.startswith("#")}
    assert named == (wanted("requirements-models") - brought) | clients
    assert {"pyspark", "delta-spark"} <= brought


# --- Makefile, CI, wheel -----------------------------------------------------------------------------------------


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # As typed by a person: run by make itself, it would inherit flags and announce the folders it enters.
    outside = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, env=outside)


def test_help_lists_every_target() -> None:
    listed = make("help").stdout
    assert make().stdout == listed
    assert {line.split()[1] for line in listed.splitlines()} == set(TARGETS)


def test_demo_runs_the_command_of_the_readme_and_ends_with_the_path() -> None:
    printed = make("-n", "demo", "ROOT=somewhere").stdout
    assert "--properties-file infra/spark-defaults.conf jobs/synthesize.py" in printed
    assert "--config infra/conf/demo.yaml --root somewhere --summary somewhere/summary.json" in printed
    assert printed.strip().splitlines()[-1] == "echo somewhere"


def test_ci_runs_everything_and_masks_nothing(tmp_path: Path) -> None:
    """The real script against a Makefile that notes its targets; the third one fails."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(CHECKOUT / ".ci" / "run", tmp_path / ".ci" / "run")
    rule = "setup check demo:\n\t@echo did $@\ntest:\n\t@echo did $@; exit {}\n"
    outcomes = []
    for code in (0, 3):
        (tmp_path / "Makefile").write_text(rule.format(code), encoding="utf-8")
        run = subprocess.run([str(tmp_path / ".ci" / "run")], env={}, capture_output=True, text=True, check=False)
        outcomes.append((run.returncode != 0, re.findall(r"^did (\w+)", run.stdout, re.M)))
    assert outcomes == [(False, ["setup", "check", "test", "demo"]), (True, ["setup", "check", "test"])]


def test_the_wheel_carries_what_executors_need(tmp_path: Path) -> None:
    """Code, queries, prompts and settings of the four packages; neither tests nor infra."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "jobs", "udfs", "graphs", "sql"):
        copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
        copy(CHECKOUT / name, source / name)
    (source / "README.md").touch()
    command = [sys.executable, "-c", "from setuptools.build_meta import build_wheel; print(build_wheel('..'))"]
    run = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2_000:]
    names = set(zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist())
    data = [
        path.relative_to(CHECKOUT).as_posix()
        for folder in ("jobs", "udfs", "graphs", "sql")
        for path in (CHECKOUT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    ]
    assert sorted(set(data) - names) == []
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"jobs", "udfs", "graphs", "sql"}
