# Everything a developer or an operator types; `make help` lists it. Environments are made in .envs/, weights in
# .models/, logs in .run/. What is complete is marked by a file, so that a set-up cut off goes on where it stopped.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help serve test lint bench demo model train dashboards requirements secrets sbom audit check clean

PORT ?= $(or $(CONVICTION_PORT),8080)
PYTHON ?= python3
export PYTHON

ENVS := .envs
GATEWAY := $(ENVS)/gateway/bin
TRAINING := $(ENVS)/training/bin/python
QUANTISE := $(ENVS)/quantise/bin/python
TOOLS := $(CURDIR)/$(ENVS)/tools/usr/bin
VERSION = $(error VERSION=... names the version to publish)
USD_PER_HOUR ?= 0.10
MARKET := $(or $(CONVICTION_MARKET_DIR),../shared/market)

# What the demonstration shows is its own, whatever else is set: no keys, a store that goes with it, some of everything.
STAND_IN ?= both
DEMO_S ?= 60
DEMO := CONVICTION_API_KEYS_FILE= CONVICTION_HOST= REDIS_URL= CONVICTION_STORE_DIR= CONVICTION_MARKET=sample \
    CONVICTION_GPT4_MODEL= CONVICTION_EXPERIMENTS_FILE=deploy/demo/experiments.json CONVICTION_SHADOW_FRACTION=0.2 \
    CONVICTION_MISTRAL_USD_PER_DAY=5 CONVICTION_GPT4_USD_PER_DAY=5

# vLLM's 4-bit kernel for CPUs is written in AVX-512; elsewhere the merged weights are served as they are.
KIND := $(if $(shell grep -m1 -ow avx512f /proc/cpuinfo 2>/dev/null),awq,bf16)
QUANTISER := $(if $(filter awq,$(KIND)),$(ENVS)/quantise/.complete)
BUILT := .models/built-$(KIND)

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 22

serve: $(ENVS)/gateway/.complete $(ENVS)/vllm/.complete $(BUILT) ## everything, on 127.0.0.1:8080 (PORT=... changes it)
	@CONVICTION_PORT=$(PORT) exec $(GATEWAY)/conviction up

test: lint $(ENVS)/vllm/.complete $(ENVS)/training/.complete $(QUANTISER) $(BUILT) $(TOOLS)/promtool ## lint, then all tests
	$(TRAINING) -m pytest tests/training
	PATH="$(TOOLS):$$PATH" $(GATEWAY)/pytest --ignore=tests/training

lint: $(ENVS)/gateway/.complete ## ruff, and mypy in strict mode
	$(GATEWAY)/ruff check .
	$(GATEWAY)/ruff format --check --quiet .
	$(GATEWAY)/mypy

bench: $(ENVS)/gateway/.complete $(ENVS)/vllm/.complete $(ENVS)/litellm/.complete $(BUILT) ## latency and speeds on this machine, beside others'
	@CONVICTION_PORT=0 $(GATEWAY)/conviction up -- $(GATEWAY)/python bench/latency.py
	$(GATEWAY)/python bench/gateway_overhead.py
	$(GATEWAY)/python -m bench.gateway --litellm $(ENVS)/litellm
	@CONVICTION_PORT=0 $(GATEWAY)/conviction up -- $(GATEWAY)/python -m bench.gateway.hosted
	$(GATEWAY)/python bench/scrape.py
	$(GATEWAY)/python bench/report.py
	$(GATEWAY)/python bench/shadow.py
	$(GATEWAY)/python bench/features.py --market $(MARKET)
	$(TRAINING) -m bench.training --market $(MARKET)

demo: $(ENVS)/gateway/.complete ## everything, the stand-in as both models (STAND_IN=gpt-4: as that one), and a minute of traffic
	@PATH="$(TOOLS):$$PATH" CONVICTION_PORT=$(PORT) $(DEMO) exec $(GATEWAY)/conviction up --stand-in $(STAND_IN) -- \
	    $(GATEWAY)/python -m deploy.demo --seconds $(DEMO_S)

model: $(BUILT) ## the default model's weights, rebuilt from model_store/ (once)

train: $(addprefix $(ENVS)/,training/.complete quantise/.complete vllm/.complete) ## a new VERSION from the bars in CONVICTION_MARKET_DIR
	$(TRAINING) -m training run --market $(MARKET) --version $(VERSION) --usd-per-hour $(USD_PER_HOUR)

dashboards: $(ENVS)/gateway/.complete ## write Grafana's dashboards anew from deploy/grafana
	$(GATEWAY)/python -m deploy.grafana

requirements: $(ENVS)/lock/.complete ## make the pinned lists agree with pyproject.toml (UPGRADE=1: the newest of all)
	PATH="$(CURDIR)/$(ENVS)/lock/bin:$$PATH" $(ENVS)/lock/bin/python requirements/lock.py $(if $(UPGRADE),--upgrade)

secrets: ## what `docker compose up` needs, where it is missing: ./secrets, a file a secret, and ./.env
	@deploy/first-time

sbom: $(ENVS)/audit/.complete ## what the gateway's image holds, as CycloneDX JSON: .run/sbom.json
	@requirements/sbom .run/sbom.json $(ENVS)/audit

audit: $(ENVS)/audit/.complete ## known vulnerabilities of all that is pinned (status 77: they could not be looked up)
	@$(ENVS)/audit/bin/python requirements/audit.py

check: $(ENVS)/gateway/.complete $(ENVS)/audit/.complete $(TOOLS)/promtool ## all checks of deployment, a line each (QUICK=1: those of CI)
	@deploy/check $(if $(QUICK),--quick)

clean: ## remove environments, weights, logs, caches, and the store of `make serve`
	rm -rf .envs .models .run *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis

# Once complete, a version's weights stay; a new version in the store is built beside it.
$(BUILT): model_store/current $(wildcard model_store/*/*/manifest.json) | $(ENVS)/training/.complete $(QUANTISER)
	@echo "model: building the $(KIND) weights, some minutes"
	@MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 \
	    $(TRAINING) -m training build --models .models --quantise-python $(QUANTISE) --kind $(KIND)
	@touch $@

$(ENVS)/gateway/.complete: requirements/dev.txt
	@requirements/install dev $(@D) && touch $@

$(ENVS)/%/.complete: requirements/%.txt
	@requirements/install $* $(@D) && touch $@

$(ENVS)/lock/.complete:
	@$(PYTHON) -m venv --clear $(@D) && $(@D)/bin/pip install --quiet uv && touch $@

# From Debian's package, unpacked here: installing it would start a server.
$(TOOLS)/promtool:
	@requirements/prometheus $(ENVS)/tools
