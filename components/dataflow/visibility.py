"""Waiting for a file of another process to be visible here: a network file system can remember for a minute that a name
was not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from components.dataflow.errors import NotThere, StoreError

_SECONDS = 60.0  # NFS clients remember for so long that a name was not there, by default (acdirmax)
_Result = TypeVar("_Result")


def awaited(look: Callable[[], _Result | None], missing: str) -> _Result:
    """Return what `look` returns, and look again for a minute while it returns None or raises NotThere.

    Raises StoreError when there is nothing after that minute; `missing` names it in the message.
    """
    until, pause = time.monotonic() + _SECONDS, 0.1
    while True:
        cause = ""
        try:
            result = look()
        except NotThere as error:
            result, cause = None, f" ({error})"
        if result is not None:
            return result
        if time.monotonic() > until:
            raise StoreError(
                f"{missing}: it was written, and the store has not shown it for {_SECONDS:g} s{cause}. A network file "
                "system can show names late: run the study again, which goes on from here"
            )
        time.sleep(pause)
        pause = min(2.0, 2 * pause)
