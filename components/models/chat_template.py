"""Chat templates: programs of a model's folder, which comes from anyone, rendered with a limit of time.

python -m components.models.chat_template FOLDER      ends by SIGALRM where rendering a short chat takes too long
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from components.models.model_folder import open_tokenizer

TEMPLATE_SECONDS = 10.0
TOO_SLOW = f"its chat template took longer than {TEMPLATE_SECONDS:.0f} s to render"


class TemplateTooSlow(TimeoutError):
    """No row's fault: an OSError, as of a disk that fails, and so in no row's error."""


def apply_chat_template(tokenizer: Any, turns: Sequence[Mapping[str, str]], **options: Any) -> Any:
    """`tokenizer.apply_chat_template`. Raises TemplateTooSlow after TEMPLATE_SECONDS, in any thread."""
    limit = _Limit(TEMPLATE_SECONDS)
    try:
        with limit:
            return tokenizer.apply_chat_template(list(turns), **options)
    except TemplateTooSlow:
        where = getattr(tokenizer, "name_or_path", "")
        raise TemplateTooSlow(f"{where}: {TOO_SLOW}") from None


class _Limit:
    """Raise TemplateTooSlow in the thread that enters it, unless it has left in time. Templates are compiled to
    bytecode, and between any two instructions of that an exception can be raised from another thread."""

    def __init__(self, seconds: float) -> None:
        self.lock, self.left = threading.Lock(), False
        self.thread = threading.get_ident()
        self.timer = threading.Timer(seconds, self._end)
        self.timer.daemon = True

    def __enter__(self) -> None:
        self.timer.start()

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.left = True
        self.timer.cancel()

    def _end(self) -> None:
        with self.lock:
            if not self.left:
                thread, error = ctypes.c_ulong(self.thread), ctypes.py_object(TemplateTooSlow)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)


def template_is_too_slow(folder: Path) -> bool:
    """Whether a folder's chat template does not render a short chat in TEMPLATE_SECONDS, told by a process of its own:
    a template can also get stuck in a single operation, which nothing but the end of its process interrupts."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[__name__.count(".")])}
    command = [sys.executable, "-m", __spec__.name, str(folder.absolute())]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == -signal.SIGALRM


def _render_once(folder: Path) -> None:
    """End by SIGALRM where that takes too long; what else goes wrong is told by who renders in earnest."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    tokenizer = open_tokenizer(folder)
    asked = {"role": "user", "content": "What is 1 + 1?"}
    signal.setitimer(signal.ITIMER_REAL, TEMPLATE_SECONDS)
    tokenizer.apply_chat_template([asked], add_generation_prompt=True, tokenize=False)
    tokenizer.apply_chat_template([asked, {"role": "assistant", "content": "2"}], tokenize=False)


if __name__ == "__main__":
    _render_once(Path(sys.argv[1]))
