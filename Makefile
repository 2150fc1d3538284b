# Two commands on a fresh machine: `make demo` and `make test`. Both make the virtual environment when it is missing.
VENV ?= .venv
# The first Python on the path that runs and that the locks are made for.
KNOWN = import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(KNOWN)' 2>/dev/null && { echo $$p; break; }; done)
BIN = $(VENV)/bin
NEWEST = $(VENV)-newest
PIP_INSTALL = pip install -qq --disable-pip-version-check --no-input
# Changes of these files mean: install again.
WANT = $(shell cat setup.cfg pyproject.toml locks/setup.txt | sha256sum | cut -c1-16)
WANT_BENCH = $(shell cat setup.cfg pyproject.toml locks/*.txt | sha256sum | cut -c1-16)
# Two processes. Neighbours stay in one, which makes what they share once; whoever is done first takes half of what is left.
TWO = -n 2 --dist worksteal
# Compiled modules are kept, or every program that a test starts compiles ours again.
QUICKLY = OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
export NO_ALBUMENTATIONS_UPDATE = 1

.DEFAULT_GOAL := help
.PHONY: help setup lock demo test test-slow test-newest test-matrix image-venv test-image check audit format bench-setup bench clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: ## make the virtual environment (VENV=DIR, default .venv) from locks/setup.txt if it is missing or out of date
	@test -x $(BIN)/python || test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none is on the path" >&2; exit 2; }
	@test -x $(BIN)/python || { echo "making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv $(VENV); }
	@if [ "$$(cat $(VENV)/.foldpack-installed 2>/dev/null)" = "$(WANT) $(CURDIR)" ]; then :; \
	elif [ "$$(cut -d' ' -f1 $(VENV)/.foldpack-installed 2>/dev/null)" = "$(WANT)" ]; then $(INSTALL_PROJECT); \
	elif ! $(BIN)/python -c '$(KNOWN)'; then \
		echo "$(VENV): made with $$($(BIN)/python -V), and the locks are for 3.11, 3.12 and 3.13; remove $(VENV) first" >&2; exit 2; \
	else \
		echo "installing packages into $(VENV) (torch alone is several GB; a few minutes)"; \
		$(BIN)/$(PIP_INSTALL) --require-hashes -r locks/setup.txt && $(INSTALL_PROJECT); \
	fi

# With the setuptools of the lock: nothing is fetched that the lock does not name.
INSTALL_PROJECT = $(BIN)/$(PIP_INSTALL) --no-deps --no-build-isolation -e . && echo "$(WANT) $(CURDIR)" > $(VENV)/.foldpack-installed

lock: ## make locks/ from setup.cfg; UPGRADE=1 takes newer versions too
	@test -x $(BIN)/uv || $(MAKE) setup
	@$(BIN)/python locks/make_lock.py $(if $(UPGRADE),--upgrade)

demo: setup ## train, blend, pack and rehearse on the embedded digits (under 5 minutes)
	@$(BIN)/foldpack demo

test: setup ## run the tests
	$(QUICKLY) $(BIN)/python -m pytest -m "not slow" $(TWO)

test-slow: setup ## run the long tests too
	$(BIN)/python -m pytest

test-newest: ## run the tests with the newest packages that setup.cfg allows, in an environment of its own
	@test -x $(NEWEST)/bin/python || { echo "making $(NEWEST) with $(PYTHON)"; $(PYTHON) -m venv $(NEWEST); }
	@$(NEWEST)/bin/$(PIP_INSTALL) --upgrade --upgrade-strategy eager -e '.[test,dev]'
	$(QUICKLY) $(NEWEST)/bin/python -m pytest -m "not slow" $(TWO)

test-matrix: setup ## test sealed weights under the oldest and the newest cryptography
	$(BIN)/python tests/run_matrix.py

image-venv: setup ## make the environment with the Kaggle image's versions (8 GB in the cache; once)
	@$(BIN)/python -m packer.image.image_env

test-image: setup ## run every packed kernel of the tests under the Kaggle image's versions and compare with ours
	FOLDPACK_IMAGE_PYTHON="$$($(BIN)/python -m packer.image.image_env)" OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/packer/flatten/test_image.py

check: setup ## ruff, mypy, the rules for packable code, and the audit
	$(BIN)/ruff check .
	$(BIN)/mypy src packer kernels
	$(BIN)/foldpack check
	@$(MAKE) --no-print-directory audit

audit: setup ## look up known vulnerabilities of what the locks name; AUDIT=--warn tells them and does not fail
	@$(BIN)/python locks/audit.py $(AUDIT)

format: setup ## sort imports and mend what ruff can mend
	$(BIN)/ruff check --fix .

bench-setup: setup ## install what the benchmarks compare with, from locks/bench.txt
	@if [ "$$(cat $(VENV)/.foldpack-bench 2>/dev/null)" != "$(WANT_BENCH)" ]; then \
		echo "installing the benchmarks' peers into $(VENV)"; \
		$(BIN)/$(PIP_INSTALL) --no-deps --require-hashes -r locks/bench.txt && echo "$(WANT_BENCH)" > $(VENV)/.foldpack-bench; \
	fi

bench: setup ## run every benchmark; each prints ratios against a named peer, and names the peers that are missing
	@$(MAKE) --no-print-directory bench-setup || echo "the peers could not be installed; their rows are left out" >&2
	@bad=0; for file in $$(grep -l __main__ benchmarks/*.py); do \
		echo "== $$file"; $(BIN)/python $$file || { echo "$$file ended with an error or an aim that was not met"; bad=1; }; \
	done; exit $$bad

clean: ## remove what can be made again (not runs/ or ensembles/)
	rm -rf build .mypy_cache .pytest_cache .ruff_cache .hypothesis
