"""Leases: a run notes that it works on a stage, so that another run on the same store waits instead of working twice.

Leases only save work; correctness comes from exclusive commits. Where a lease fails (a network cut, a holder that seems
dead) both runs work, and the first commit counts. No clocks are compared: a lease is live while its file keeps
changing, whatever the file holds.
"""

from __future__ import annotations

import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.dataflow.records import note_of
from components.dataflow.storage import Files

RENEWED_EVERY = 3.0  # seconds
_DEAD_AFTER = 20.0  # seconds without a change, by the watcher's monotonic clock


class Lease:
    """A lease on a name: `with Lease(…):` waits while another run holds the name and `finished()` is false.

    run: the path of the holder's run record, which `gc` keeps while the lease is live; "": none.
    """

    def __init__(
        self, files: Files, name: str, finished: Callable[[], bool], say: Callable[[str], None], run: str = ""
    ) -> None:
        self.files, self.path = files, f"leases/{name}.json"
        self.name, self.finished, self.say = name, finished, say
        self.owner = {"host": socket.gethostname(), "processes": _processes(), "pid": os.getpid(), "run": run}
        self.owner["id"] = uuid.uuid4().hex
        self.ended = threading.Event()
        self.thread: threading.Thread | None = None  # renews it, while it is held

    def __enter__(self) -> Lease:
        seen, since, announced = None, time.monotonic(), False
        while not self.finished():
            held = self._held()
            if held != seen:
                seen, since = held, time.monotonic()
            if held is not None and (_is_dead(held) or time.monotonic() - since > _DEAD_AFTER):
                self.files.delete(self.path)
                held = None
            if held is None and self._take():
                self.thread = threading.Thread(target=self._keep, daemon=True)
                self.thread.start()
                break
            if not announced:
                self.say(f"  another run works on {self.name}; waiting for it")
                announced = True
            time.sleep(1)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.thread is None:
            return
        self.ended.set()
        self.thread.join()
        held = self._held()
        if held is not None and str(self.owner["id"]).encode() in held:  # another run may have taken this one for dead
            self.files.delete(self.path)

    def _held(self) -> bytes | None:
        try:
            return self.files.read(self.path)
        except FileNotFoundError:
            return None

    def _content(self) -> bytes:
        return json.dumps({**self.owner, "renewal": uuid.uuid4().hex}).encode()

    def _take(self) -> bool:
        content = self._content()
        try:
            return self.files.create(self.path, content) == content
        except FileNotFoundError:  # another run held it, and released it between two looks
            return False

    def _renew(self) -> None:
        self.files.put(self.path, self._content())

    def _keep(self) -> None:
        while not self.ended.wait(RENEWED_EVERY):
            try:
                self._renew()
            except OSError:
                return  # the work goes on; another run may do it too


def holder(held: bytes) -> dict[str, Any]:
    """Return the holder that a lease names: host, pid, run; {} where the lease cannot be read."""
    return note_of(held)


def run_of_holder(held: bytes) -> str:
    """Return the path of the holder's run record, "" where the lease names none."""
    return str(holder(held).get("run", ""))


def _is_dead(held: bytes) -> bool:
    """Return whether the holder is known to have ended: it was a process of this machine, and is none any more."""
    owner = holder(held)
    pid = owner.get("pid")
    if (owner.get("host"), owner.get("processes")) != (socket.gethostname(), _processes()):
        return False
    if type(pid) is not int or not 0 < pid < 2**31:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


@functools.cache
def _processes() -> str:
    """Return a name for this machine's or container's process table, in which pids count: host names are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
