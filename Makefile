# Two commands do everything on a fresh machine: `make demo` and `make test`.
.PHONY: demo check test lint clean service service-stop

PYTHON ?= python3
BIN := .venv/bin

demo: .venv/installed
	$(BIN)/mucs demo

# Prefect's server on Postgres, a worker, the explorer and alerts, until Ctrl-C; all of it in mucs-service
service: .venv/installed
	deploy/service

service-stop:
	deploy/service stop

PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# in a minute: what neither trains nor starts servers
check: lint
	$(PYTEST) -m "not slow and not heavy"

test: .venv/installed
	$(PYTEST) -m "not slow"

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv mucs-demo mucs-service build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it with PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[families,service,explorer,fleet,lake,exports,deploy,evaluation,demo,dev]'
	touch $@
