# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
CASES ?= ../shared/recordings
MODE ?= ipvs
VERSION ?=
BACKEND ?=
SIZES ?=
SAMPLE ?=
TARGETS ?=
MATRIX ?=
SCENARIO ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KERNEL := .cache/stock-kernel
SITE := .cache/docs
LINK := .cache/collections/ansible_collections/kubenode/proxy

export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
# For "python -m tests...."; pytest and mypy know by themselves.
export PYTHONPATH := $(CURDIR)/.cache/collections:$(CURDIR)

OLDEST := 3.8
sanity = scripts/ansible-test sanity --color no $(1) >.cache/sanity.log 2>&1 || \
  { grep -E "^(ERROR|FATAL):" .cache/sanity.log || tail -n 50 .cache/sanity.log; exit 1; }
heading = @printf '\n== %s\n' '$(1)'

.PHONY: help setup packages stock-kernel java browser lint sanity docs unit conformance conformances compatibility compatible audit audits leftover leftovers molecule integration targets matrix demo bench test clean

help: ## List the targets
	@echo 'make setup, then any of:'
	@sed -nE 's/^([a-z]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 16

setup: packages $(STAMP) $(LINK) ## Prepare this machine: Debian packages, .venv, the collection's link
	@echo 'setup: ready'

packages:
	@scripts/install-apt

stock-kernel: packages $(KERNEL) # For nodes under QEMU
	@scripts/install-apt requirements/apt-qemu.txt

java: packages # For ansible-rulebook
	@scripts/install-apt requirements/apt-java.txt

browser: packages # For the pages of the fleet report
	@scripts/install-apt requirements/apt-chromium.txt

$(KERNEL): scripts/stock-kernel
	@scripts/stock-kernel $@

$(STAMP): requirements/dev.txt requirements/constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Python 3.11 or newer is needed; this is' "$$($(PYTHON) --version 2>&1)": make PYTHON=python3.12 setup >&2; exit 1; }
	@[ -x $(BIN)/python ] || { echo 'setup: creating $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@echo 'setup: installing the pinned Python packages'
	@$(BIN)/python -m pip --disable-pip-version-check install -qq -r requirements/dev.txt -c requirements/constraints.txt
	@touch $@

$(LINK):
	@mkdir -p $(@D)
	@ln -sfn ../../../.. $@

LINT_DOCS := antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .

lint: packages $(STAMP) $(LINK) ## Style and types: ruff, mypy, shellcheck, ansible-lint, antsibull, reuse
	$(call heading,lint)
	@ruff check
	@ruff format --check --quiet || { ruff format --check; exit 1; }
	@mypy | sed "s,^\.cache/collections/ansible_collections/kubenode/proxy/,,"
	@shellcheck .ci/run scripts/install-apt scripts/stock-kernel scripts/ansible-test scripts/molecule scripts/echarts/build tests/lab/guest/*
	@ansible-lint --offline
	@antsibull-changelog lint
	@reuse lint --quiet || { reuse lint --lines; exit 1; }
	@# Again, as the random name of its temporary folder is a reference in RST where it ends with an underscore.
	@$(LINT_DOCS) || $(LINT_DOCS)

sanity: packages $(STAMP) ## Ansible's own tests of collections, and imports with the oldest Python of a target
	$(call heading,sanity)
	@$(call sanity,)
	@if python$(OLDEST) -V >/dev/null 2>&1 || compgen -G "$$HOME/.pyenv/versions/$(OLDEST).*" >/dev/null; then \
	  $(call sanity,--test compile --test import --python $(OLDEST)); \
	  else echo 'skipped: there is no Python $(OLDEST)'; fi

docs: $(STAMP) $(LINK) ## Build the site of the documentation in .cache/docs/html
	$(call heading,docs)
	@rm -rf $(SITE)
	@mkdir -p $(SITE)/source/collection
	@chmod og-w $(SITE)/source/collection
	@cp -r docs/docsite/index.md docs/guides $(SITE)/source
	@antsibull-docs collection --fail-on-error --use-current --squash-hierarchy --dest-dir $(SITE)/source/collection kubenode.proxy
	@sphinx-build -q -W --keep-going -c docs/docsite $(SITE)/source $(SITE)/html
	@echo 'docs: $(SITE)/html/index.html'

unit: $(STAMP) $(LINK) ## Tests without root or a kernel
	$(call heading,unit tests)
	@python -m pytest tests/unit -n 2 -q

conformance: packages $(STAMP) $(LINK) ## Compare with recordings of kube-proxy (CASES, MODE, VERSION, BACKEND)
	$(call heading,conformance: $(MODE) $(VERSION) $(BACKEND))
	@if [ -d '$(CASES)' ]; then python -m tests.conformance '$(CASES)' '$(MODE)' $(VERSION:%=--version %) $(BACKEND:%=--backend %); \
	  else echo 'skipped: there are no recordings in $(CASES); make conformance CASES=DIRECTORY'; fi

conformances: ## Every mode, version and back end that is recorded
	@rm -rf .cache/conformance
	@$(MAKE) conformance MODE=ipvs
	@$(MAKE) conformance MODE=nftables
	@for version in 1.36 1.30; do for backend in nft legacy; do \
	  $(MAKE) conformance MODE=iptables VERSION=$$version BACKEND=$$backend; done; done

compatibility: conformances ## Compare all, and write the table of docs/guides/compatibility.md
	@python -m tests.conformance.table write

compatible: # The table says what "make conformances" has found of the recordings that it is about
	$(call heading,compatibility)
	@if [ '$(origin CASES)' = file ] && [ -d '$(CASES)' ]; then python -m tests.conformance.table check; else echo skipped; fi

audit: packages $(STAMP) $(LINK) ## Audit nodes as kube-proxy left them (CASES, MODE, VERSION, BACKEND, TAMPERED, ROUNDS)
	$(call heading,audit: $(MODE) $(VERSION) $(BACKEND))
	@if [ -d '$(CASES)' ]; then python -m tests.audit '$(CASES)' '$(MODE)' $(VERSION:%=--version %) $(BACKEND:%=--backend %); \
	  else echo 'skipped: there are no recordings in $(CASES); make audit CASES=DIRECTORY'; fi

audits: ## Every mode, version and back end that is recorded, each at least once
	@$(MAKE) audit MODE=ipvs
	@$(MAKE) audit MODE=nftables
	@$(MAKE) audit MODE=iptables VERSION=1.36 BACKEND=nft
	@$(MAKE) audit MODE=iptables VERSION=1.30 BACKEND=legacy

leftover: packages $(STAMP) $(LINK) ## Take nodes as kube-proxy left them to other modes and to none (CASES, MODE, VERSION, SAMPLE)
	$(call heading,leftover: $(MODE) $(VERSION))
	@if [ -d '$(CASES)' ]; then SAMPLE=$(SAMPLE) python -m tests.leftovers '$(CASES)' '$(MODE)' $(VERSION:%=--version %); \
	  else echo 'skipped: there are no recordings in $(CASES); make leftover CASES=DIRECTORY'; fi

leftovers: ## Every mode, and every tenth case
	@for mode in ipvs iptables nftables; do $(MAKE) leftover MODE=$$mode SAMPLE=10; done

molecule: packages $(STAMP) $(LINK) ## Molecule scenarios on nodes with kernels of their own (root, SCENARIO)
	$(call heading,molecule: $(or $(SCENARIO),all scenarios))
	@scripts/molecule $(SCENARIO)

integration: stock-kernel java browser $(STAMP) $(LINK) ## Tests with namespaces and nodes (root)
	$(call heading,integration tests)
	@python -m pytest $(wildcard tests/integration) tests/lab -q

targets: packages $(STAMP) $(LINK) ## ansible-test integration: every module on nodes, four runs a case (root, TARGETS)
	$(call heading,integration targets)
	@python -m tests.integration.run_targets $(TARGETS) >.cache/targets.log 2>&1 || \
	  { grep -E "^(ERROR|FATAL|fatal):|^TASK|^\[ERROR" .cache/targets.log | grep -B 1 -vE "^TASK"; exit 1; }
	@awk '/^Running/ { print "  " $$2 }' .cache/targets.log

matrix: packages $(STAMP) $(LINK) ## The built collection beside the oldest and the newest ansible-core (root, MATRIX=full)
	$(call heading,oldest and newest ansible-core)
	@MATRIX=$(MATRIX) python -m pytest tests/matrix -q

demo: packages $(STAMP) $(LINK) ## See it work on a throw-away node (root, MODE)
	@python -m tests.demo $(MODE)

bench: packages $(STAMP) $(LINK) ## Measure on real kernels, beside the raw tools (SIZES=1000x10)
	@python -m tests.bench $(SIZES)
	@python -m tests.bench.fleet

test: lint sanity docs unit conformances compatible audits leftovers molecule integration targets matrix ## All checks, as in CI

clean: ## Remove what the targets made, .venv included
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis collections tests/output *.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
