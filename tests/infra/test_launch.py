"""The spark-submit wrapper: which command it becomes, and that it works with no environment at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.runtime import checkout, launch
from jobs.runtime.health import Finding
from jobs.runtime.jars import jar_paths
from jobs.runtime.launch import prepare, read_options, split_options

WRAPPER = Path(sys.prefix) / "bin" / "spark-submit"
JOB = """
import os, sys
print("out", os.environ["PYSPARK_PYTHON"], os.environ["SPARK_HOME"], sys.argv[1:], "caf\\u00e9")
if sys.argv[1] == "session":
    from jobs.runtime.session import build_session
    spark = build_session("wrapper-test")
    where = sys.argv[2]
    spark.range(5).mapInArrow(lambda batches: batches, "id long").write.format("delta").save(where)
    print("rows", spark.read.format("delta").load(where).count())
    sys.exit(0)
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.py"
    path.write_text(JOB, encoding="utf-8")
    return path


def submit(
    *arguments: object, environment: dict[str, str] | None = None, cwd: Path | None = None
) -> tuple[int, str, str]:
    run = subprocess.run(
        [str(WRAPPER), *map(str, arguments)],
        env=environment or {},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


# --- the command -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["job.py", "--jars", "x"], 0),
        (["--properties-file", "a.conf", "job.py", "--root", "r"], 2),
        (["--conf=spark.a=1", "-v", "--supervise", "--master", "local[2]", "job.py"], 5),
        (["--version"], 1),
        (["--help"], 1),
    ],
)
def test_options_end_at_the_job(arguments: list[str], options: int) -> None:
    assert split_options(arguments) == (arguments[:options], arguments[options:])


def test_options_are_read_in_both_spellings() -> None:
    given = dict(read_options(["--conf", "spark.a=1=2", "-c", "spark.b=x", "--master=local", "-v", "--name", "n"]))
    assert given == {"spark.a": "1=2", "spark.b": "x", "--master": "local", "-v": "", "--name": "n"}


def test_one_jvm_gets_the_class_path_and_the_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    archive.touch()
    monkeypatch.setattr(checkout, "class_archive", lambda: archive)
    made = prepare(["job.py", "--jars", "mine"], {})
    assert made.command[-3:] == ["job.py", "--jars", "mine"]
    assert "--driver-class-path" in made.command and str(checkout.SPARK_DEFAULTS) in made.command
    assert f"-XX:SharedArchiveFile={archive}" in made.environment["SPARK_SUBMIT_OPTS"]


@pytest.mark.parametrize("master", ["local-cluster[2,1,1024]", "spark://127.0.0.1:7077", "yarn"])
def test_several_jvms_get_the_jars_shipped(master: str) -> None:
    made = prepare(["--master", master, "job.py"], {})
    assert made.command[made.command.index("--jars") + 1].split(",") == [str(path) for path in jar_paths()]
    assert "SharedArchiveFile" not in made.environment["SPARK_SUBMIT_OPTS"]
    assert ("SPARK_LOCAL_IP" in made.environment) is master.startswith("local")
    given = dict(read_options(made.command))
    assert launch.DAEMON not in given and given.items() >= launch.ONE_ENVIRONMENT.items()


@pytest.mark.parametrize("own", [["--jars", "x.jar"], ["--packages", "a:b:1"], ["--conf", "spark.jars.packages=a:b:1"]])
def test_own_jars_are_left_alone(own: list[str]) -> None:
    made = prepare([*own, "job.py"], {})
    assert not any(".jars/" in part for part in made.command)


def test_the_master_of_the_properties_file_counts(tmp_path: Path) -> None:
    confs = tmp_path / "cluster.conf"
    confs.write_text("spark.master  spark://127.0.0.1:7077\n", encoding="utf-8")
    assert "--jars" in prepare(["--properties-file", str(confs), "job.py"], {}).command
    assert "--jars" not in prepare(["--properties-file", str(confs), "--master", "local[2]", "job.py"], {}).command


def test_workers_of_another_python_are_forked_from_nothing_of_ours() -> None:
    """Our code reaches it with the job, which is after the process that workers are forked from has started."""
    ours = dict(read_options(prepare(["job.py"], os.environ).command))
    own = dict(read_options(prepare(["--conf", "spark.pyspark.python=/other/python", "job.py"], os.environ).command))
    assert ours[launch.DAEMON] == "udfs.worker_daemon"
    assert launch.DAEMON not in own
    assert own.items() >= launch.ONE_ENVIRONMENT.items(), "of Spark's own there is one, not two"


def test_no_folder_is_made_where_the_caller_stands() -> None:
    """Spark would make its warehouse there at the first MERGE; on a cluster it is the cluster's affair."""
    key = "spark.sql.warehouse.dir"
    ours = dict(read_options(prepare(["job.py"], {}).command))
    assert ours[key].startswith("file:///") and Path.cwd().as_uri() not in ours[key]
    assert dict(read_options(prepare(["--conf", f"{key}=mine", "job.py"], {}).command))[key] == "mine"
    assert key not in dict(read_options(prepare(["--master", "spark://h:7077", "job.py"], {}).command))


def test_the_environment_of_the_caller() -> None:
    """Its own settings stay, a stranger's Spark does not, and what is empty counts as unset."""
    caller = {"PATH": "", "LANG": "de_DE.UTF-8", "SPARK_HOME": "/opt/spark-3", "PYSPARK_PYTHON": "python2", "MINE": "1"}
    environment = prepare(["job.py"], caller).environment
    assert environment["MINE"] == "1" and environment["LANG"] == "de_DE.UTF-8" and "LC_ALL" not in environment
    assert environment["SPARK_HOME"] == str(checkout.spark_home())
    assert environment["PYSPARK_PYTHON"] == environment["PYSPARK_DRIVER_PYTHON"] == sys.executable
    assert "/usr/bin" in environment["PATH"]
    assert prepare(["job.py"], {}).environment["LC_ALL"] == "C.UTF-8"


def test_a_broken_machine_stops_before_spark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each fault with the command that mends it, and the status of faults that were there before the run."""
    found = [Finding("jars", "bad", "gone", "make setup"), Finding("java", "bad", "old", "install one")]
    monkeypatch.setattr(launch, "quick", lambda environment: [Finding("python", "good", "3.11"), *found])
    with pytest.raises(SystemExit) as ended:
        launch.main(["job.py"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told == "spark-submit: - jars: gone\n  -> make setup\n- java: old\n  -> install one\n"


# --- the real thing ----------------------------------------------------------------------------------------------


def test_it_is_ours() -> None:
    assert WRAPPER.read_bytes() == (checkout.CHECKOUT / "infra" / "spark-submit.sh").read_bytes()
    assert os.access(WRAPPER, os.X_OK)


@pytest.mark.parametrize("environment", [{}, {"PATH": "", "SPARK_HOME": "/nowhere", "PYTHONHASHSEED": "7"}])
def test_no_environment_is_needed(job: Path, environment: dict[str, str]) -> None:
    status, out, err = submit(job, "4", "--root", "x y", environment=environment)
    assert status == 4, err
    assert f"out {sys.executable} {checkout.spark_home()} ['4', '--root', 'x y'] caf\u00e9" in out
    noise = [line for line in err.splitlines() if "incubator modules" not in line]  # the JVM's own, not to be silenced
    assert noise == []


@pytest.mark.parametrize("status", [0, 2, 3, 5, 6])
def test_the_status_of_the_job_comes_through(job: Path, status: int) -> None:
    assert submit(job, status)[0] == status


def test_a_java_too_old_is_status_2_with_what_mends_it(job: Path, tmp_path: Path) -> None:
    """The wrapper itself on a machine whose only Java is 11: the job is never begun, and no traceback is shown."""
    home, elsewhere, nothing = tmp_path / "jdk-11", tmp_path / "elsewhere", tmp_path / "bin"
    nothing.mkdir()
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "java").write_text("#!/bin/sh\nexit 7\n", encoding="ascii")
    (home / "bin" / "java").chmod(0o755)
    (home / "release").write_text('JAVA_VERSION="11.0.2"\n', encoding="ascii")
    # Where this machine keeps other ones is not looked into: without this they would be taken instead.
    elsewhere.mkdir()
    blind = "from jobs.runtime.java import find_java\nfind_java.__defaults__ = ((),)\n"
    (elsewhere / "sitecustomize.py").write_text(blind, encoding="ascii")
    environment = {"JAVA_HOME": str(home), "PATH": str(nothing), "PYTHONPATH": str(elsewhere)}
    status, out, err = submit(job, "0", environment=environment)
    assert status == 2, err
    assert out == "" and "Traceback" not in err
    assert err.startswith(f"spark-submit: - java: 11 in {home}, needed is 17 or newer\n  -> "), err
    assert "install" in err and "JAVA_HOME" in err


@pytest.mark.faults
@pytest.mark.spark
def test_delta_and_workers_from_another_folder(job: Path, tmp_path: Path) -> None:
    """A session, Python workers and a Delta table, from a folder that is not the checkout; nothing is left there."""
    status, out, err = submit(job, "session", tmp_path / "t", cwd=tmp_path)
    assert status == 0, err
    assert "rows 5" in out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["job.py", "t"]
