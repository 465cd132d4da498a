"""Where things lie in the checkout, and where pip put Spark.

Knows places only: it looks at no file and imports neither pyspark nor anything else that is slow to load.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
SPARK_DEFAULTS = CHECKOUT / "infra" / "spark-defaults.conf"
LOG4J = CHECKOUT / "infra" / "log4j2.properties"
JAR_LOCK = CHECKOUT / "infra" / "jars.lock"
JARS = CHECKOUT / ".jars"


def spark_home() -> Path | None:
    """The folder of the installed pyspark package, without importing it; None when it is not installed."""
    spec = find_spec("pyspark")
    return Path(spec.origin).parent if spec and spec.origin else None


def class_archive() -> Path:
    """The JVM's archive of loaded classes, beside the packages it was made from (see `jobs.runtime.launch`)."""
    return Path(sys.prefix) / "spark-classes.jsa"
