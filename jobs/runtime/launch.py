"""Turns a spark-submit command line into the one that works from this checkout, and becomes it.

pip's own spark-submit dies without an activated environment and its workers take `python3` from PATH.
This looks at the options only; it never reads what the job is about.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from jobs.runtime import checkout
from jobs.runtime.errors import SettingsFault
from jobs.runtime.health import quick
from jobs.runtime.jars import jar_paths
from jobs.runtime.java import SEARCH_PATH, find_java

FLAGS = frozenset({"--help", "-h", "--verbose", "-v", "--version", "--supervise"})  # options without a value
# Spark forks workers from one process for each environment, and keeps the idle ones of each. The variable is one that
# it sets for some workers itself: given to all of them there is one environment.
ONE_ENVIRONMENT = {"spark.executorEnv.SPARK_SIMPLIFIED_TRACEBACK": "1"}
# Where executors share this machine that process has made the slow imports once. Elsewhere it starts before the code
# reaches it, unless the wheel is installed there.
DAEMON = "spark.python.daemon.module"
WORKER_DAEMON = {DAEMON: "udfs.worker_daemon", **ONE_ENVIRONMENT}
# The first MERGE or DELETE makes this folder, which stays empty (tables are found by path): not where the user stands.
WAREHOUSE = {"spark.sql.warehouse.dir": (Path(tempfile.gettempdir()) / "longloom-warehouse").as_uri()}
OWN_PYTHON = "spark.pyspark.python"  # another interpreter gets our code with the job, after that process has started
TERMINAL = "LONGLOOM_TERMINAL"  # columns of the terminal: spark-submit gives a job a pipe, never the terminal
# Who names one of these brings the Delta jars too.
OWN_JARS = frozenset(
    {"--jars", "--packages", "--driver-class-path", "spark.jars", "spark.jars.packages", "spark.driver.extraClassPath"}
)


@dataclass(frozen=True)
class Launch:
    """What to become: the program with its arguments, and its environment."""

    command: list[str]
    environment: dict[str, str]


def main(arguments: Sequence[str]) -> NoReturn:
    """Check the machine, then replace this process; ends with status 2 when something must be mended first."""
    environment = dict(os.environ)
    try:
        require_machine(environment)
    except SettingsFault as fault:
        print(f"spark-submit: {fault}", file=sys.stderr)
        sys.exit(fault.exit_status)
    if sys.stdout.isatty():
        environment[TERMINAL] = str(os.get_terminal_size(sys.stdout.fileno()).columns)
    launch = prepare(arguments, environment)
    os.execve(launch.command[0], launch.command, launch.environment)


def require_machine(environment: Mapping[str, str]) -> None:
    """Raise SettingsFault with all that a JVM needs and is not here, each with the command that mends it."""
    broken = [finding for finding in quick(environment) if finding.state == "bad"]
    if broken:
        raise SettingsFault([f"{finding.name}: {finding.detail}\n  -> {finding.mend}" for finding in broken])


def prepare(arguments: Sequence[str], environment: Mapping[str, str]) -> Launch:
    """The command and environment of Spark's launcher. The machine has passed the quick checks."""
    home, java = checkout.spark_home(), find_java(environment)
    assert home is not None and java is not None  # the quick checks have told
    options, job = split_options(arguments)
    given = dict(read_options(options))
    if "--properties-file" not in given and "SPARK_CONF_DIR" not in environment:
        given["--properties-file"] = str(checkout.SPARK_DEFAULTS)
        options += ["--properties-file", given["--properties-file"]]
    path = Path(given.get("--properties-file", ""))
    given = (read_confs(path) if path.is_file() else {}) | given
    master = given.get("--master") or given.get("spark.master", "local[*]")
    local = is_local(master)
    own_jars = not OWN_JARS.isdisjoint(given)
    if not own_jars:
        paths = [str(path) for path in jar_paths()]
        # `--jars` copies 80 MB per session to executors, which one JVM can spare itself.
        options += ["--driver-class-path", ":".join(paths)] if local else ["--jars", ",".join(paths)]
    own = ONE_ENVIRONMENT | ((WAREHOUSE | ({} if OWN_PYTHON in given else WORKER_DAEMON)) if local else {})
    for key in sorted(own.keys() - given.keys()):
        options += ["--conf", f"{key}={own[key]}"]
    return Launch(
        [str(home / "bin" / "spark-submit"), *options, *job],
        {
            **defaults(environment, master),
            **{name: value for name, value in environment.items() if value},
            "SPARK_SUBMIT_OPTS": jvm_options(environment, archive=local and not own_jars),
            "SPARK_HOME": str(home),  # a stranger's Spark in the caller's environment would be another version
            "JAVA_HOME": str(java.home),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            # Compiling torch and the rest anew takes every process ten seconds; the environment is this checkout's own.
            "PYTHONDONTWRITEBYTECODE": "",
        },
    )


def split_options(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Spark's options, and the job's file with the arguments that are its own."""
    position = 0
    while position < len(arguments) and arguments[position].startswith("-"):
        lone = arguments[position] in FLAGS or "=" in arguments[position]
        position += 1 if lone else 2
    return list(arguments[:position]), list(arguments[position:])


def read_options(options: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every option with its value; a `--conf key=value` counts as the option `key`."""
    rest = iter(options)
    for option in rest:
        name, equals, value = option.partition("=")
        if not equals and option not in FLAGS:
            value = next(rest, "")
        if name in {"--conf", "-c"}:
            name, _, value = value.partition("=")
        yield name, value


def is_local(master: str) -> bool:
    """One JVM for driver and executors (`local-cluster[…]` is several)."""
    return master == "local" or master.startswith("local[")


def defaults(environment: Mapping[str, str], master: str) -> dict[str, str]:
    """What is set only where the caller's environment says nothing."""
    values = {
        "PATH": SEARCH_PATH,
        "PYTHONUTF8": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if not any(environment.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        values["LC_ALL"] = "C.UTF-8"  # in the C locale a JVM cannot name files beyond ASCII
    if master.startswith("local"):  # `local-cluster` too
        values["SPARK_LOCAL_IP"] = "127.0.0.1"
    return values


def jvm_options(environment: Mapping[str, str], archive: bool) -> str:
    """SPARK_SUBMIT_OPTS: our logging and, where the class path is the one it was made on, the class archive.

    The archive takes a small session from 10.5 to 6.6 seconds; a JVM that finds it unfit runs without it.
    """
    options = environment.get("SPARK_SUBMIT_OPTS", "").split()
    own = [f"-Dlog4j2.configurationFile={checkout.LOG4J.as_uri()}"]
    if archive and checkout.class_archive().is_file():
        own += ["-Xlog:cds=off", "-Xlog:cds+dynamic=off", f"-XX:SharedArchiveFile={checkout.class_archive()}"]
    return " ".join(options + [option for option in own if option not in options])


def read_confs(path: Path) -> dict[str, str]:
    """Parse a Spark properties file: `key value` lines, `#` comments."""
    confs: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            key, value = line.split(None, 1)
            confs[key] = value.strip()
    return confs


if __name__ == "__main__":
    main(sys.argv[1:])
