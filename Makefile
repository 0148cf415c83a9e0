# Everything a person types. Each target does its own set-up on a machine that has Python 3.11 or later, and make.
PYTHON ?= python3
BIN := .venv/bin
QOL_HOME ?= .qol
export QOL_HOME

# Only errors of pip concern anybody here.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip -qq

.DEFAULT_GOAL := help
.PHONY: help demo test dev check docs benchmarks install clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/base ## Simulated Garmin cloud -> webhook -> raw -> Dagster -> table, in under a minute
	@$(BIN)/qol demo

dev: .venv/base ## Dagster's UI on http://127.0.0.1:3000, with schedule and sensors
	@$(BIN)/qol dev

test: .venv/all ## All tests, with real Spark, HTTP and mail
	@$(BIN)/pytest --numprocesses auto --dist loadfile --quiet

check: .venv/all ## What style and types have to say
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: .venv/all ## The documentation site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmarks: .venv/all .venv/peers ## Figures beside other ways to do the same, and how they grow
	@$(BIN)/python -m benchmarks

install: .venv/all ## .venv with everything

clean: ## Remove what was made, but not .qol with its data
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .tmp_dagster_home_*

.venv/pip:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed")'
	@echo "installing into .venv (once, a minute or two)"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/base: .venv/pip pyproject.toml constraints.txt
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

.venv/all: .venv/base
	@$(PIP) install --constraint constraints.txt --editable '.[spark,aws,dev,docs]'
	@touch $@

# Apart from ours, where pandas would be loaded for being there.
.venv/peers: .venv/pip benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv/with-peers
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/with-peers/bin/pip -qq install --requirement benchmarks/requirements.txt
	@touch $@
