# `make help` lists the targets. Everything is installed below this folder: .venv (Python), .tools (Go binaries, vLLM).
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help setup lock pin-openapi controlplane tools generate verify lint type docs test test-unit test-chart test-podscripts test-microservice \
	test-image test-cluster test-vllm demo bench bench-quantizations bench-streams bench-takeover kind-up kind-down clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.done ## Install the Python environment into .venv (pinned by hash)

$(VENV)/.done: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

lock: ## Pin the requirements anew (needs pip-tools: pip install pip-tools)
	tools/lock.sh

pin-openapi: setup tools ## Take the embedded Kubernetes types from the pinned version's OpenAPI document
	$(BIN)/python tools/pin_openapi.py

controlplane: ## Build etcd, kube-apiserver, kubectl, kwok, ... into .tools/bin (once; 6 to 15 minutes)
	tools/build.sh controlplane

tools: ## That, and helm, promtool, checkov, ... for the checks (once; up to 10 minutes more)
	tools/build.sh

generate: setup tools ## Write everything that is generated: CRDs, chart, manifests, reference pages
	$(BIN)/python -m vllm_operator.generate

verify: setup tools ## Fail if anything generated is not as it would be generated
	$(BIN)/python -m vllm_operator.generate --check

lint: setup ## Style (ruff), the rooms of the house (import-linter) and the Dockerfile (hadolint)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/hadolint Dockerfile

type: setup ## Types (mypy --strict)
	$(BIN)/mypy

docs: setup ## The documentation as a site, in .site; a broken link fails it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-unit: setup ## Pure tests: no cluster, about a minute
	$(PYTEST) tests/unit tests/golden --cov --cov-report=term

test-chart: setup tools ## The chart as Helm renders it: values, schema, roles, checkov, kube-score; no cluster
	$(PYTEST) tests/chart

test-podscripts: setup ## The programs that run inside pods, as processes against a hub on loopback (root: they mount volumes)
	$(PYTEST) tests/podscripts

test-image: setup tools ## What the Dockerfile makes, without a container engine (root, bubblewrap; fetches the requirements)
	$(PYTEST) tests/image

test-microservice: setup ## The LLM microservice as a process, before a stand-in for vLLM; a thousand streams at once
	$(PYTEST) tests/microservice

test-cluster: setup tools ## The operator on a real kube-apiserver; KUBECONFIG_FOR_TESTS=FILE takes a cluster of yours
	$(PYTEST) tests/cluster tests/campaign $(if $(KUBECONFIG_FOR_TESTS),--kubeconfig=$(KUBECONFIG_FOR_TESTS))

test: lint type verify docs test-unit test-chart test-podscripts test-microservice test-image test-cluster ## All checks and tests, as CI runs them

test-vllm: setup ## The rendered pods with a real vLLM on CPUs (a download of 3 GB, 5.2 GB on disk; 10 to 20 minutes)
	PYTHON=$(PYTHON) tools/vllm/install.sh
	$(if $(filter-out 0,$(shell id -u)),unshare --map-root-user )$(PYTEST) tests/vllm

demo: setup controlplane ## Servers on CPUs and on Gaudi from apply to Ready, and mistakes, on a real API server (no model runs)
	$(BIN)/python -m tests.demo

bench: setup tools ## 1,000 servers at once: counts, rates, reaction, CPU, memory, restart; SERVERS=N takes N
	$(BIN)/python -m tests.bench $(if $(SERVERS),--servers $(SERVERS))

bench-quantizations: setup tools ## 500 quantizations at once: writes, reads, CPU, memory, restart
	$(BIN)/python -m tests.bench.quantizations

bench-streams: setup ## 1,000 streams at once through the LLM microservice: CPU, memory; STREAMS=N takes N
	$(BIN)/python -m tests.bench.streams $(if $(STREAMS),--streams $(STREAMS))

bench-takeover: setup tools ## Two operators: requests and CPU at rest, and how soon the standby has the Lease
	$(BIN)/python -m tests.bench.takeover

kind-up: ## A kind cluster for the cluster tests (needs Docker and kind; untried here)
	kind create cluster --config tests/kind.yaml --kubeconfig .tools/kind.kubeconfig

kind-down: ## Remove the kind cluster
	kind delete cluster --name vllm-operator

clean: ## Remove .venv and .tools
	rm -rf $(VENV) .tools
