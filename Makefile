# Everything runs in .venv, which is made on first use and again when pyproject.toml changes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test check lint schema benchmark interpreters clean

demo: $(READY)
	@$(BIN)/doctor demo

test: $(READY)
	@$(BIN)/pytest

check: $(READY) lint
	@$(BIN)/pytest

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

schema: $(READY)
	@$(BIN)/python scripts/generate_schema.py

benchmark: $(READY)
	@$(BIN)/python benchmarks/startup.py
	@$(BIN)/python benchmarks/overhead.py
	@$(BIN)/python benchmarks/sampling.py

interpreters: # those that neither this machine nor pyenv has, for the tests; as root
	@scripts/make_interpreters.sh

$(READY): pyproject.toml
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

clean:
	rm -rf .venv build dist
