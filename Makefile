PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two at a time, each with one thread for torch: more would wait for one another.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

.PHONY: app test quick browser clean

app: $(VENV)/.app
	$(BIN)/streamlit run streamlit_app.py

test: $(VENV)/.test browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -r -c pyproject.toml covidxr pages streamlit_app.py
	$(PYTEST)

quick: $(VENV)/.test
	$(PYTEST) -m "not slow"

# The virtual environment is made once, and filled again only when a requirements file changes.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.app: requirements.txt | $(BIN)/python
	$(BIN)/pip install -q -r requirements.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@

$(VENV)/.test: requirements-dev.txt requirements.txt | $(BIN)/python
	$(BIN)/pip install -q -r requirements-dev.txt
	$(BIN)/pip install -q --no-deps -e .
	touch $@ $(VENV)/.app

# The browser tests drive Chromium. Where Debian's packages can be had, it is installed; elsewhere CHROMIUM names one.
browser:
	@command -v chromium >/dev/null || [ -x "$$CHROMIUM" ] || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && apt-get install -y -qq chromium; } || \
		echo "no Chromium: the browser tests will be skipped (set CHROMIUM to its path)"

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
