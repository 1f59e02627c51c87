# make demo [VIDEO=path]   set up, encode and decode a film, print bpp, WS-PSNR and frames/s, write out/demo/
# make test                set up (torch-scatter included), lint, type check, all tests
# make quick               lint and the fast tests, in the environment that is there
# PYTHON=python3.12 picks the interpreter that .venv is made with.

PYTHON ?= python3
VIDEO ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test lint quick setup setup-test clean
.DELETE_ON_ERROR:

demo: setup
	$(BIN)/python scripts/demo.py $(if $(VIDEO),--video "$(VIDEO)")

test: setup-test lint
	$(BIN)/python -m pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: lint
	$(BIN)/python -m pytest -m "not slow"

setup: $(VENV)/stamp-package
setup-test: $(VENV)/stamp-dev $(VENV)/stamp-scatter

$(VENV)/stamp-venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: make PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/stamp-package: pyproject.toml constraints.txt | $(VENV)/stamp-venv
	@echo "installing into $(VENV) (a few minutes the first time)"
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-package
	$(PIP) install --constraint constraints.txt --editable ".[dev]"
	@touch $@

# torch-scatter compiles against the installed torch: no isolation, and never a wheel cached from a build with another one.
$(VENV)/stamp-scatter: constraints.txt | $(VENV)/stamp-package
	@echo "building torch-scatter (about four minutes, once)"
	$(PIP) install --constraint constraints.txt setuptools wheel ninja
	$(PIP) install --no-build-isolation --no-cache-dir --no-deps --force-reinstall "torch-scatter==2.1.2"
	@touch $@

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache
