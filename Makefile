# Everything that this project asks of a machine. Two are enough for a newcomer: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := $(shell find asgi_tls demo_app -name '*.py' -o -name '*.html' -o -name '*.toml') pyproject.toml README.md

.PHONY: demo test test-system system-packages check docs matrix bench clean

demo: $(VENV)/installed  ## serve the demo application on https://localhost:8443
	@echo "Serving https://localhost:8443 (Ctrl+C stops it). Try it with:"
	@echo "    curl --cacert \"\$$($(BIN)/asgi-tls ca path)\" https://localhost:8443/tls"
	@$(BIN)/asgi-tls uvicorn app:app --app-dir demo_app/live --port 8443

test: $(VENV)/installed  ## what needs Python packages only
	$(BIN)/pytest -n 2 --dist worksteal -m "not system"

test-system: $(VENV)/installed system-packages  ## with nginx, browsers and the like
	$(BIN)/pytest -n 2 --dist worksteal -m system

check: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs:  ## the reference, made of the docstrings
	$(PYTHON) docs/make_api.py > docs/api.md
	PYTHONPATH=. $(PYTHON) tests/support/error_page.py > docs/errors.md
	PYTHONPATH=. $(PYTHON) docs/make_settings.py > docs/settings.md

matrix: $(VENV)/installed  ## the quick tests under every Python that this machine can have
	$(BIN)/python tests/matrix/run.py --update

bench: $(VENV)/installed
	$(BIN)/python -m bench

# The tests run against the wheel that users get, so it is installed again whenever a source changes.
$(VENV)/installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ".[dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall .
	touch $@

system-packages:
	@tests/system/install-packages

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
