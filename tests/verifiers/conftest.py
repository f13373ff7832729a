"""Folders of models that tests of verifiers share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.verifiers.style_models import PUBLISHED, make


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name → a tiny folder as published for that style."""
    root = tmp_path_factory.mktemp("models")
    for name in PUBLISHED:
        make(name, root / name)
    return {name: root / name for name in PUBLISHED}


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """A function that copies one of the folders, to be changed."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / name))

    return copied
