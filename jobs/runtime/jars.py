"""Fetches the jars of `infra/jars.lock` into `.jars/` and checks them.

Spark's own Ivy resolves them (no repository address stands in our files); nothing that does not have
the locked hash ever reaches `.jars/`. Run as `python -m jobs.runtime.jars`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jobs.runtime import checkout
from jobs.runtime.java import find_java

OFFLINE = "LONGLOOM_JARS"  # a folder that already holds the jar files: nothing is downloaded
ATTEMPTS = 2


class JarError(Exception):
    """The jars could not be had, or are not the locked ones. The message says what to do."""


@dataclass(frozen=True)
class Jar:
    """One file of the class path."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class JarLock:
    """What `infra/jars.lock` says."""

    packages: tuple[str, ...]
    excludes: tuple[str, ...]
    graphframes: str  # the coordinate clusters use
    jars: tuple[Jar, ...]


def read_lock(path: Path = checkout.JAR_LOCK) -> JarLock:
    """Parse the lock file (TOML)."""
    lock = tomllib.loads(path.read_text(encoding="utf-8"))
    return JarLock(
        packages=tuple(lock["packages"]),
        excludes=tuple(lock["excludes"]),
        graphframes=lock["cluster"]["graphframes"],
        jars=tuple(Jar(jar["file"], jar["bytes"], jar["sha256"]) for jar in lock["jars"]),
    )


def jar_paths(lock: JarLock | None = None, folder: Path = checkout.JARS) -> list[Path]:
    """The locked files in `folder`, in the lock's order; whether they are there is `faults`' to say."""
    return [folder / jar.file for jar in (lock or read_lock()).jars]


def faults(lock: JarLock, folder: Path, hashes: bool) -> list[str]:
    """What is wrong with each file of the lock in `folder`: missing, another size, another hash.

    Sizes are always compared (a torn copy); hashes, which read 80 MB, only on demand.
    """
    found = []
    for jar in lock.jars:
        path = folder / jar.file
        if not path.is_file():
            found.append(f"{jar.file} is missing")
        elif path.stat().st_size != jar.bytes:
            found.append(f"{jar.file} has {path.stat().st_size} bytes, locked are {jar.bytes}")
        elif hashes and sha256(path) != jar.sha256:
            found.append(f"{jar.file} does not have the locked sha256 {jar.sha256[:12]}…")
    return found


def fetch(lock: JarLock, folder: Path, environment: Mapping[str, str]) -> None:
    """Make `folder` hold every locked file; what is there and right is kept.

    Raises JarError when a source cannot be reached or its files are not the locked ones (after one retry).
    """
    if not faults(lock, folder, hashes=True):
        return
    offline = environment.get(OFFLINE)
    for attempt in range(1, ATTEMPTS + 1):
        with tempfile.TemporaryDirectory(prefix="longloom-jars-") as temporary:
            try:
                source = Path(offline) if offline else resolve(lock, Path(temporary), environment)
                require(lock, source)
                adopt(lock, source, folder)
                return
            except JarError:
                if offline or attempt == ATTEMPTS:
                    raise


def resolve(lock: JarLock, temporary: Path, environment: Mapping[str, str]) -> Path:
    """Let spark-submit resolve the packages into a fresh Ivy folder; the folder with the flat copies."""
    home, java = checkout.spark_home(), find_java(environment)
    if home is None:
        raise JarError("pyspark is not installed in this Python: run `make setup`.")
    if java is None or not java.supported:
        raise JarError("No Java 17 or newer was found: install one (`.venv/bin/python jobs/doctor.py` says how).")
    nothing = temporary / "nothing.py"
    nothing.write_text("", encoding="utf-8")
    command = [str(home / "bin" / "spark-submit"), "--master", "local[1]"]
    command += ["--packages", ",".join(lock.packages)]
    command += ["--conf", f"spark.jars.excludes={','.join(lock.excludes)}"]
    command += ["--conf", f"spark.jars.ivy={temporary / 'ivy'}", str(nothing)]
    own = {"SPARK_HOME": str(home), "JAVA_HOME": str(java.home), "PYSPARK_PYTHON": sys.executable}
    run = subprocess.run(
        command, env={**environment, **own}, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if run.returncode != 0:
        raise JarError(
            f"Spark could not resolve {', '.join(lock.packages)} (spark-submit ended with {run.returncode}). "
            f"Is a Maven repository reachable? Without one, put the files of infra/jars.lock into a folder and "
            f"set {OFFLINE} to it. The last lines were:\n{last_lines(run.stdout + run.stderr)}"
        )
    return temporary / "ivy" / "jars"


def require(lock: JarLock, source: Path) -> None:
    """Raise JarError naming every file of `source` that is not the locked one."""
    wrong = faults(lock, source, hashes=True)
    if wrong:
        raise JarError(
            f"The jars from {source} are not the ones of infra/jars.lock: {'; '.join(wrong)}. "
            "Nothing was put into .jars/. A repository that serves other bytes is not to be trusted; "
            "if the lock itself is meant to change, edit it on purpose."
        )


def adopt(lock: JarLock, source: Path, folder: Path) -> None:
    """Copy the locked files into `folder`; each appears there whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    for jar in lock.jars:
        partial = folder / f".{jar.file}.{os.getpid()}"
        shutil.copyfile(source / jar.file, partial)
        partial.replace(folder / jar.file)


def sha256(path: Path) -> str:
    """Hash of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def last_lines(text: str, n: int = 12) -> str:
    """The end of a log, where the reason stands."""
    return "\n".join(line for line in text.strip().splitlines()[-n:])


def main() -> int:
    """Fetch, and say what is there."""
    lock = read_lock()
    try:
        fetch(lock, checkout.JARS, os.environ)
    except JarError as error:
        print(f"jars: {error}", file=sys.stderr)
        return 1
    print(f"jars: {len(lock.jars)} files in {checkout.JARS.name}/, hashes as locked")
    return 0


if __name__ == "__main__":
    sys.exit(main())
