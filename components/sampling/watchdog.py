"""A watchdog: it ends the process of an engine that stops answering, so that Ray starts another for its shards.

A hung driver, link or kernel raises nothing: without this a study waits for it for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_SECONDS = "STEPVERIFY_STALL_SECONDS"


class Watchdog:
    """A watchdog of one engine: call `beat` while there is work, `rest` when there is none.

    The process ends (status 70) when neither comes for 600 seconds, or for the seconds in STEPVERIFY_STALL_SECONDS; a
    step of an engine takes less than one. engine: its name, for the message.
    """

    def __init__(self, engine: str) -> None:
        self.engine, self.seconds = engine, float(os.environ.get(_SECONDS) or 600)
        self.last: float | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def beat(self) -> None:
        """Note that the engine answers."""
        self.last = time.monotonic()

    def rest(self) -> None:
        """Note that there is no work: nothing is waited for."""
        self.last = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(5, self.seconds / 4))
            last = self.last
            if last is not None and time.monotonic() - last > self.seconds:
                print(
                    f"{self.engine} has not answered for {self.seconds:g} s (set {_SECONDS} for more); its process "
                    "ends, and another takes its shards",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(70)
