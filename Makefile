# Everything from a bare machine with python3 >= 3.11: each target first makes .venv, once.
#
#   make demo    fit digits, derive and verify their layers, train a classifier on weights, write a page
#   make test    lint, types, tests, doctests, derivations, and the code blocks of README.md and docs/
#   make test-all  the same and the tests marked "slow": sweeps over many models, long trainings
#   make docs    the documentation site, figures included, into site/; make docs-serve shows it
#
# PYTHON=python3.12 make test     uses another interpreter
# WORKERS=8 make test             runs that many test processes (one thread each)

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin
READY   := $(VENV)/.installed

.PHONY: help demo test test-all lint types format derivations pictures docs docs-serve bench clean
.DEFAULT_GOAL := help

help:
	@sed -n '2,9s/^#//p' Makefile
	@echo "  also: lint types format derivations pictures bench clean"

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
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q -m "not slow"

test-all: lint types
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -q --hypothesis-profile=thorough

derivations: $(READY)
	$(BIN)/python -m derivations

# Runs every command of README.md and docs/ that writes a picture of theirs.
pictures: $(READY)
	@grep -rh --include='*.md' '^$$ symnet show .*docs/images/' README.md docs | sed 's/^$$ //' | sort -u | while read -r command; do \
		echo "$$command"; eval "$(BIN)/$$command" || exit 1; done

# The variable silences Material's note on its own future.
docs: pictures
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Open site/index.html."

docs-serve: pictures
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
