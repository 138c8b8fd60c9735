# `make help` lists the targets. To begin with, `make demo` and `make test` are enough.

PYTHON ?= python3
VENV ?= .venv
SECONDS ?= 300
MINUTES ?= 10
TENTHS ?= 10
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
SOURCES := $(shell find asgi_tls demo_app -type f ! -name '*.pyc') pyproject.toml README.md

.PHONY: demo help test test-system test-again system-packages check dist docs diagrams site site-serve fuzz soak mutants \
	matrix bench clean

demo: $(VENV)/$(if $(wildcard $(VENV)/installed),installed,demo-installed)  ## serve the demo application on https://localhost:8443
	@echo "Serving https://localhost:8443 (Ctrl+C stops it). Try it with:"
	@echo "    curl --cacert \"\$$($(BIN)/asgi-tls ca path)\" https://localhost:8443/tls"
	@$(BIN)/asgi-tls uvicorn app:app --app-dir demo_app/live --port 8443

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

# Compiled tests are kept: otherwise each process of a run compiles all of them.
test test-system: export PYTHONDONTWRITEBYTECODE =

# More processes than cores: most of what the tests do is to wait.
test: $(VENV)/installed  ## run the tests that need Python packages only
	$(BIN)/pytest -n 6 --dist worksteal -m "not system" --ignore-glob='*/system'

test-system: $(VENV)/installed $(VENV)/site-installed system-packages  ## run the tests with nginx, browsers and other programs; installs Debian packages
	$(BIN)/pytest -n 5 --dist worksteal -m system

test-again:  ## run once more, one at a time, the tests that failed, if they are five at most
	@test $$(grep -c true .pytest_cache/v/cache/lastfailed) -le 5
	$(BIN)/pytest --last-failed --last-failed-no-failures none

check: $(VENV)/installed dist  ## run ruff, the formatter and mypy --strict, and check the built package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: $(VENV)/installed  ## build the source archive and the wheel, and check how the package index will show them
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation --outdir dist . > /dev/null
	@$(BIN)/twine check --strict dist/*

docs:  ## generate the reference pages in docs/ from the sources
	$(PYTHON) docs/make_api.py > docs/api.md
	PYTHONPATH=. $(PYTHON) tests/support/error_page.py > docs/errors.md
	PYTHONPATH=. $(PYTHON) docs/make_settings.py > docs/settings.md
	PYTHONPATH=. $(PYTHON) docs/make_commands.py > docs/commands.md

diagrams:  ## draw docs/assets/*.svg from the diagrams of the architecture; needs graphviz
	@command -v dot > /dev/null || { echo "dot is missing: apt-get install graphviz"; exit 1; }
	$(PYTHON) docs/make_diagrams.py

site: export NO_MKDOCS_2_WARNING = 1
site: $(VENV)/site-installed  ## build the documentation site into build/site
	$(BIN)/mkdocs build --strict --quiet

site-serve: $(VENV)/site-installed  ## serve it on http://localhost:8000, and build it again at each change
	$(BIN)/mkdocs serve --strict --dev-addr localhost:8000

fuzz: $(VENV)/installed  ## fuzz what parses bytes from outside, for SECONDS=300
	$(PIP) atheris
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS)

soak: $(VENV)/installed system-packages  ## serve under all kinds of traffic while everything around the servers fails, for MINUTES=10
	$(BIN)/python tests/soak/run.py --minutes $(MINUTES)

mutants: $(VENV)/installed  ## change the package in one place at a time, and see whether a test notices; ROOMS="profile hsts" for some, TENTHS=2 for a sample
	$(PIP) "mutmut>=3.8,<4"
	$(BIN)/python tests/mutants/run.py --tenths $(TENTHS) $(ROOMS)

matrix: $(VENV)/installed  ## run the quick tests under every Python that this machine can have
	$(BIN)/python tests/matrix/run.py --update

bench: $(VENV)/installed system-packages  ## measure, side by side with other servers, and write docs/benchmarks.md; SHORT=1, COUNT=1, NAMES=traffic
	$(BIN)/python -m bench $(if $(SHORT),--short) $(if $(COUNT),--count) $(NAMES)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The tests run against the installed wheel, as users get it, so a changed source installs it again.
$(VENV)/installed: $(SOURCES) | $(BIN)/python
	$(PIP) ".[dev]"
	$(PIP) --no-deps --force-reinstall .
	touch $@

# What the demo needs: a small part of what the tests need.
$(VENV)/demo-installed: $(SOURCES) | $(BIN)/python
	$(PIP) ".[uvicorn,stapling]" "fastapi>=0.115.3"
	$(PIP) --no-deps --force-reinstall .
	touch $@

$(VENV)/site-installed: pyproject.toml | $(BIN)/python
	$(PIP) ".[site]"
	touch $@

system-packages:
	@tests/system/install-packages

clean:  ## remove the environment and everything generated
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz .mutants
