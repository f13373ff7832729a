"""Quarantine: a folder of the store for faulty files, out of the way and not lost."""

from __future__ import annotations

from components.dataflow.storage import Files

QUARANTINE = "quarantine"


def put_aside(files: Files, path: str) -> bool:
    """Move a file to quarantine/, under a name that is free there. Returns whether the file was there."""
    if files.size(path) is None:
        return False
    number, free = 1, f"{QUARANTINE}/{path}"
    while files.size(free) is not None:
        number += 1
        free = f"{QUARANTINE}/{path}.{number}"
    files.copy(path, free)
    files.delete(path)
    return True
