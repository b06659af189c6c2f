# Everything from a bare machine with python3 >= 3.11: each target first makes .venv, once.
#
#   make demo    fit digits, derive and verify their layers, train a classifier on weights, write a page
#   make test    lint, types, tests, doctests, and the code blocks of README.md and docs/
#
# PYTHON=python3.12 make test     uses another interpreter
# WORKERS=8 make test             runs that many test processes (one thread each)

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin
READY   := $(VENV)/.installed

.PHONY: help demo test lint types format pictures bench clean
.DEFAULT_GOAL := help

help:
	@sed -n '2,7s/^#//p' Makefile
	@echo "  also: lint types format pictures bench clean"

# The stamp is rewritten when the dependencies change, so that nothing is installed twice.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "symnet needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) --version 2>&1`. Run: PYTHON=python3.12 make"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[all]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/symnet demo

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# One thread a process: the tests' tensors are small, and the processes already use the cores.
test: lint types
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q

# Runs every command of README.md and docs/ that writes a picture of theirs.
pictures: $(READY)
	@grep -h '^$$ symnet show .*docs/images/' README.md docs/*.md | sed 's/^$$ //' | while read -r command; do \
		echo "$$command"; $(BIN)/$$command || exit 1; done

bench: $(READY)
	$(BIN)/python -m benchmarks.layers

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
