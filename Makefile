# Every target does its own set-up inside .venv, and only what is stale. Needs python3 (3.11 or later), gcc and make.
PYTHON ?= python3
VENV ?= .venv
PY = $(VENV)/bin/python
SETUP = pyproject.toml .ci/bootstrap.py
SOURCES = setup.py $(wildcard flambeau/core/*.p[yx]* flambeau/core/*.h flambeau/runtime/*.[ch])

.PHONY: build quickstart test lint docs bench clean

# What the first set-up installs beside the package, all in one go.
quickstart: EXTRAS = examples
test: EXTRAS = examples dev
lint: EXTRAS = dev

build: $(VENV)/.built                  ## the package, importable from .venv/bin/python

quickstart: build $(VENV)/.examples    ## train a convolutional network on real handwritten digits
	$(PY) examples/digits.py

test: build $(VENV)/.examples $(VENV)/.dev    ## the whole suite; PYTEST_ARGS="-k name" narrows it
	$(PY) -m pytest -q -n auto --dist loadfile $(PYTEST_ARGS)

lint: build $(VENV)/.dev               ## style and types
	$(PY) -m ruff check .
	$(PY) -m mypy

docs: build                            ## the API reference from the docstrings, and the table of PyTorch's names
	$(PY) docs/api.py
	$(PY) docs/parity.py

bench: build                           ## BENCH_ARGS="--against /path/to/python" compares with its PyTorch
	$(PY) -m benchmarks $(BENCH_ARGS)

$(VENV)/.base: $(SETUP)
	$(PYTHON) .ci/bootstrap.py $(VENV) $(EXTRAS)

$(VENV)/.built: $(VENV)/.base $(SOURCES)
	$(PY) setup.py -q build_ext --inplace
	@touch $@

# Nothing to do where the rule above has just installed these along with the package.
$(VENV)/.examples $(VENV)/.dev: $(VENV)/.%: $(VENV)/.base
	@[ $@ -nt pyproject.toml ] || $(PYTHON) .ci/bootstrap.py $(VENV) $*
	@touch $@

clean:
	rm -rf build *.egg-info flambeau/core/_core.c flambeau/core/*.so $(VENV)/.built
