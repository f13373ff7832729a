"""The marker of a store: `store.json`, with its format and when it was begun.

Every command but a first run refuses a root without it, so that a mistyped root is never taken for a store that lost
its data, and files of others are never taken for garbage.
"""

from __future__ import annotations

import json
import os
import time

from components.dataflow.errors import StoreError
from components.dataflow.records import OWN_FOLDERS, stage_of, unseal
from components.dataflow.storage import Files

MARKER = "store.json"
FORMAT = 1  # raise it when the meaning of records changes
_LOOKED_AT = 50  # files of each folder that are looked at in a root without a marker


class NoStore(StoreError):
    """The root is no store."""


def begin(files: Files) -> str:
    """Make a root a store, if it is none. Returns a sentence for the user, or "" where it was one.

    A store from before there were markers gets one. Raises StoreError for a store of another format or one that holds
    links, OSError for a root that cannot be listed.
    """
    if _read(files):
        return ""
    return _mark(files, looked_like_one=_looks_like_a_store(files))


def require(files: Files, marks: bool = False) -> str:
    """Check that the root is a store of this format. Returns a sentence for the user about a store from before there
    were markers, else "".

    marks: give such a store its marker. Raises NoStore for a root that is no store, StoreError for a store of another
    format or one that holds links, OSError for a root that cannot be listed.
    """
    if _read(files):
        return ""
    if not _looks_like_a_store(files):
        nothing = "" if files.top() else ", and nothing else either"
        raise NoStore(f"{files.root} is not a store: it has no {MARKER}{nothing}")
    if marks:
        return _mark(files, looked_like_one=True)
    return f"{files.root} is a store that was begun before stores were marked; the next run gives it a {MARKER}"


def _mark(files: Files, looked_like_one: bool) -> str:
    marker = {"store": "stepverify", "format": FORMAT, "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    files.create(MARKER, (json.dumps(marker) + "\n").encode())
    _read(files)  # the first writer's marker counts
    if looked_like_one:
        return f"{files.root} is a store that was begun before stores were marked; it has a {MARKER} now"
    return f"{files.root} becomes a store: it has a {MARKER} now"


def is_empty(files: Files) -> bool:
    """Return whether the root is empty or missing."""
    return not files.top()


def _read(files: Files) -> bool:
    """Return whether there is a marker of this format. Raises StoreError for other formats and for linked folders."""
    for folder in (*OWN_FOLDERS, "studies", "quarantine"):
        if files.is_local and os.path.islink(files.url(folder)):
            raise StoreError(
                f"{files.url(folder)} is a link: what a study writes or removes there would be outside of the store. "
                "Move the whole store, or mount the other disk at that folder"
            )
    name = files.url(MARKER)
    try:
        data = files.read(MARKER)
    except FileNotFoundError:
        return False
    try:
        marker = json.loads(data)
        kind, number = marker["store"], marker["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        kind, number = None, None
    if kind != "stepverify" or type(number) is not int:
        raise StoreError(
            f"{name} is not the marker of a store: delete it if the folder is one, and run the study again"
        )
    if number != FORMAT:
        version = (
            "a newer version of Stepverify: update it" if number > FORMAT else "an older one: run it with that version"
        )
        raise StoreError(
            f"{name}: the store has format {number}, and this version reads {FORMAT}. It was made by {version}"
        )
    return True


def _looks_like_a_store(files: Files) -> bool:
    """Return whether a sealed record lies where a store keeps its own, among the first files of each of its folders."""
    for folder in OWN_FOLDERS:
        for looked_at, file in enumerate(files.find(folder)):
            if looked_at == _LOOKED_AT:
                break
            if file.path.endswith(".json") and folder in ("commits", "datasets", "models", "runs"):
                try:
                    unseal(files.read(file.path), file.path)
                except (StoreError, FileNotFoundError):
                    continue
                if stage_of(file.path) is not None:
                    return True
    return False
