# make help lists the targets
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
EXTRAS ?= demo,insight,serve,ui,dev

.DEFAULT_GOAL := help
.PHONY: help setup demo test check docs wheel smoke bench format clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## build .venv with the tested versions

# torch comes first, so that a CPU build from your package index is kept; TORCH=torch takes the newest build
TORCH ?= torch==2.13.0
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet "$(TORCH)" -c constraints.txt
	$(BIN)/python -m pip install --quiet -e ".[$(EXTRAS)]" -c constraints.txt
	touch $@

demo: setup ## train MiniLM on the simulated arena, print and plot leaderboards (minutes on two cores)
	$(BIN)/p2l train experiment=demo logger=csv output_dir=outputs/demo

test: setup ## run the tests
	$(BIN)/python -m pytest -q -n auto

check: setup ## format, lint, types, tests, and the documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test
	$(MAKE) docs

wheel: setup ## build dist/p2l-<version>-py3-none-any.whl
	rm -f dist/*.whl
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

smoke: wheel ## install the wheel into an empty environment and run its commands there
	$(BIN)/python .ci/smoke_wheel.py dist/*.whl

bench: setup ## measure every performance claim on this machine and write docs/performance.md (PEERS="--litellm ...")
	$(BIN)/python benchmarks/report.py $(PEERS)

format: setup ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.docs ## build the documentation into site/, every warning an error
	@if [ -x $(BIN)/zensical ]; then $(BIN)/zensical build --clean --strict; else echo "docs: skipped, Python 3.11 is needed"; fi

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[docs]" -c constraints.txt
	touch $@

clean: ## remove the environment and outputs
	rm -rf $(VENV) outputs build dist site *.egg-info
