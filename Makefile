# make help lists the targets
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= demo,insight,serve,ui,dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test check format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## build .venv with the tested versions

# torch comes first: its CPU build where nothing else is asked for (TORCH=torch takes the CUDA build)
TORCH ?= torch==2.13.0
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)" -c constraints.txt
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]" -c constraints.txt
	touch $@

demo: setup ## train MiniLM on the simulated arena, print and plot leaderboards (minutes on two cores)
	$(BIN)/python scripts/train.py experiment=demo logger=csv output_dir=outputs/demo

test: setup ## run the tests
	$(BIN)/python -m pytest -q -n auto

check: setup ## format, lint and types, then the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: setup ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the environment and outputs
	rm -rf $(VENV) outputs build dist *.egg-info
