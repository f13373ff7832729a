"""Leases: a run says that it works on a stage, so that another run on the same store waits instead of working twice.

They only save work. Correctness comes from exclusive commits: where a lease fails (a network cut, a holder that seems
dead) both work, and the first commit counts. No clocks are compared: a lease is live while its file keeps changing.
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
        self.thread: threading.Thread | None = None  # renews it, while it is held

    def __enter__(self) -> Lease:
        seen, since, told = b"", time.monotonic(), False
        while not self.finished():
            held = self._held()
            if held != seen:
                seen, since = held, time.monotonic()
            if held and (_is_dead(held) or time.monotonic() - since > _DEAD_AFTER):
                self.files.delete(self.path)
                held = b""
            if not held and self._take():
                self.thread = threading.Thread(target=self._keep, daemon=True)
                self.thread.start()
                break
            if not told:
                self.say(f"  another run works on {self.name}; waiting for it")
                told = True
            time.sleep(1)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.thread is None:
            return
        self.ended.set()
        self.thread.join()
        held = self._held()
        if str(self.owner["id"]).encode() in held:  # another may think this run dead, and have taken it
            self.files.delete(self.path)

    def _held(self) -> bytes:
        try:
            return self.files.read(self.path)
        except FileNotFoundError:
            return b""

    def _content(self) -> bytes:
        return json.dumps({**self.owner, "renewal": uuid.uuid4().hex}).encode()

    def _take(self) -> bool:
        content = self._content()
        try:
            return self.files.create(self.path, content) == content
        except FileNotFoundError:  # another had it, and left it between two looks
            return False

    def _renew(self) -> None:
        self.files.put(self.path, self._content())

    def _keep(self) -> None:
        while not self.ended.wait(RENEWED_EVERY):
            try:
                self._renew()
            except OSError:
                return  # the work goes on; another run may do it too


def _is_dead(held: bytes) -> bool:
    """Whether the holder ran on this machine and does not any more, or is not to be read."""
    try:
        owner = json.loads(held)
    except ValueError:
        return True
    if owner["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(owner["pid"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
