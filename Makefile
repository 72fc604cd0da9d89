# Everything a person runs. `make help` lists it. A fresh clone needs Python >= 3.11 and no more.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Exact versions: pyproject.toml says what may work, constraints.txt what was tested.
INSTALLED := $(VENV)/.installed
# A process for each core, as many as four: a collector and an engine beside it take 1 GiB. A file's
# tests stay together, because they share a collector; the long files come first (tests/conftest.py).
# One process: make test PYTEST=.venv/bin/pytest
PYTEST := $(BIN)/pytest --numprocesses auto --maxprocesses 4 \
  --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help install demo demo-once test lint types fast slow differential chaos bench \
  conformance constraints clean

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "spanledger needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "installing spanledger into $(VENV), about a minute the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[dev]'
	@touch $(INSTALLED)

install: $(INSTALLED) ## make .venv with everything in it

demo: $(INSTALLED) ## start collector, stand-in provider and sample app; print the cost report; stay up
	@$(BIN)/python demo/run.py

demo-once: $(INSTALLED) ## the same, compare with the provider's own record to the last digit, and exit
	@$(BIN)/python demo/run.py --once

test: $(INSTALLED) ## lint, types and every test; installs the Debian packages it needs when root
	@deploy/install-test-packages.sh
	@$(MAKE) --no-print-directory lint types
	@$(PYTEST)

lint: $(INSTALLED) ## ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

fast: $(INSTALLED) ## the tests that need no server
	@$(PYTEST) -m 'not slow'

slow: $(INSTALLED) ## the tests with real servers
	@$(PYTEST) -m slow

differential: $(INSTALLED) ## every model of genai-prices against genai-prices itself, 120,000 calls
	@PYTHONPATH=src:tests:tests/ledger $(BIN)/python tests/ledger/differential.py

chaos: $(INSTALLED) ## the promises under fire: ARGS='kills --minutes 30' or another level, ARGS=--help
	@$(BIN)/python tests/crash/chaos.py $(ARGS)

bench: $(INSTALLED) ## the figures of the README
	@$(BIN)/python benchmarks/ingest.py

conformance: $(INSTALLED) ## ask every price library the same questions; the first time installs them
	@$(BIN)/python conformance/run.py

constraints: ## write constraints.txt anew from a fresh environment
	@rm -rf $(VENV)-constraints && $(PYTHON) -m venv $(VENV)-constraints
	@$(VENV)-constraints/bin/pip install --quiet --editable '.[dev,google,bedrock]'
	@$(VENV)-constraints/bin/pip freeze --exclude-editable > constraints.txt
	@rm -rf $(VENV)-constraints

clean: ## remove the environment and caches
	rm -rf $(VENV) .conformance .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
