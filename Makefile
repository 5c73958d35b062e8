# `make demo`, `make test` and the others set up everything they need in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Torch without CUDA; `make TORCH_INDEX= demo` takes the build of the usual package index.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
TORCH_FROM = $(if $(TORCH_INDEX),$(shell curl -sfI -m 5 -o /dev/null $(TORCH_INDEX)/torch/ && echo --extra-index-url $(TORCH_INDEX)))

.PHONY: demo audit sbom lint type test coverage docs bench benchmark-quick clean
.DELETE_ON_ERROR:

# Every file that is installed is known by its hash; torch, whose builds differ by machine, by its version.
$(VENV)/installed: pyproject.toml constraints.txt requirements/all.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phyda needs Python 3.11 or newer, found " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(TORCH_FROM) 'torch==2.13.0'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement requirements/all.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check --quiet
	touch $@

demo: $(VENV)/installed
	$(BIN)/phyda demo --out phyda-demo --overwrite

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/installed
	$(BIN)/mypy

test: lint type
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

# All tests once more, with the share of lines they run, the least covered modules first.
coverage: $(VENV)/installed
	$(BIN)/python -m pytest --cov=phyda_cli --cov-report= --numprocesses auto --maxprocesses 4 --dist worksteal
	$(BIN)/python -m coverage report --sort=cover --skip-covered

docs: $(VENV)/installed
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "the documentation is in build/docs/index.html"

# Known weaknesses of the code and, where the list of them can be reached, of what it depends on.
audit: $(VENV)/audit
	$(VENV)/audit/bin/bandit --quiet --recursive --configfile pyproject.toml phyda_cli
	@if curl -sf -m 5 -o /dev/null https://api.osv.dev/v1/vulns/PYSEC-2018-28; then \
	  $(VENV)/audit/bin/pip-audit --vulnerability-service osv --path $$($(BIN)/python -c 'import site; print(site.getsitepackages()[0])') --skip-editable; \
	else echo "pip-audit is left out: api.osv.dev cannot be reached"; fi

# What is installed, with versions and licences (CycloneDX).
sbom: $(VENV)/audit
	mkdir -p build
	$(VENV)/audit/bin/cyclonedx-py environment $(VENV) --output-file build/sbom.json
	@echo "wrote build/sbom.json"

$(VENV)/audit: $(VENV)/installed
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet 'bandit[toml]' cyclonedx-bom pip-audit

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks.held_out --quick
	$(BIN)/python -m benchmarks.physics --quick
	$(BIN)/python -m benchmarks.stations --quick
	$(BIN)/python -m benchmarks.planted --quick
	$(BIN)/python -m benchmarks.fine_cost --quick
	$(BIN)/python -m benchmarks.osse --quick --out out/osse-quick

benchmark-quick: bench

clean:
	rm -rf $(VENV) build phyda-demo
