# Every target prepares what it needs in .venv and .jars of this checkout, and does nothing when it is there.
# Needed on the machine: Python 3.11 to 3.13 (PYTHON=…), Java 17 to 21, make.

SHELL := /bin/sh
ifeq ($(strip $(PATH)),)
export PATH := /usr/local/bin:/usr/bin:/bin
endif
# Without compiled modules each process would compile torch and the rest anew.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= python3
ROOT ?= build/demo
BIN := .venv/bin
STAMPS := .venv/.stamps
# What the machine trusts, uv trusts (company proxies).
UV := .venv/uv/bin/uv --system-certs
PYTEST := $(BIN)/python -m pytest
# Two processes, a whole file in one of them: a Spark session in each.
TWO := -n 2 --dist loadfile --no-loadscope-reorder
LOCKS := infra/requirements-setup infra/requirements infra/requirements-models infra/requirements-dev \
    infra/requirements-servers
COMPILE := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
LONG := cluster or faults or bench

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench faults cluster lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

setup: $(STAMPS)/warmup ## Python environment, jars, spark-submit: all from the locks
	@:

demo: setup ## the main job on the embedded default [ROOT=build/demo]
	$(BIN)/spark-submit --properties-file infra/spark-defaults.conf jobs/synthesize.py \
	    --config infra/conf/demo.yaml --root $(ROOT) --summary $(ROOT)/summary.json
	@echo $(ROOT)

test: setup ## all tests but the long ones, in two processes with a Spark session each
	$(PYTEST) $(TWO) -m "not ($(LONG))"

check: setup ## ruff, mypy, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(PYTEST) tests/test_architecture.py

bench: setup ## benchmarks: ratios against named peers in the same run
	$(PYTEST) -m bench -s

faults: setup $(STAMPS)/servers ## long tests in two processes: kills, full disks, servers that misbehave, servers of others
	$(PYTEST) $(TWO) -m faults -rs

cluster: setup ## long tests: whole runs on several executors, on a standalone cluster, in pieces, begun again
	$(PYTEST) -m cluster

lock: $(STAMPS)/uv ## compile the requirement locks anew, and write what clusters need from them
	for lock in $(LOCKS); do $(UV) $(COMPILE) --output-file $$lock.lock $$lock.in || exit 1; done
	$(MAKE) setup
	$(BIN)/python -m jobs.runtime.clusters

clean: ## remove everything that make made
	rm -rf .venv .jars build dist longloom.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# One stamp per step: a step that was cut short is done again, a finished one is not.

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || { \
	    echo "setup: $(PYTHON) is not Python 3.11 to 3.13; name another: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	@mkdir -p $(STAMPS) && touch $@

# uv lives beside the environment, not in it: the environment holds what its lock says and nothing else.
$(STAMPS)/uv: infra/requirements-setup.lock $(STAMPS)/venv
	$(BIN)/python -m venv --clear .venv/uv
	.venv/uv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(STAMPS)/packages: infra/requirements-dev.lock pyproject.toml $(STAMPS)/uv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $<
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# Servers of others, for `faults` alone. One is built from its source (a C++ compiler, minutes) for any processor of this
# kind: a wheel may be kept and meet another one.
$(STAMPS)/servers: infra/requirements-servers.lock $(STAMPS)/uv
	$(BIN)/python -m venv --clear --without-pip .venv/servers
	CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAVA_BUILD=OFF" nice $(UV) pip sync --quiet --python .venv/servers/bin/python \
	    --require-hashes --build-constraint $< $<
	@touch $@

$(BIN)/spark-submit: infra/spark-submit.sh $(STAMPS)/packages
	install -m 755 $< $@

$(STAMPS)/jars: infra/jars.lock $(STAMPS)/packages
	$(BIN)/python -m jobs.runtime.jars
	@touch $@

$(STAMPS)/warmup: $(STAMPS)/jars $(BIN)/spark-submit infra/spark-defaults.conf
	$(BIN)/python jobs/doctor.py --quick
	$(BIN)/python -m jobs.runtime.warmup
	@touch $@
