#!/bin/sh
# spark-submit for this checkout: installed as .venv/bin/spark-submit by `make setup`.
# Runs with an empty PATH; all it knows is that it lies beside its Python. The rest is jobs/runtime/launch.py.
exec "${0%/*}/python" -P -m jobs.runtime.launch "$@"
