"""The folder of a sample set, as `export.py --format sample_set` writes it: its files, and whether rows are whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from components.dataflow.errors import InputError

ROWS, CARD, ABOUT = "samples.parquet", "README.md", "sample_set.json"


def check_sample_set(path: Path) -> None:
    """Raise InputError where a sample set's rows are not those that its digest was made of. Other paths pass."""
    about = path / ABOUT
    if not about.is_file():
        return
    try:
        wanted = json.loads(about.read_text(encoding="utf-8"))["digest"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{about}: cannot be read as the description of a sample set: {error!r}") from error
    rows = path / ROWS
    if not rows.is_file():
        raise InputError(f"{path}: has {ABOUT}, and no {ROWS}")
    with rows.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != wanted:
        raise InputError(
            f"{rows}: is not the file that {ABOUT} was written for (sha256 {found[:12]}, not {wanted[:12]})"
        )
