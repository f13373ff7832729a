"""Files of a model folder, and their digest: every file that a library would load from it.

Hidden and underscored files, such as a hub's own notes, do not count, unless they would be loaded: because they hold
weights, or because an index or a config names them. A name that leaves the folder is refused, and so is a link to a
folder, which loaders follow and a digest would not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from components.dataflow.errors import StoreError
from components.dataflow.stage import digest

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf")
ADAPTER = "adapter_config.json"


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path, may_be_adapter: bool = False) -> tuple[str, dict[str, str]]:
    """Return the digest of a model folder, and the digest of each of its files by name.

    Raises StoreError for a folder whose index or config names a file outside of it, or that holds a link to a folder;
    and for one that holds an adapter, whose weights belong to another model, unless it may.
    """
    if not may_be_adapter and (folder / ADAPTER).exists():
        raise StoreError(f"{folder} holds an adapter ({ADAPTER}), not a model: merge it into its base model first")
    files = {name: file_digest(folder / name) for name in sorted({*_visible(folder), *_named(folder)})}
    return digest(files), files


def _visible(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part.startswith((".", "_")) for part in name.parts)
        if path.is_symlink() and path.is_dir() and not hidden:
            raise StoreError(f"{folder}: {name.as_posix()} is a link to a folder; put the files themselves there")
        if path.is_file() and (not hidden or (len(name.parts) == 1 and path.suffix in _WEIGHTS)):
            yield name.as_posix()


def _named(folder: Path) -> Iterator[str]:
    """Yield the files that an index or a config names, and those that a named index names."""
    config, tokenizer = folder / "config.json", folder / "tokenizer_config.json"
    tokenizers = _read(tokenizer).get("fast_tokenizer_files")
    named: list[tuple[Path, Any]] = [(config, _read(config).get("transformers_weights"))]
    named += [(tokenizer, name) for name in (tokenizers if isinstance(tokenizers, list) else ())]
    named += [(index, name) for index in sorted(folder.glob("*.index*.json")) for name in _of_index(index)]
    followed = set[str]()
    while named:
        source, name = named.pop()
        if name is None or (isinstance(name, str) and name in followed):
            continue
        name = _checked(folder, source, name)
        followed.add(name)
        if not (folder / name).is_file():
            continue  # whoever loads the model misses it, or does not need it
        yield name
        if name.endswith(".json"):
            # Names in an index count from the model's folder; from the index's own too, since libraries differ.
            inner = PurePosixPath(name).parent
            for weights in _of_index(folder / name):
                _checked(folder, folder / name, weights)
                named += [(folder / name, weights), (folder / name, (inner / weights).as_posix())]


def _checked(folder: Path, source: Path, name: Any) -> str:
    """Return a file name as a path in the folder. Raises StoreError when it names no file in the folder."""
    if not isinstance(name, str) or "\\" in name or "\0" in name or _leaves(name):
        raise StoreError(f"{source} names {name!r}, which is not a file of its folder")
    parents = [folder / parent for parent in PurePosixPath(name).parents]
    if any(parent.is_symlink() for parent in parents[:-1]):
        raise StoreError(f"{source} names {name}, which is behind a link to a folder; put the file itself there")
    return PurePosixPath(name).as_posix()


def _of_index(index: Path) -> Collection[Any]:
    weights = _read(index).get("weight_map")
    return list({str(name): name for name in weights.values()}.values()) if isinstance(weights, dict) else ()


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or not path.parts


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON object of the folder; {} where none can be read, which is reported by whoever loads the model."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
