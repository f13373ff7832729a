"""The answers of an endpoint, each kept in the store as it comes: no request that was answered is made again.

A shard is committed when all of its answers are there. Until then they are these records, one per request, named by the
hash of all that was asked; `gc` removes them once the stage is whole.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

from components.dataflow.records import note_of, seal, unseal
from components.dataflow.storage import Files


class KeptAnswers:
    """The kept answers of a stage."""

    def __init__(self, files: Files, stage: str) -> None:
        self.files, self.folder = files, f"answers/{stage}"
        self.there = {file.path for file in files.find(self.folder)}

    def get(self, question: str) -> dict[str, Any] | None:
        """Return the answer to a question, named by its digest; None where there is none. Raises StoreError."""
        path = self._path(question)
        return unseal(self.files.read(path), self.files.url(path)) if path in self.there else None

    def keep(self, question: str, answer: Mapping[str, Any]) -> None:
        """Keep an answer."""
        path = self._path(question)
        self.files.create(path, seal(answer))
        self.there.add(path)

    def _path(self, question: str) -> str:
        return f"{self.folder}/{question}.json"


class Spending:
    """The requests and tokens that one run has spent, also in processes that died. For one process at a time."""

    def __init__(self, files: Files, run: str) -> None:
        self.files, self.path, self.lock = files, f"answers/tally/{run}.json", threading.Lock()
        try:
            noted = note_of(files.read(self.path))
        except FileNotFoundError:
            noted = {}
        self.requests, self.tokens = (int(noted.get(name, 0)) for name in ("requests", "tokens"))

    def add(self, requests: int = 0, tokens: int = 0) -> None:
        """Add to it, and write it down."""
        with self.lock:
            self.requests += requests
            self.tokens += tokens
            self.files.put(self.path, json.dumps({"requests": self.requests, "tokens": self.tokens}).encode())
