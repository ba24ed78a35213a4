# Everything lives in $TRAILS_HOME (default: /var/cache/trails as root, ~/.cache/trails otherwise) and is reused.
#   PG_CONFIG=/path/to/pg_config   another PostgreSQL, 15 to 18     PYTHON=/path/to/python3   another interpreter
#   BUDGET='120 s'                 the demo's budget                TRAILS_DATA=/path         where datasets lie
#   TRAILS_SERVERS=ONE:ANOTHER     further pg_configs for test-all
#   TRAILS_TORCH_INDEX=ADDRESS     a package index that has PyTorch's CPU-only build, for a new environment

SHELL := /bin/bash
IN_ENV := tools/in_env.sh
.DEFAULT_GOAL := help
.PHONY: help setup build demo ray-demo test lint test-rust test-python test-all test-hostile soak up uri down dist deb deb-check docs audit clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14
	@sed -nE 's/^#  ( .*)/\1/p' $(MAKEFILE_LIST)

setup: ## Install what is needed: virtual environment, torch, cargo-pgrx, the Python package
	@tools/setup.sh

build: setup ## Build the extension and install it into the server
	@tools/build.sh

demo: build ## Select a model for Frappe, in SQL, within 60 seconds; draws demo/leaderboard.svg and .png
	@$(IN_ENV) python demo/demo.py

ray-demo: build ## The same on a Ray cluster of two nodes on this machine, with a server of its own; leaves nothing running
	@$(IN_ENV) python demo/ray_demo.py

test: build lint test-rust test-python ## Run every test

lint: setup ## Check style and types
	@$(IN_ENV) --as-is tools/lint.sh

test-rust: setup
	@$(IN_ENV) --as-is tools/test_rust.sh

test-python: build
	@$(IN_ENV) tools/test_python.sh

test-all: setup ## The SQL tests on every PostgreSQL at hand, 15 to 18, one after the other: TESTS=tests/sql/test_x.py for some
	@tools/test_all.sh $(TESTS)

# Where ordinary runs fit, and what reads as much as it likes does not. The checks of shadowing types take memory themselves.
MEMORY_LIMIT := 2000

test-hostile: build ## The long tests: cancels on 5,000,000 rows, the SQL tests with little memory, and beside shadowing types
	@$(IN_ENV) python -m pytest -q tests/hostile --full
	@$(IN_ENV) python -m pytest -q tests/sql --memory-limit $(MEMORY_LIMIT)
	@$(IN_ENV) python -m pytest -q tests/sql --shadows --ignore=tests/sql/test_memory.py

soak: build ## An hour of mixed load from eight sessions on a server of its own: MINUTES=10 for another time
	@$(IN_ENV) python -m tools.soak --minutes $(or $(MINUTES),60) --out results/soak.json

up: build ## Start a development server with the extension and the datasets in database "trails"
	@$(IN_ENV) python tools/server.py up

uri: ## Print the development server's connection URI
	@$(IN_ENV) --as-is python tools/server.py uri

down: ## Stop the development server
	@$(IN_ENV) --as-is python tools/server.py down

dist: setup ## Build the wheel and the sdist of the Python package, into dist/
	@$(IN_ENV) --as-is python tools/package.py

deb: setup ## Build Debian packages into dist/, for each server whose headers (postgresql-server-dev-NN) are installed
	@tools/deb.sh

deb-check: ## Install them on a bare Debian, as root: set up, select, predict, upgrade, remove. WHEELS=FOLDER downloads no packages of Python's
	@tools/deb_check.sh

docs: ## Build the documents as a site that can be searched, into dist/site
	@tools/docs.sh

audit: setup ## List what Trails depends on, with licences, and look for known weaknesses where their databases are reached
	@$(IN_ENV) --as-is python -m tools.audit

clean: ## Remove build products and caches; the environment and the development server's data stay
	@tools/clean.sh
