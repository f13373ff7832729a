"""Progress bars on standard error; in a log (`ray job logs -f`), whole lines."""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO

from tqdm import tqdm

_LINE = "{desc}: {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


def progress(desc: str, unit: str, total: int | None = None, position: int = 0) -> Any:
    """Make a tqdm bar, for `with`. position: its line among several, on a terminal.

    It is drawn by time alone: by default tqdm draws no more once a single update was a large one.
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=desc, unit=unit, position=position, mininterval=1, miniters=0, dynamic_ncols=True)
    # Position 0 for all: lines of several simply follow each other.
    file: Any = _Lines(sys.stderr)
    return tqdm(total=total, desc=desc, unit=unit, position=0, mininterval=10, miniters=0, bar_format=_LINE, file=file)


class _Lines(io.TextIOBase):
    """A text stream that turns redrawn lines into whole lines, since log collectors read no line before its end."""

    def __init__(self, to: TextIO) -> None:
        self.to, self.last = to, ""

    def write(self, text: str) -> int:
        line = text.replace("\r", "").rstrip()
        if line and line != self.last:
            self.last = line
            self.to.write(line + "\n")
            self.to.flush()
        return len(text)

    def flush(self) -> None:
        self.to.flush()
