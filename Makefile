# Each target first sees to .venv; once that is up to date, it costs a fraction of a second.

PY := .venv/bin/python
# Two processes run the tests, each with one thread wherever there is a core: vLLM would bind all of
# its engines to the same ones. A file's tests stay together, since the engines they share take
# gigabytes; those that start any have a run of their own.
WORKERS = 2
ONE_THREAD = OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind
PACKAGES = $(wildcard guard adapters benchmarks)

.PHONY: help setup demo serve test lint clean

help: ## Show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-6s %s\n", $$1, $$2}' Makefile

setup: ## Create or update .venv (GUARD_EXTRAS=cuda,faiss-gpu chooses the engine)
	@for python in python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	    2>/dev/null; then exec $$python scripts/bootstrap.py; fi; \
	done; echo 'setup: Python 3.11, 3.12 or 3.13 is needed, and none is on the PATH' >&2; exit 1

demo: setup ## See a model forget, on this machine
	@$(PY) -m guard.demo

serve: setup ## Start the guarded demo server
	@$(PY) -m guard.demo serve

test: setup ## Run every test
	@$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist loadfile --durations 12 -m "not engine" tests
	@$(ONE_THREAD) $(PY) -m pytest -n $(WORKERS) --dist loadfile --durations 25 -m engine tests

lint: setup ## Check style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy $(PACKAGES)

clean: ## Delete .venv and every cache
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
