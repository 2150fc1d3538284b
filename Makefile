# Two commands on a fresh machine: `make demo` and `make test`. Both make the virtual environment when it is missing.
VENV ?= .venv
# The first Python on the path that runs and is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN = $(VENV)/bin
# Changes of these files mean: install again.
WANT = $(shell cat setup.cfg pyproject.toml | sha256sum | cut -c1-16)
export NO_ALBUMENTATIONS_UPDATE = 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-matrix image-venv test-image check format bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## make the virtual environment (VENV=DIR, default .venv) if it is missing or out of date
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; none is on the path" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@if [ "$$(cat $(VENV)/.foldpack-installed 2>/dev/null)" = "$(WANT) $(CURDIR)" ]; then :; \
	elif [ "$$(cut -d' ' -f1 $(VENV)/.foldpack-installed 2>/dev/null)" = "$(WANT)" ]; then \
		$(BIN)/pip install -q --no-deps -e . && echo "$(WANT) $(CURDIR)" > $(VENV)/.foldpack-installed; \
	else \
		echo "installing packages into $(VENV) (torch alone is several GB; a few minutes)"; \
		$(BIN)/pip install -q --upgrade pip && $(BIN)/pip install -q -e '.[test,dev]' \
		&& echo "$(WANT) $(CURDIR)" > $(VENV)/.foldpack-installed; \
	fi

demo: setup ## train, blend, pack and rehearse on the embedded digits (under 5 minutes)
	@$(BIN)/foldpack demo

test: setup ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2

test-slow: setup ## run the long tests too
	$(BIN)/python -m pytest

test-matrix: setup ## test sealed weights under the oldest and the newest cryptography
	$(BIN)/python tests/run_matrix.py

image-venv: setup ## make the environment with the Kaggle image's versions (8 GB in the cache; once)
	@$(BIN)/python -m packer.image_env

test-image: setup ## run every packed kernel of the tests under the Kaggle image's versions and compare with ours
	FOLDPACK_IMAGE_PYTHON="$$($(BIN)/python -m packer.image_env)" OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/packer/test_image.py

check: setup ## ruff, mypy and the rules for packable code
	$(BIN)/ruff check .
	$(BIN)/mypy src packer
	$(BIN)/foldpack check

format: setup ## sort imports and mend what ruff can mend
	$(BIN)/ruff check --fix .

bench: setup ## run every benchmark; each prints ratios against a named peer
	@for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## remove what can be made again (not runs/ or ensembles/)
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
