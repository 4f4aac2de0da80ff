# make demo   train a small translator and try it     make test   lint, types and tests     make help   all targets
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(PYTHON) -m pip --python $(VENV)/bin/python install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types tests slow format docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The virtual environment is made without pip and filled by the caller's, so Debian's python3-venv is not needed.
$(INSTALLED): requirements.lock pyproject.toml
	@echo "Installing the locked packages into $(VENV) (minutes the first time) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nmt needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -m venv --without-pip $(VENV)
	@$(PIP) -r requirements.lock
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@
	@echo "Installed: $(VENV)/bin/nmt"

install: $(INSTALLED) ## make .venv with the locked packages and nmt

demo: $(INSTALLED) ## prepare, train, translate and score the embedded phrasebook, in about four minutes
	@$(MAKE) --no-print-directory -C recipes/phrasebook demo NMT=$(BIN)/nmt PYTHON=$(BIN)/python

test: lint types tests ## everything that must pass before a commit

lint: $(INSTALLED) ## ruff: mistakes and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

tests: $(INSTALLED) ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow"

slow: $(INSTALLED) ## the tests that take minutes
	@$(BIN)/python -m pytest -m slow

format: $(INSTALLED) ## mend what ruff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: $(INSTALLED) ## write docs/config.md anew from the settings
	@$(BIN)/python docs/config_reference.py > docs/config.md

clean: ## delete what the recipes and the tests made (not .venv)
	@rm -rf recipes/*/work .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
