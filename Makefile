# Commands for developers and operators; `make help` lists them. Environments are built in .envs/, weights in .models/,
# logs in .run/. A file marks each completed step, so that an interrupted set-up continues where it stopped.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve test test-slow coverage lint bench rivals bench-fresh demo model train dashboards requirements secrets sbom audit check clean

PORT ?= $(or $(CONVICTION_PORT),8080)
PYTHON ?= python3
export PYTHON

ENVS := .envs
GATEWAY := $(ENVS)/gateway/bin
DEV := $(ENVS)/dev/bin
VLLM := $(ENVS)/vllm/bin/python
TRAINING := $(ENVS)/training/bin/python
TOOLS := $(CURDIR)/$(ENVS)/tools/usr/bin
VERSION = $(error VERSION=... names the version to publish)
USD_PER_HOUR ?= 0.10
MARKET := $(or $(CONVICTION_MARKET_DIR),../shared/market)

# Environments do not depend on each other: make them in parallel.
MAKEFLAGS += --jobs=4 --no-print-directory

# The demonstration ignores the caller's settings: no keys, a temporary store, every feature switched on.
STAND_IN ?= both
DEMO_S ?= 60
DEMO := CONVICTION_API_KEYS_FILE= CONVICTION_HOST= REDIS_URL= CONVICTION_STORE_DIR= CONVICTION_MARKET=sample \
    CONVICTION_GPT4_MODEL= CONVICTION_EXPERIMENTS_FILE=deploy/demo/experiments.json CONVICTION_SHADOW_FRACTION=0.2 \
    CONVICTION_MISTRAL_USD_PER_DAY=5 CONVICTION_GPT4_USD_PER_DAY=5 CONVICTION_METRICS_KEY_NAMES=local

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

serve: $(ENVS)/gateway/.complete model ## everything, on 127.0.0.1:8080 (PORT=... changes it)
	@CONVICTION_PORT=$(PORT) exec $(GATEWAY)/conviction up

# Both suites run in two processes; the longest files start first.
PYTEST := -m pytest -n 2 --dist loadfile --no-loadscope-reorder
TESTED := model $(addprefix $(ENVS)/,dev/.complete training/.complete) $(TOOLS)/promtool $(TOOLS)/amtool

test: lint $(TESTED) ## lint, then all tests but the slow ones
	$(TRAINING) $(PYTEST) tests/training
	PATH="$(TOOLS):$$PATH" $(DEV)/python $(PYTEST) --ignore=tests/training

test-slow: $(TESTED) $(ENVS)/quantise/.complete ## the long proofs: three gateways, chaos at full size, every architecture through AutoAWQ
	$(TRAINING) $(PYTEST) -m slow tests/training
	PATH="$(TOOLS):$$PATH" $(DEV)/python $(PYTEST) -m slow --ignore=tests/training

coverage: $(TESTED) ## branch coverage of app/ and training/ by `make test`'s tests
	@tests/coverage

lint: $(ENVS)/dev/.complete ## ruff, mypy in strict mode, and the import contracts
	$(DEV)/ruff check .
	$(DEV)/ruff format --check --quiet .
	$(DEV)/mypy
	$(DEV)/lint-imports --no-cache >/dev/null || $(DEV)/lint-imports --no-cache

bench: $(ENVS)/dev/.complete $(ENVS)/training/.complete model ## latency and throughput on this machine, compared with other gateways and vLLM
	-@$(MAKE) --keep-going rivals
	@CONVICTION_PORT=0 $(DEV)/conviction up -- $(DEV)/python -m bench.latency
	@CONVICTION_PORT=0 $(DEV)/conviction up --stand-in both -- $(DEV)/python -m bench.latency --brief 400 --full 0
	$(DEV)/python -m bench.gateway
	$(DEV)/python -m bench.gateway --rivals
	@CONVICTION_PORT=0 $(DEV)/conviction up -- $(DEV)/python -m bench.gateway.hosted
	@CONVICTION_PORT=0 $(DEV)/conviction up -- $(DEV)/python -m bench.end_to_end
	$(DEV)/python bench/scrape.py
	$(DEV)/python bench/report.py
	$(DEV)/python bench/shadow.py
	$(DEV)/python bench/decision_log.py
	$(DEV)/python bench/features.py --market $(MARKET)
	$(TRAINING) -m bench.training --market $(MARKET)

# One that cannot be installed is left out of the benchmark, with a line that says so.
RIVALS := litellm smg vllm-router ferrogw portkey envoy

rivals: $(RIVALS:%=$(ENVS)/%/.complete) ## install the gateways that `make bench` measures beside this one

bench-fresh: ## duration of each phase from a fresh clone to the first answer and a restart, with empty caches
	@$(PYTHON) -m bench.fresh

demo: $(ENVS)/dev/.complete ## everything with the stand-in for both models (STAND_IN=gpt-4: for that one), and a minute of traffic (PICTURES=folder)
	@PATH="$(TOOLS):$$PATH" CONVICTION_PORT=$(PORT) $(DEMO) exec $(DEV)/conviction up --stand-in $(STAND_IN) -- \
	    $(DEV)/python -m deploy.demo --seconds $(DEMO_S) $(if $(PICTURES),--pictures $(PICTURES))

model: $(ENVS)/vllm/.complete ## build the default model's weights for this machine, once
	@PYTHONDONTWRITEBYTECODE= $(VLLM) -m training build >/dev/null

train: $(addprefix $(ENVS)/,training/.complete vllm/.complete) ## train a new VERSION from the bars in CONVICTION_MARKET_DIR
	$(TRAINING) -m training run --market $(MARKET) --version $(VERSION) --usd-per-hour $(USD_PER_HOUR)

dashboards: $(ENVS)/dev/.complete ## regenerate Grafana's dashboards from deploy/compose/grafana
	$(DEV)/python -m deploy.compose.grafana

requirements: $(ENVS)/uv/.complete ## update the pinned lists from pyproject.toml (UPGRADE=1: newest versions)
	PATH="$(CURDIR)/$(ENVS)/uv/bin:$$PATH" $(ENVS)/uv/bin/python requirements/lock.py $(if $(UPGRADE),--upgrade)

secrets: ## create what `docker compose up` needs, if missing: ./secrets, one file a secret, and ./.env
	@deploy/compose/first-time

sbom: $(ENVS)/audit/.complete ## write the packages in the gateway's image as CycloneDX JSON: .run/sbom.json
	@requirements/sbom .run/sbom.json $(ENVS)/audit

audit: $(ENVS)/audit/.complete ## list known vulnerabilities of pinned packages (status 77: the lookup failed)
	@$(ENVS)/audit/bin/python requirements/audit.py

check: $(ENVS)/dev/.complete $(ENVS)/audit/.complete $(TOOLS)/promtool $(TOOLS)/amtool ## run all deployment checks, a line each (QUICK=1: only those of CI)
	@deploy/check $(if $(QUICK),--quick)

clean: ## remove environments, weights, logs, caches, and the store of `make serve`
	rm -rf .envs .models .run *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis

# Check before any installation that this machine can serve the model.
$(ENVS)/.supported:
	@mkdir -p $(@D) && $(PYTHON) -m app.contract.hardware && touch $@

# Tried once: where tcmalloc cannot be had, vLLM runs without it.
$(ENVS)/tools/.tcmalloc:
	@mkdir -p $(@D) && requirements/tcmalloc $(@D) && touch $@

$(ENVS)/vllm/.complete: requirements/vllm.txt | $(ENVS)/.supported $(ENVS)/tools/.tcmalloc
	@requirements/install vllm $(@D) && touch $@

$(ENVS)/uv/.complete: requirements/uv.txt
	@$(PYTHON) -m venv --clear $(@D) && $(@D)/bin/pip install --quiet --require-hashes -r $< && touch $@

$(ENVS)/portkey/.complete: requirements/portkey/package-lock.json
	@requirements/install-node portkey $(@D) && touch $@

$(ENVS)/%/.complete: requirements/%.txt
	@requirements/install $* $(@D) && touch $@

# Unpack Debian's packages: an installation would start servers.
$(TOOLS)/promtool $(TOOLS)/amtool &: | $(ENVS)/tools/.tcmalloc  # apt-get takes one caller at a time
	@requirements/prometheus $(ENVS)/tools
