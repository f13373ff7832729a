"""Imports of slow libraries, announced to the waiting parent of a grading worker, which stops its clock meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable

Listener = Callable[[str, bool | None, str], None]  # (kind, no verdict, library), as a worker's messages are

listener: Listener | None = None


def announce_import(name: str) -> None:
    """Import a slow library unless it is there; the listener gets ("loading", None, name) before, with "" after."""
    if name not in sys.modules:
        if listener is not None:
            listener("loading", None, name)
        __import__(name)
        if listener is not None:
            listener("loading", None, "")
