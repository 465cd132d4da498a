"""Writes what clusters need from the one jar lock and the one list of requirements (`make lock`).

A cluster brings its own Spark and Delta: those never appear here. A test compares the files with this code.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jobs.runtime import checkout
from jobs.runtime.jars import JarLock, read_lock
from jobs.runtime.launch import WORKER_DAEMON  # EMR's nodes, or the packed environment, have the wheel

WRITTEN = "Written by `make lock` from infra/jars.lock and infra/requirements*.in: edit those."
REQUIREMENTS = ("requirements.in", "requirements-models.in")
ON_EMR = (*REQUIREMENTS, "requirements-s3.in")  # Databricks has its storage under paths
BROUGHT_BY_EMR = frozenset({"pyspark", "delta-spark"})
# Databricks ML also brings torch and MLflow with its own tracking store (no sqlite, so none of what that needs).
BROUGHT_BY_DATABRICKS = BROUGHT_BY_EMR | {"mlflow-skinny", "sqlalchemy", "alembic", "torch"}

# Where EMR keeps its own Delta; the cluster classification puts it on the class path, serverless must name it.
EMR_DELTA = ("/usr/share/aws/delta/lib/delta-spark.jar", "/usr/share/aws/delta/lib/delta-storage.jar")


def cluster_files(lock: JarLock, infra: Path) -> dict[str, str]:
    """Path below `infra/` -> text, for every file that is written and not edited."""
    on_databricks, on_emr = list(read_requirements(infra)), list(read_requirements(infra, ON_EMR))
    return {
        "databricks/jars.yml": databricks_jars(lock),
        "databricks/requirements.txt": requirements_text(on_databricks, BROUGHT_BY_DATABRICKS),
        "emr/requirements.txt": requirements_text(on_emr, BROUGHT_BY_EMR),
        "emr/configurations.json": as_json(emr_configurations(lock)),
        "emr/serverless.json": as_json(emr_serverless(lock)),
    }


def read_requirements(infra: Path, files: Sequence[str] = REQUIREMENTS) -> Iterator[str]:
    """The requirement lines of these files, without comments and includes."""
    for name in files:
        for line in (infra / name).read_text(encoding="utf-8").splitlines():
            requirement = line.partition("#")[0].strip()
            if requirement and not requirement.startswith("-"):
                yield requirement


def requirements_text(requirements: list[str], brought: frozenset[str]) -> str:
    """A requirements file without the packages that the platform brings."""
    wanted = [line for line in requirements if package_name(line) not in brought]
    return "\n".join([f"# {WRITTEN}", *wanted]) + "\n"


def package_name(requirement: str) -> str:
    """`delta-spark` of `delta-spark==4.4.0`."""
    return re.split(r"[<>=!~;\[ ]", requirement, maxsplit=1)[0].lower()


def databricks_jars(lock: JarLock) -> str:
    """A bundle file with the coordinate as a variable."""
    return (
        f"# {WRITTEN}\n"
        "variables:\n"
        "  graphframes:\n"
        "    description: Maven coordinate of the JVM side of graphframes-py\n"
        f"    default: {lock.graphframes}\n"
    )


# Checkpointed frames are scratch: their files go when the frame does, and a run may go on for weeks.
SCRATCH = {"spark.cleaner.referenceTracking.cleanCheckpoints": "true"}


def delta_statics() -> dict[str, str]:
    """The static keys without which Delta tables cannot be read."""
    return {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    }


def emr_configurations(lock: JarLock) -> list[dict[str, object]]:
    """Classifications for `aws emr create-cluster --configurations`."""
    return [
        {"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}},
        {
            "Classification": "spark-defaults",
            "Properties": {
                **delta_statics(),
                "spark.jars.packages": lock.graphframes,
                "spark.sql.session.timeZone": "UTC",
                "spark.sql.execution.arrow.pyspark.enabled": "true",
                "spark.sql.execution.arrow.maxRecordsPerBatch": "500",
                **WORKER_DAEMON,
                **SCRATCH,
            },
        },
    ]


def emr_serverless(lock: JarLock) -> dict[str, object]:
    """A job driver for `aws emr-serverless start-job-run`; `BUCKET` is the reader's to replace."""
    python = "./environment/bin/python"
    confs = {
        **delta_statics(),
        "spark.jars": ",".join(EMR_DELTA),
        "spark.jars.packages": lock.graphframes,
        "spark.archives": "s3://BUCKET/longloom/environment.tar.gz#environment",
        "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": python,
        "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": python,
        "spark.executorEnv.PYSPARK_PYTHON": python,
        "spark.sql.session.timeZone": "UTC",
        **WORKER_DAEMON,
        **SCRATCH,
    }
    return {
        "sparkSubmit": {
            "entryPoint": "s3://BUCKET/longloom/jobs/synthesize.py",
            "entryPointArguments": [
                "--config",
                "s3://BUCKET/longloom/infra/conf/emr.yaml",
                "--root",
                "s3://BUCKET/longloom/root",
            ],
            "sparkSubmitParameters": " ".join(f"--conf {key}={value}" for key, value in confs.items()),
        }
    }


def as_json(value: object) -> str:
    """Indented JSON with a closing newline."""
    return json.dumps(value, indent=2) + "\n"


def main() -> int:
    """Write every file that differs, and name it."""
    infra = checkout.CHECKOUT / "infra"
    for name, text in cluster_files(read_lock(), infra).items():
        path = infra / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: infra/{name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
