# Two environments: .venv runs the project, .venv-cellprofiler runs CellProfiler. `make help` lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
ENGINE ?= native
SEEDS ?= 100
CLUSTER ?= local
RUN := .venv/bin/python -m pipeline

FOLDER ?= certificates
IMAGE ?= cellpainting-worker
# Asked of the registry when it is needed, and printed by docker: build again with the same BASE_IMAGE for the same image.
BASE_IMAGE ?= python@$(shell docker buildx imagetools inspect python:3.11-slim-bookworm --format '{{.Manifest.Digest}}' 2>/dev/null)

# The version whose numbers the engines give, and how lock files are made.
CELLPROFILER := 4.2.8
UPGRADE ?= --upgrade
COMPILE := .venv/bin/uv pip compile -q --generate-hashes --python-version 3.11 --no-header --no-annotate

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | while IFS='|' read -r name text; \
	do printf '  make %-12s %s\n' "$$name" "$$text"; done

setup: .venv/.ready .venv-cellprofiler/.ready ## make the two environments (the other targets do it when needed)

dry-run: setup ## simulate a small screen and run everything on it, through a local S3 server (ENGINE=native|cellprofiler)
	$(RUN) dry-run --engine $(ENGINE)

run-cloud: setup ## run a config: make run-cloud CONFIG=my.yaml CLUSTER=tls://scheduler:8786 (or CLUSTER=local)
	@test -n "$(CONFIG)" || { echo "Say which config: make run-cloud CONFIG=my.yaml CLUSTER=tls://scheduler:8786"; exit 2; }
	@echo '$(RUN) run $(CONFIG) --cluster $(CLUSTER)'
	@$(RUN) run $(CONFIG) --cluster $(CLUSTER) || { code=$$?; \
	echo "The run ended with exit code $$code (run --help says what it means). make gives back 2 for any: a script calls the line above."; \
	exit $$code; }

image: ## build the worker image, from its base by digest: make image IMAGE=registry/cellpainting-worker:1
	@echo '$(BASE_IMAGE)' | grep -q '@sha256:' || { echo "No digest of $(BASE_IMAGE) could be had: give BASE_IMAGE=python@sha256:..."; exit 2; }
	docker build -f infra/Dockerfile --build-arg PYTHON_IMAGE=$(BASE_IMAGE) -t $(IMAGE) .

certificates: ## make an authority and the keys of scheduler, workers and yourself: make certificates FOLDER=certificates
	@infra/certificates.sh $(FOLDER)

test: setup ## run the tests
	.venv/bin/python -m pytest -m "not slow" -n logical --maxprocesses 4 --dist worksteal $(PYTEST)

test-slow: setup ## run the tests that take longer: full sites in CellProfiler, workers that die
	.venv/bin/python -m pytest -m slow $(PYTEST)

lint: .venv/.ready ## style, types, and who may import whom
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: setup ## time the engines, the scores and the overheads, side by side
	.venv/bin/python -m tests.bench

chaos: setup ## a hundred small runs with workers killed and requests refused, by seeds; prints a table (SEEDS=100)
	$(RUN).simulate.chaos $(SEEDS)

notebook: setup ## open the notebooks in JupyterLab (run `make dry-run` first)
	.venv/bin/jupyter lab --ip 127.0.0.1 notebooks

lock: .venv/.ready ## resolve all dependencies anew (hashes, no addresses); UPGRADE= changes only what has to
	$(COMPILE) $(UPGRADE) --universal --all-extras pyproject.toml -o requirements.txt
	$(COMPILE) --universal -c requirements.txt pyproject.toml -o requirements-worker.txt
	echo uv | $(COMPILE) --universal -c requirements.txt - -o requirements-uv.txt
	$(COMPILE) $(UPGRADE) --only-binary :all: infra/cellprofiler.in -o requirements-cellprofiler.txt
	printf '%s\n' {cellprofiler,cellprofiler-core}==$(CELLPROFILER) | \
	$(COMPILE) --no-deps --only-binary :all: - -o requirements-cellprofiler-nodeps.txt

clean: ## remove the environments, the dry run and all caches
	rm -rf .venv .venv-cellprofiler dry-run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/.ready: requirements.txt requirements-uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	{ echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is $$($(PYTHON) --version). Try: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Setting up .venv with $$($(PYTHON) --version) (about 2 GB, a minute or two)"
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-uv.txt
	.venv/bin/uv pip install --python .venv/bin/python --require-hashes -r requirements.txt
	.venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
	@touch $@

.venv-cellprofiler/.ready: .venv/.ready requirements-cellprofiler.txt requirements-cellprofiler-nodeps.txt
	@echo "Setting up .venv-cellprofiler: CellProfiler $(CELLPROFILER), which needs Python 3.11 and libraries of its own"
	@.venv/bin/uv venv -q --clear --python 3.11 .venv-cellprofiler || \
	{ echo "No Python 3.11 was found or could be fetched. Install it (Debian: apt install python3.11-venv; conda: conda create -n py311 python=3.11) and put it on the PATH."; exit 2; }
	.venv/bin/uv pip install --python .venv-cellprofiler/bin/python --require-hashes -r requirements-cellprofiler.txt
	.venv/bin/uv pip install --python .venv-cellprofiler/bin/python --require-hashes --no-deps -r requirements-cellprofiler-nodeps.txt
	@touch $@

.PHONY: help setup dry-run run-cloud image certificates test test-slow lint bench chaos notebook lock clean
