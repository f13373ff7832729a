"""Files of models on this machine: in a folder of the user's or of a local store, or fetched once into a cache."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

from components.dataflow.errors import NotThere, StoreError
from components.dataflow.model_files import ADAPTER, folder_digest
from components.dataflow.records import model_files_of
from components.dataflow.stage import Model
from components.dataflow.storage import Files


def local_folder(files: Files, model: Model) -> Path:
    """Return a model's folder on this machine, checked by its digest; a remote model is fetched once into a cache.

    Raises StoreError when the files do not have the digest.
    """
    if "://" not in model.path:
        folder = Path(model.path)
        missing = [name for name in model.files if not (folder / name).is_file()]
        if missing:
            raise NotThere(f"{folder} is damaged or changed: {missing[0]} is missing")
        if _digest_of(folder, model) != model.digest:
            raise StoreError(
                f"{folder} is damaged or changed: its files are not those that the study started with. If it is in "
                "the store, `verify --deep --repair` puts it aside, and it is trained again"
            )
        return folder
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stepverify" / str(model.digest)
    if cache.exists() and _digest_of(cache, model) == model.digest:
        return cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    fetched = Path(tempfile.mkdtemp(dir=cache.parent))
    try:
        for name in model_files_of({"files": dict(model.files)}, model.path):
            files.download(f"{model.path.removeprefix(files.root + '/')}/{name}", fetched / name)
        if _digest_of(fetched, model) != model.digest:
            raise StoreError(
                f"{model.path} is damaged or changed: its files are not those that its record names; `verify "
                "--deep --repair` puts it aside, and it is trained again"
            )
        _swap_in(fetched, cache)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    return cache


def _digest_of(folder: Path, model: Model) -> str:
    return folder_digest(folder, may_be_adapter=ADAPTER in model.files)[0]


def _swap_in(fetched: Path, cache: Path) -> None:
    """Put a fetched folder in its place, over a damaged one; another process may have done so meanwhile."""
    try:
        fetched.rename(cache)
    except OSError:
        aside = cache.with_name(f"{cache.name}.{uuid.uuid4().hex}")
        try:
            cache.rename(aside)
            fetched.rename(cache)
        except OSError:
            if not cache.exists():
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
