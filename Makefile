PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# One worker per core, each with one thread for torch: more would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n $(shell nproc 2>/dev/null || echo 2) --dist loadfile
# Set a little below what a full run reaches.
COVERAGE := --cov=covidxr --cov-report= --cov-fail-under=94

.PHONY: app test quick docs wheel manifest results browser clean

app: $(VENV)/.app
	$(BIN)/covidxr app

test: $(VENV)/.test browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -r -c pyproject.toml covidxr pages streamlit_app.py
	$(PYTEST) $(COVERAGE)

quick: $(VENV)/.test
	$(PYTEST) -m "not slow"

# Warnings are errors: mkdocs.yml is strict.
docs: $(VENV)/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

wheel: $(VENV)/.test
	$(BIN)/python -m build --wheel --no-isolation

# After any change in weights/: sizes and hashes of the released files, and the tables of the documentation.
manifest: $(VENV)/.test
	$(BIN)/python -m tools.manifest

results: $(VENV)/.test
	$(BIN)/python -m tools.results

# The virtual environment is created once, and updated when a list of requirements changes.
# pip is upgraded in it, since dependency groups need pip 25.1.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"

$(VENV)/.app: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q -r requirements.txt
	$(BIN)/python -m pip install -q --no-deps -e .
	touch $@

$(VENV)/.test: requirements.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	$(BIN)/python -m pip install -q -r requirements.txt --group dev
	$(BIN)/python -m pip install -q --no-deps --no-build-isolation -e .
	touch $@ $(VENV)/.app

# The browser tests drive Chromium. On Debian as root it is installed; elsewhere CHROMIUM is its path.
browser:
	@command -v chromium >/dev/null || [ -x "$$CHROMIUM" ] || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } || \
		echo "no Chromium: the browser tests will be skipped (set CHROMIUM to its path)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .coverage dist site
