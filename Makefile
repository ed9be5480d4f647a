# The two commands: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= $(firstword $(foreach v,python3.11 python3.12 python3.10 python3,$(shell command -v $(v) 2>/dev/null)))
BIN := .venv/bin
IMAGE ?=
export GOMP_SPINCOUNT ?= 20000

.PHONY: install demo test check lint types fuzz binaries clean

install: .venv/installed

.venv/installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { echo "CoTAM needs Python 3.10 to 3.12; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e '.[train,bench,mllm,export,ray,dev]'
	touch $@

demo: install
	$(BIN)/python -m benchmarks.demo $(if $(IMAGE),"$(IMAGE)")

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

check: lint types
	$(BIN)/python -m pytest -m "not slow"

test: lint types
	$(BIN)/python -m pytest

SECONDS ?= 600
fuzz: install
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

binaries: install
	$(BIN)/python -m codec.export.binaries dist

clean:
	rm -rf .venv build dist *.egg-info demo
