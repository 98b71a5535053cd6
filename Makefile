# Millrace. `make` prints this help; anything longer than two lines is a script in scripts/.
.DEFAULT_GOAL := help
.PHONY: help setup up down demo test-unit test test-stack lint cases bench chaos doctor kit backup restore lock schemas boards

PYTHON ?= python3
BIN := .venv/bin
COMPOSE ?= docker compose
ARGS ?=

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Run
up: ## start the whole platform and wait until it is healthy
	$(COMPOSE) up -d --wait --wait-timeout 180

down: ## stop it; all data stay
	$(COMPOSE) down

demo: ## run everything here without Docker, with a live picture; Ctrl-C stops it (ARGS="--seconds 60")
	@scripts/demo $(PYTHON) $(ARGS)

##@ Look after a plant
doctor: ## say in plain words what is wrong with the running platform
	scripts/doctor $(ARGS)

kit: ## make the kit of one more gateway, for an edge box (ARGS=NAME)
	scripts/kit $(ARGS)

backup: ## copy all data of the platform into one file (ARGS=FILE)
	scripts/backup $(ARGS)

restore: ## bring a backup back (ARGS=FILE)
	scripts/restore $(ARGS)

##@ Develop
setup: $(BIN)/.ready ## install every service and command into .venv

$(BIN)/.ready: requirements-dev.txt requirements-build.txt $(wildcard services/*/pyproject.toml)
	@scripts/setup $(PYTHON)

test-unit: $(BIN)/.ready ## tests that need no server and start no process, properties with few examples: seconds
	$(BIN)/python -m pytest -q --hypothesis-profile quick -m "not process and not long and not broker and not influx and not browser and not stack" $(ARGS)

test: $(BIN)/.ready ## every ring that this machine allows, and what it could not run
	scripts/test $(ARGS)

test-stack: $(BIN)/.ready ## the compose file, started and tested unchanged (needs a Docker engine)
	$(BIN)/python -m pytest -q -m stack $(ARGS)

lint: $(BIN)/.ready ## ruff and mypy
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy services tests grafana/boards benchmarks chaos deploy

bench: $(BIN)/.ready ## measure (benchmarks/README.md says what and how)
	scripts/bench $(ARGS)

chaos: $(BIN)/.ready ## half an hour of seeded faults and kills, then the score (ARGS="--seed 1 --minutes 30")
	@scripts/mosquitto >/dev/null && scripts/influxd >/dev/null
	@$(BIN)/python -m chaos $(ARGS)

lock: ## write the hashed requirements anew (ARGS=--upgrade)
	$(BIN)/python scripts/lock $(ARGS)

schemas: $(BIN)/.ready ## write docs/schemas/ from the message types
	$(BIN)/python -m millrace_contract.language.schemas docs/schemas

cases: $(BIN)/.ready ## write what the golden cases of tests/cases expect anew; then read the diff
	$(BIN)/python -m pytest -q tests/cases --write-expected $(ARGS)

boards: $(BIN)/.ready ## write grafana/dashboards/ from code
	$(BIN)/python -m grafana.boards
