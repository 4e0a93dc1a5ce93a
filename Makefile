PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: reference docs bench setup test test-fast lint recipes from-olive schema clean quickstart

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	$(BIN)/python -m compileall -q olive_like  # where Python may not write bytecode, every start would compile
	touch $@

test: setup lint
	$(BIN)/python -m pytest -q -n 2 --dist loadgroup

test-fast: setup
	$(BIN)/python -m pytest -q -n 2 -m 'not heavy and not gpu'

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Checks every workflow file below DIR and says what the others lack: make recipes DIR=path
# With RUN=1 the clean ones are run as well, cut down to tiny models and made-up data
recipes: setup
	$(BIN)/python benchmarks/recipes.py $(DIR) $(if $(RUN),--run)

# Writes docs/from-olive.md anew
from-olive: setup
	$(BIN)/python docs/from_olive.py

schema: setup
	$(BIN)/olive-like schema --output docs/schema/workflow.json

# Writes docs/reference anew
reference: setup
	$(BIN)/python docs/reference.py

# Builds the manual into site/
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/mkdocs build --quiet

# Prints what start-up, store and runner cost, beside their bars; alone on the machine
bench: setup
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/store.py
	$(BIN)/python benchmarks/runner.py

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache

quickstart: setup
	$(BIN)/olive-like run olive_like/workflows/quickstart/workflow.yaml --output-path quickstart-outputs
	@echo 'Talk to the result: $(BIN)/olive-like chat quickstart-outputs/int4'
