# The two commands: `make demo` and `make test`. The first installs what it needs, the second
# everything.
# Python 3.11 first, because compressai, which the benchmarks compare with, ends at 3.12.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.10 3.13 3.14,$(shell python$(v) -c '' 2>/dev/null && command -v python$(v))) python3)
BIN := .venv/bin
EXTRAS := train,bench,compressai,mllm,export,hub,openvino,ray,serve,dev
IMAGE ?=
export GOMP_SPINCOUNT ?= 20000
# Tests start hundreds of processes; each would compile the package again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo test check quick-tests all-tests lint types docs gpu fuzz binaries dist clean

install: .venv/installed

# What the demo needs: cotam itself, and scikit-image for its photographs.
.venv/light: setup.py setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' || { echo "CoTAM needs Python 3.10 to 3.14; name one: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e '.[demo]'
	touch $@

.venv/installed: .venv/light
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet -e '.[$(EXTRAS)]'
	touch $@

demo: .venv/light
	$(BIN)/python -m benchmarks.demo $(if $(IMAGE),"$(IMAGE)")

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

# One thread for each of the processes that share the tests.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal

# Types are checked while tests run.
check: lint
	$(MAKE) --no-print-directory --jobs=2 types quick-tests

test: lint
	$(MAKE) --no-print-directory --jobs=2 types all-tests

quick-tests: install
	$(PYTEST) -m "not slow"

all-tests: install
	$(PYTEST)

# The documentation site in site/; a broken link is an error.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# On a machine with a GPU: its tests, then how many steps of the experiments fit into MINUTES.
MINUTES ?= 8
START ?= checkpoints/small.safetensors
gpu: install
	$(BIN)/python -m pytest tests/test_gpu.py -rs
	$(BIN)/python -m benchmarks.train_step experiment=gpu_base --steps 40 --minutes $(MINUTES)
	$(BIN)/python -m benchmarks.train_step experiment=gpu_joint loss=joint --steps 40 --minutes $(MINUTES)
	$(BIN)/python -m benchmarks.train_step experiment=gpu_adapter start=$(START) --steps 40 --minutes $(MINUTES)

SECONDS ?= 600
fuzz: install
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

binaries: install
	$(BIN)/python -m codec.export.binaries dist

# The source distribution, and the wheel as it comes from there.
dist: install
	rm -rf build dist/*.tar.gz dist/*.whl
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*.tar.gz dist/*.whl

clean:
	rm -rf .venv .venv-newest .venv-demo build dist site *.egg-info demo
