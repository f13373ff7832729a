"""An engine that stops answering ends its process, so that Ray starts another and its shards are done there.

A hung driver, link or kernel raises nothing: without this a study waits for it for ever.
"""

from __future__ import annotations

import os
import sys
import threading
import time

_SECONDS = "STEPVERIFY_STALL_SECONDS"


class Watchdog:
    """`beat` while there is work, `rest` when there is none. The process ends (status 70) when neither comes for 600
    seconds, or for what STEPVERIFY_STALL_SECONDS says; an engine's step takes less than one."""

    def __init__(self, what: str) -> None:
        self.what, self.seconds = what, float(os.environ.get(_SECONDS) or 600)
        self.last: float | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def beat(self) -> None:
        self.last = time.monotonic()

    def rest(self) -> None:
        self.last = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(5, self.seconds / 4))
            last = self.last
            if last is not None and time.monotonic() - last > self.seconds:
                print(
                    f"{self.what} has not answered for {self.seconds:g} s (set {_SECONDS} for more); its process ends, "
                    "and another takes its shards",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(70)
