"""Finds a Java that this Spark can run on.

Reads the machine only: nothing is installed, and no JVM is started when the installation says its version itself.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST = 17
NEWEST = 21  # newer ones may work, but nobody runs this Spark line on them
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"  # where PATH is empty

# Folders whose children are Java homes, for machines where neither JAVA_HOME nor PATH names one.
HOMES = (
    "/usr/lib/jvm/*",
    "/opt/java/*",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
)


@dataclass(frozen=True)
class Java:
    """One Java installation: its home and its major version."""

    home: Path
    version: int

    @property
    def supported(self) -> bool:
        """Whether Spark can run on it."""
        return self.version >= OLDEST


def find_java(environment: Mapping[str, str], homes: tuple[str, ...] = HOMES) -> Java | None:
    """The first Java between 17 and 21, else the first newer one, else any (too old) one, else None.

    JAVA_HOME is asked first, then PATH, then the usual folders of the system.
    """
    found = list(installed(environment, homes))
    tested = [java for java in found if OLDEST <= java.version <= NEWEST]
    supported = [java for java in found if java.supported]
    return next(iter(tested or supported or found), None)


def installed(environment: Mapping[str, str], homes: tuple[str, ...] = HOMES) -> Iterator[Java]:
    """Every Java that can be told a version of, in the order of preference."""
    seen = set()
    for home in candidate_homes(environment, homes):
        if home in seen:
            continue
        seen.add(home)
        version = java_version(home)
        if version is not None:
            yield Java(home, version)


def candidate_homes(environment: Mapping[str, str], homes: tuple[str, ...]) -> Iterator[Path]:
    """Folders that hold `bin/java`."""
    named = environment.get("JAVA_HOME")
    if named and (Path(named) / "bin" / "java").is_file():
        yield Path(named)
    on_path = shutil.which("java", path=environment.get("PATH") or SEARCH_PATH)
    if on_path:
        yield Path(on_path).resolve().parents[1]
    for pattern in homes:
        for folder in sorted(Path("/").glob(pattern.lstrip("/"))):
            if (folder / "bin" / "java").is_file():
                yield folder.resolve()


def java_version(home: Path) -> int | None:
    """The major version, from the installation's `release` file or, failing that, from `java -version`."""
    release = home / "release"
    if release.is_file():
        found = re.search(r'^JAVA_VERSION="?([^"\n]+)', release.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return major(found.group(1))
    try:
        told = subprocess.run(
            [str(home / "bin" / "java"), "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "([^"]+)"', told.stderr)
    return major(found.group(1)) if found else None


def major(version: str) -> int | None:
    """17 for "17.0.15", 8 for "1.8.0_402", None for what is no version."""
    numbers = re.findall(r"\d+", version)
    if not numbers:
        return None
    return int(numbers[1]) if numbers[0] == "1" and len(numbers) > 1 else int(numbers[0])
