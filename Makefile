# One command each; every one sets up what it needs in a private virtual environment.
#   make demo     the whole way on a generated dataset: convert, train, evaluate, export, serve, query
#   make demo SET='stages.hands.epochs=2'   the same with other settings of the training
#   make demo VIDEO=my.mp4   the activity in a video of yours, with published weights, and a picture of it
#   make test     the quick tests, in some minutes
#   make smoke    a minute of them: every model; a small dataset converted, trained on, exported and served
#   make test-all every test: also processes killed and resumed, all recipes, full-size networks
#   make lint     style, and the types of public names
#   make bench    all benchmarks that need nothing but the project, in 35 minutes on 2 cores, and a table of them
#   make docs     the documentation site in docs/_build/html (Python 3.11 or later)
#   make notebooks   the notebooks run again, with their outputs stored in them
#   make dist     the wheel and the source distribution in dist/, checked
# Another Python, and so another row of the stack:  make test PYTHON=python3.12 VENV=.venv-3.12

PYTHON ?= python3
VENV ?= .venv
# Of setup.cfg. `make smoke EXTRAS=serving,test,train` needs no more.
EXTRAS ?= dev,poses
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: help setup demo test smoke test-slow test-all lint bench docs notebooks dist clean

help:
	@sed -n 's/^#   //p' Makefile

setup: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 9) <= v <= (3, 13))' || \
	  { echo "error: $(PYTHON) is missing or not 3.9 - 3.13: name another, e.g. make PYTHON=python3.11" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "error: $(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 2; }
	@echo "installing into $(VENV): up to 3.3 GB, some minutes without a word" >&2
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	@# mediapipe's wheel of any Python 3 says inside that it is for 3.9: that complaint alone does no harm.
	$(BIN)/python -m pip check > $(VENV)/check.txt || ! grep -v '^mediapipe .* is not supported on this platform$$' $(VENV)/check.txt
	@touch $@

# The name of a file is passed on as it was given, whatever characters are in it.
unexport VIDEO SET
quote = '$(subst ','\'',$(1))'

demo: setup
	@PATH="$(abspath $(BIN)):$$PATH" VIDEO=$(call quote,$(value VIDEO)) SET=$(call quote,$(value SET)) ./demo.sh

# Files run side by side on all cores, those that take longest first (tests/durations.json); the tests of one file, and files
# that share a trained run or an exported model (tests/conftest.py), stay in one process.
PYTEST := $(BIN)/python -m pytest -n auto --dist loadscope --no-loadscope-reorder

test: setup
	$(PYTEST) -m 'not slow'

# For one more Python of a row that is tested on another.
SMOKE := tests/zoo/models/test_harness.py::test_output_is_a_distribution \
  tests/tfrecords/converting/test_video.py tests/tfrecords/converting/test_video_shown.py \
  tests/recipes/test_part_of_classes.py tests/serving/server/test_client_and_server.py::test_every_signature_of_a_label

smoke: setup
	$(PYTEST) $(SMOKE)

test-slow: setup
	$(PYTEST) -m slow

test-all: setup
	$(PYTEST)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# What of benchmarks/ needs nothing but the project, each written to $(RESULTS); a script that fails is named at the end.
RESULTS ?= runs/benchmarks

bench: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,poses,bench]'
	$(BIN)/python benchmarks/all.py --out $(RESULTS)

# A warning, such as a link that leads nowhere, is an error.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,poses,docs]'
	$(BIN)/python -m sphinx -b html -W --keep-going docs docs/_build/html

notebooks: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,poses,notebooks]'
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python notebooks/execute.py

# The wheel and the source distribution, as a package index shows them.
dist: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[release]'
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist *.egg-info demo docs/_build docs/_generated
