"""Weights of a Hugging Face folder by their headers alone: names, shapes and whether the files are whole.

A safetensors file is 8 bytes with the length of its header, the header, which is JSON, and the tensors' bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
_ONE_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_FETCH = "fetch the model again"
_CONVERT = (
    "write it with safetensors.torch.save_file(torch.load(FILE, weights_only=True), ...) in a place that you trust"
)


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is stored, and its shape."""

    path: Path
    shape: tuple[int, ...]


def stored_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Return name → tensor of a folder's weights, read as transformers does: one file, else those of an index.

    Raises ValueError, in one line, where there are none, where a file is missing, empty or cut, or where the index and
    the files do not fit.
    """
    if (folder / _ONE_FILE).is_file():
        return read_header(folder / _ONE_FILE)
    if not (folder / _INDEX).is_file():
        pickles = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
        found_instead = f"; {pickles[0]} is a pickle, which can run code: {_CONVERT}" if pickles else ""
        raise ValueError(f"{folder} has no weights that can be read: no {_ONE_FILE}, and no {_INDEX}{found_instead}")
    try:
        placed: dict[str, str] = json.loads((folder / _INDEX).read_text(encoding="utf-8"))["weight_map"]
        files = {folder / name for name in placed.values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{folder / _INDEX} is not an index of weights; {_FETCH}") from error
    found: dict[str, StoredTensor] = {}
    for path in sorted(files):
        if path.parent != folder or not path.is_file():
            raise ValueError(f"{folder / _INDEX} names {path.name}, which is not there; {_FETCH}")
        found |= read_header(path)
    missing = sorted(placed.keys() - found.keys())
    if missing:
        raise ValueError(f"{folder / _INDEX} names {missing[0]}, which no file holds; {_FETCH}")
    return found


def read_header(path: Path) -> dict[str, StoredTensor]:
    """Return name → tensor of one file. Raises ValueError for one that is empty, cut or no safetensors."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LONGEST_HEADER, size - 8):
            raise ValueError(f"{path} has {size:,} bytes and is no whole safetensors file; {_FETCH}")
        try:
            header: dict[str, Any] = json.loads(file.read(length).decode("utf-8"))
            header.pop("__metadata__", None)
            end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
            found = {name: StoredTensor(path, tuple(map(int, t["shape"]))) for name, t in header.items()}
        except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f"{path} has no header of a safetensors file; {_FETCH}") from error
    if size != 8 + length + end:
        raise ValueError(f"{path} has {size:,} bytes, and its header says {8 + length + end:,}; {_FETCH}")
    return found
