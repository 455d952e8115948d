# A developer's tasks. `make help` explains the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
RUN_STAMP := $(VENV)/.set-up-to-run
PYTEST := $(BIN)/python -m pytest
# Two more than there are CPUs: many tests wait for a server, a lease or a timeout.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 2)))
# A file runs in one process, since its tests share fixtures; tests/conftest.py sets the order.
PARALLEL := --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder
EXTRAS := drive-watch,extract-audio,sftp-compress,dashboard,cloud,dev
CHECKOV := checkov==3.3.30
FAKE_GCS := github.com/fsouza/fake-gcs-server@v1.56.1
TRY := Try: make setup PYTHON=python3.12

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup run check test unit fuzz chaos test-tools lint types format bench constraints requirements audit deploy plan destroy clean

help: ## Explain every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## Make .venv with the project and its tools (PYTHON=python3.12 to choose one)

$(STAMP): LOCK := infra/requirements/setup.txt
$(RUN_STAMP): LOCK := infra/requirements/run.txt
# Python compiles a module when it is first imported; most of the tools' modules never are.
$(STAMP): COMPILE := --no-compile
$(STAMP) $(RUN_STAMP): pyproject.toml infra/requirements/setup.txt infra/requirements/run.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed. $(TRY)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || \
	  { echo "$$($(PYTHON) --version) is not supported (need 3.11 to 3.14). $(TRY)" >&2; exit 1; }
	@$(BIN)/python -c '' 2>/dev/null || { echo "Making $(VENV)"; $(PYTHON) -m venv --clear $(VENV); } || \
	  { echo "Python has no module venv. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV): about a minute at first"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check $(COMPILE) --require-hashes --requirement $(LOCK)
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps \
	  --config-settings editable_mode=compat --editable .
# pip does not compile what is editable; without bytecode each start takes 0.2 s more.
	@$(BIN)/python -m compileall -q cli functions shared
	@touch $@

# The name as it was given: make would take a $ in it for one of its variables.
run: export RUN_FILE := $(value FILE)
# Installs no developers' tools, so that the first run starts sooner.
run: $(if $(wildcard $(STAMP)),setup,$(RUN_STAMP)) ## Run the whole system with stand-ins for Drive and SFTP, or extract FILE=meeting.mp4 (EMULATORS=1: on Google's emulators)
	@if [ -n "$$RUN_FILE" ]; then $(BIN)/audio-pipeline extract -- "$$RUN_FILE"; \
	else $(BIN)/audio-pipeline serve --demo$(if $(filter-out 0 no,$(EMULATORS)), --emulators); fi

check: lint types unit ## Run lint, types and unit tests: before each commit

test: setup ## Run all tests (WORKERS=4 at a time); a test whose tool is missing is skipped
	$(PYTEST) $(PARALLEL)

unit: setup ## Run the unit tests
	$(PYTEST) $(PARALLEL) tests/unit

SECONDS ?= 60
fuzz: setup ## Feed mutated inputs to every parser of outside data (SECONDS=600, SEED=7)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)$(if $(SEED), --seed $(SEED))

chaos: setup ## Run the whole system under faults (SEED=7 N=500); the same seed repeats the same faults
	$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(N),--count $(N))

test-tools: ## Install what some tests need beyond Python: sshd, Chromium, Java, emulators, scanners
	@PYTHON='$(PYTHON)' sh tests/tools.sh '$(FAKE_GCS)' "$(CURDIR)/.tools/bin" '$(CHECKOV)'

lint: setup ## Check style and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup ## Check types
	$(BIN)/mypy

format: setup ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure against plain FFmpeg, and the refusal of forged requests
	$(BIN)/python -m benchmarks.extract
	$(BIN)/python -m benchmarks.forged_requests

constraints: ## Pin the newest versions that work together in constraints.txt
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && \
	$(PYTHON) -m venv "$$fresh" && \
	"$$fresh/bin/python" -m pip install --quiet --upgrade pip && \
	"$$fresh/bin/python" -m pip install --quiet '.[$(EXTRAS)]' && \
	"$$fresh/bin/python" -m pip freeze --exclude audio-pipeline | LC_ALL=C sort > constraints.txt && \
	"$$fresh/bin/python" -m infra.hashes && "$$fresh/bin/python" -m infra.requirements
	@wc -l < constraints.txt

requirements: ## Write hashes and every requirements.txt after a change of pyproject.toml or constraints.txt
	@$(BIN)/python -m infra.hashes
	@$(BIN)/python -m infra.requirements

audit: ## Look up known vulnerabilities of the pinned packages
	@PYTHON='$(PYTHON)' infra/audit.sh

deploy: ## Deploy to PROJECT=my-project on Google Cloud (ENV=dev REGION=europe-west1)
	@infra/deploy/deploy.sh

plan: ## Show what a deployment would change, and change nothing
	@infra/deploy/plan_only.sh

destroy: ## Delete a deployment, after showing what is deleted and asking
	@infra/deploy/destroy.sh

clean: ## Remove .venv, caches and the demonstration's files; audio/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info audio-pipeline-demo
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
