# make demo   train a small translator and try it     make test   lint, types and tests     make help   all targets
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# An environment made here has no pip: where it is activated, pip is that of the interpreter behind it.
WITH_PIP = $(shell $(PYTHON) -m pip --version > /dev/null 2>&1 && echo $(PYTHON) || $(PYTHON) -c 'import sys; print(sys._base_executable)')
PIP = $(WITH_PIP) -m pip --python $(VENV)/bin/python install -qq --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help install demo test lint types tests slow fuzz portability matrix gpu-report format docs site release clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

demo: $(INSTALLED) ## prepare, train, translate and score the embedded phrasebook, in some minutes
	@$(BIN)/nmt demo -o recipes/phrasebook/work

test: lint types tests ## everything that must pass before a commit

lint: $(INSTALLED) ## ruff: mistakes and format
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(INSTALLED) ## mypy, strict
	@$(BIN)/mypy

tests: $(INSTALLED) ## the tests that take seconds
	@$(BIN)/python -m pytest -m "not slow and not fuzz" -n 2 --dist loadfile

slow: $(INSTALLED) ## the tests that take minutes
	@$(BIN)/python -m pytest -m slow

FUZZ_SECONDS ?= 60
fuzz: $(INSTALLED) ## any options and inputs, FUZZ_SECONDS a verb
	@FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest -m fuzz -s

portability: $(INSTALLED) ## tests under emulated CPU instruction sets, as a table, in some 20 minutes
	@$(BIN)/python -m tests.portability -n 2 --dist loadfile

matrix: $(INSTALLED) ## the fast tests with the oldest and newest PyTorch and every Python, as a table; GB of packages
	@PYTHON=$(PYTHON) $(BIN)/python -m tests.matrix -n 2 --dist loadfile $(OPTIONS)

gpu-report: $(INSTALLED) ## speed, memory and exactness on this machine's GPU, in twelve minutes, as Markdown
	@benchmarks/gpu.sh "$(CURDIR)/$(BIN)/python"

format: $(INSTALLED) ## mend what ruff can mend
	@$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: $(INSTALLED) ## write docs/config.md and docs/cli.md anew from the code
	@$(BIN)/python docs/config_reference.py > docs/config.md
	@$(BIN)/python docs/cli_reference.py > docs/cli.md

site: $(INSTALLED) ## the documents as web pages, in build/site
	@$(BIN)/mkdocs build --quiet --strict
	@echo "build/site/index.html"

release: $(INSTALLED) ## a wheel tried in an environment of its own; then wheel and sdist, in dist
	@$(BIN)/python -m pytest tests/project/test_release.py tests/slow/test_wheel.py
	@rm -rf dist && $(BIN)/python -m hatchling build -d dist

clean: ## delete what the recipes and the tests made (not .venv)
	@rm -rf recipes/*/work build .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
