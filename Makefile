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

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LINK := .cache/collections/ansible_collections/kubenode/proxy

export PATH := $(CURDIR)/$(BIN):$(PATH)
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/.cache/collections
export ANSIBLE_HOME := $(CURDIR)/.cache/ansible
# For "python -m tests...."; pytest and mypy know by themselves.
export PYTHONPATH := $(CURDIR)/.cache/collections:$(CURDIR)

heading = @printf '\n== %s\n' '$(1)'

.PHONY: help setup packages lint unit conformance conformances integration demo test clean

help: ## List the targets
	@echo 'make setup, then any of:'
	@sed -nE 's/^([a-z]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 16

setup: packages $(STAMP) $(LINK) ## Prepare this machine: Debian packages, .venv, the collection's link
	@echo 'setup: ready'

packages:
	@scripts/install-apt

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

lint: packages $(STAMP) $(LINK) ## Style and types: ruff, mypy, shellcheck, ansible-lint
	$(call heading,lint)
	@ruff check
	@ruff format --check --quiet || { ruff format --check; exit 1; }
	@mypy | sed "s,^\.cache/collections/ansible_collections/kubenode/proxy/,,"
	@shellcheck .ci/run scripts/install-apt tests/lab/guest/*
	@if compgen -G 'roles/*/tasks/main.yml' >/dev/null || compgen -G 'playbooks/*.yml' >/dev/null; then \
	  ansible-lint --offline; fi

unit: $(STAMP) $(LINK) ## Tests without root or a kernel
	$(call heading,unit tests)
	@python -m pytest tests/unit -n 2 -q

conformance: packages $(STAMP) $(LINK) ## Compare with recordings of kube-proxy (CASES, MODE, VERSION, BACKEND)
	$(call heading,conformance: $(MODE) $(VERSION) $(BACKEND))
	@if [ -d '$(CASES)' ]; then python -m tests.conformance '$(CASES)' '$(MODE)' $(VERSION:%=--version %) $(BACKEND:%=--backend %); \
	  else echo 'skipped: there are no recordings in $(CASES); make conformance CASES=DIRECTORY'; fi

conformances: ## Every mode, version and back end that is recorded
	@$(MAKE) conformance MODE=ipvs
	@$(MAKE) conformance MODE=nftables
	@for version in 1.36 1.30; do for backend in nft legacy; do \
	  $(MAKE) conformance MODE=iptables VERSION=$$version BACKEND=$$backend; done; done

integration: packages $(STAMP) $(LINK) ## Tests with namespaces and nodes (root)
	$(call heading,integration tests)
	@python -m pytest $(wildcard tests/integration) tests/lab -q

demo: packages $(STAMP) $(LINK) ## See it work on throw-away nodes (root)
	@python -m tests.demo

test: lint unit conformances integration ## All checks, as in CI

clean: ## Remove what the targets made, .venv included
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis collections tests/output *.tar.gz
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
