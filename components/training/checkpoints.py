"""Checkpoints of a training, in its scratch folder: the last two, each with its sha256 in a sealed list.

PyTorch reads a state with a flipped bit without a word. A checkpoint that is not what was saved is put aside, and the
training goes on from the one before, or from its start.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from collections.abc import Callable
from typing import Any, TypeVar

from components.dataflow import quarantine
from components.dataflow.errors import StoreError
from components.dataflow.records import is_name, seal, unseal
from components.dataflow.storage import Files

_KEPT = 2
_LIST = "state.json"
_NO_STATE = (pickle.UnpicklingError, EOFError, ValueError, KeyError, TypeError, AttributeError)
_State = TypeVar("_State")
_NAME = re.compile(r"state-[0-9]{1,12}\.pt")


class Checkpoints:
    """The checkpoints of one training, in its folder of a store.

    One process writes; others may read the checkpoints that are there at the start. stage, key: the training's own,
    which a list must name to be believed.
    """

    def __init__(self, files: Files, folder: str, stage: str, key: str) -> None:
        self.files, self.folder, self.training = files, folder, {"stage": stage, "key": key}
        self.notices: list[str] = []  # why checkpoints are not used, a sentence each
        self.saved: list[dict[str, Any]] = []  # newest first

    def load(self, read: Callable[[bytes], _State], put_aside: bool) -> _State | None:
        """Return the newest checkpoint that is what was saved, as `read` reads it; None where training starts anew.

        put_aside: move those that are not to quarantine/; for one process alone.
        """
        path = f"{self.folder}/{_LIST}"
        try:
            saved = self._list(unseal(self.files.read(path), path))
        except FileNotFoundError:
            self._reject_unsealed(put_aside)
            return None
        except StoreError:
            self._reject(_LIST, "is damaged or of another training, so its checkpoints are not used", put_aside)
            return None
        for at, entry in enumerate(saved):
            try:
                data = self.files.read(f"{self.folder}/{entry['file']}")
            except FileNotFoundError:
                data = b""
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                self._reject(entry["file"], "is missing, or not what was saved, so it is not used", put_aside)
                continue
            try:
                state = read(data)
            except _NO_STATE as error:  # whoever can write a list can name bytes that are no state
                self.notices.append(f"checkpoint {entry['file']} is no state of a training: {type(error).__name__}")
                continue
            self.saved = saved[at:]
            return state
        return None

    def save(self, data: bytes, step: int) -> None:
        """Keep a checkpoint: write its bytes, then the list that names it; then delete those before the last two."""
        name = f"state-{step}.pt"
        self.files.put(f"{self.folder}/{name}", data)
        others = [entry for entry in self.saved if entry["file"] != name]
        entries = [{"file": name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}, *others]
        self.saved = entries[:_KEPT]
        self.files.put(f"{self.folder}/{_LIST}", seal({**self.training, "checkpoints": self.saved}))
        for entry in entries[_KEPT:]:
            self.files.delete(f"{self.folder}/{entry['file']}")

    def _list(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the checkpoints that a list names. Raises StoreError for one of another training or form."""
        saved = record.get("checkpoints")
        if not isinstance(saved, list) or any(record.get(name) != value for name, value in self.training.items()):
            raise StoreError("no list of checkpoints of this training")
        for entry in saved:
            if not isinstance(entry, dict) or not is_name("digest", entry.get("sha256")):
                raise StoreError("a checkpoint without a digest")
            if not isinstance(entry.get("file"), str) or not _NAME.fullmatch(entry["file"]):
                raise StoreError("a checkpoint of another name")
        return saved

    def _reject_unsealed(self, put_aside: bool) -> None:
        """Reject a checkpoint without a digest, as earlier versions saved them: damage to it would not be seen."""
        if self.files.size(f"{self.folder}/state.pt") is not None:
            self._reject("state.pt", "was saved without a digest, by an earlier version, so it is not used", put_aside)

    def _reject(self, name: str, why: str, put_aside: bool) -> None:
        path = f"{self.folder}/{name}"
        self.notices.append(f"checkpoint {self.files.url(path)} {why}")
        if put_aside:
            quarantine.put_aside(self.files, path)
