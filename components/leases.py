"""Leases: a run says that it works on a stage, so that another run on the same store waits instead of working twice.

They only save work. Correctness comes from exclusive commits: where a lease fails (a network cut, two runs at the same
instant) both work, and the first commit counts. No clocks are compared: a lease is live while its file keeps changing.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable

from components.files import Files

RENEWED_EVERY = 3.0  # seconds
_DEAD_AFTER = 20.0  # seconds without a change, by the watcher's monotonic clock


class Lease:
    """`with Lease(files, name, finished, say):` waits while another run holds the name and `finished()` is false."""

    def __init__(self, files: Files, name: str, finished: Callable[[], bool], say: Callable[[str], None]) -> None:
        self.files, self.path = files, f"leases/{name}.json"
        self.name, self.finished, self.say = name, finished, say
        self.owner = {"host": socket.gethostname(), "pid": os.getpid(), "id": uuid.uuid4().hex}
        self.ended = threading.Event()

    def __enter__(self) -> Lease:
        seen, since, told = b"", time.monotonic(), False
        while not self.finished():
            held = self._held()
            if held != seen:
                seen, since = held, time.monotonic()
            if not held or _is_dead(held) or time.monotonic() - since > _DEAD_AFTER:
                break
            if not told:
                self.say(f"  another run works on {self.name}; waiting for it")
                told = True
            time.sleep(1)
        self._renew()
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.ended.set()
        self.thread.join()
        held = self._held()
        if held and json.loads(held).get("id") == self.owner["id"]:
            self.files.delete(self.path)

    def _held(self) -> bytes:
        try:
            held = self.files.read(self.path)
            json.loads(held)
        except (FileNotFoundError, ValueError):
            return b""
        return held

    def _renew(self) -> None:
        self.files.put(self.path, json.dumps({**self.owner, "renewal": uuid.uuid4().hex}).encode())

    def _keep(self) -> None:
        while not self.ended.wait(RENEWED_EVERY):
            try:
                self._renew()
            except OSError:
                return  # the work goes on; another run may do it too


def _is_dead(held: bytes) -> bool:
    """Whether the holder ran on this machine and does not any more."""
    owner = json.loads(held)
    if owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
