# The one list of commands: `make help` prints it.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TEST_JOBS ?= 4
# A file's tests stay together, in a process with its own databases, engine and cluster.
PYTEST := $(BIN)/pytest -q -n $(TEST_JOBS) --dist loadfile
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export DO_NOT_TRACK := 1
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help install check format test test-unit kubernetes bench demo lock clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

install: $(STAMP) ## make ./.venv with everything, the tests' needs included

$(STAMP): requirements.lock pyproject.toml deployments/install.sh
	@PYTHON="$(PYTHON)" bash deployments/install.sh "$(VENV)"
	@touch $@

check: install ## format, lint, types, layers, unit tests: under a minute
	@$(BIN)/ruff format --check -q . && $(BIN)/ruff check -q .
	@$(BIN)/mypy -p agent -p db -p tasks -p api -p flows
	@$(BIN)/lint-imports --no-cache
	@$(PYTEST) tests/unit tests/guards

format: install ## let ruff rewrite what it can
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .

test: install ## everything, on real databases, processes, systemd and Prefect; skips nothing
	@bash deployments/install-test-needs.sh
	@CI=true $(PYTEST) tests --ignore tests/e2e
	@CI=true $(PYTEST) tests/e2e

test-unit: install ## the unit tests alone
	@$(PYTEST) tests/unit

kubernetes: ## build the Kubernetes of the tests, once, into ~/.cache/hoist-kubernetes (4 to 10 minutes)
	@nice -n 10 bash deployments/kubernetes/build.sh

bench: install ## measure, with peers and the floor, into benchmarks/results (as root, on a quiet machine)
	@bash deployments/install-test-needs.sh bench
	@$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r requirements-bench.lock
	@for bench in benchmarks/*/__main__.py; do $(BIN)/python -m "$$(dirname $$bench | tr / .)" || exit 1; done

demo: install ## three agents, a Prefect server and a real upgrade, on loopback (DEMO_EXIT=1: exit when proven)
	@exec $(BIN)/python -m deployments.demo $(if $(DEMO_EXIT),--exit)

lock: install ## resolve the dependencies anew
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --group dev pyproject.toml --generate-hashes --no-emit-index-url --no-header -o requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --group bench pyproject.toml -c requirements.lock --generate-hashes --no-emit-index-url --no-header -o requirements-bench.lock

clean: ## remove what the commands above made
	rm -rf $(VENV) .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
