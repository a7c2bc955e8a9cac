# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
# Tiny models run fastest on one thread each; on two cores more threads only wait for one another.
# Files of tests go to two processes: more would each import torch again and hold the memory for it.
WORKERS ?= 2
TEST_ENV := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1

.DEFAULT_GOAL := help
.PHONY: help demo test lint format slow clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed ## Set up, then run the whole journey on the embedded base
	@$(PY) examples/demo.py

test: $(VENV)/.extras ## Set up, then run the tests
	$(TEST_ENV) $(PY) -m pytest -n $(WORKERS) --dist loadfile

slow: $(VENV)/.extras ## Run the tests that take minutes
	$(TEST_ENV) $(PY) -m pytest -m slow

lint: $(VENV)/.extras ## Check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.installed ## Format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## Remove what make, runs and builds left
	rm -rf $(VENV) build dist runs releases .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (a few minutes the first time) ..." >&2
	@$(PY) -m pip install --quiet --constraint constraints.txt "pip>=25.1"
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[train,release,audit]" --group dev
	@touch $@

# What only tests need besides: trackers, the evaluation harness, llama.cpp and its file format.
$(VENV)/.extras: $(VENV)/.installed
	@$(PY) -m pip install --quiet --constraint constraints.txt --editable ".[gguf,eval,trackio,tensorboard,mlflow,wandb]" --group peers
	@touch $@
