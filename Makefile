# `make demo` and `make test` set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test lint benchmark-quick clean
.DELETE_ON_ERROR:

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phyda needs Python 3.11 or newer, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(VENV)/installed
	$(BIN)/phyda demo --out phyda-demo --overwrite

test: $(VENV)/installed lint
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/mypy

benchmark-quick: $(VENV)/installed
	$(BIN)/python -m benchmarks.held_out --quick
	$(BIN)/python -m benchmarks.physics --quick
	$(BIN)/python -m benchmarks.stations --quick
	$(BIN)/python -m benchmarks.osse --quick --out out/osse-quick

clean:
	rm -rf $(VENV) phyda-demo
