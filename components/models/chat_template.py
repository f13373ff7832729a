"""Chat templates: programs from a model's folder, which anyone may have written, rendered with a time limit.

python -m components.models.chat_template FOLDER      ends by SIGALRM where rendering a short chat takes too long
"""

from __future__ import annotations

import ctypes
import datetime
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
# The day that a template writes into a prompt: prompts, and what is computed of them, must not change overnight. It is
# what the templates of Llama 3.1, and of 3.2 without a clock, write.
_TODAY = datetime.datetime(2024, 7, 26)
TOO_SLOW = f"its chat template took longer than {TEMPLATE_SECONDS:.0f} s to render"


class TemplateTooSlow(TimeoutError):
    """A chat template that renders too slowly: an OSError, since it is no row's fault and in no row's error."""


def apply_chat_template(tokenizer: Any, turns: Sequence[Mapping[str, str]], **options: Any) -> Any:
    """Call `tokenizer.apply_chat_template`, on 26 July 2024 whatever the day.

    Raises TemplateTooSlow after TEMPLATE_SECONDS, in any thread.
    """
    options = {"date_string": _TODAY.strftime("%d %b %Y"), "strftime_now": _TODAY.strftime} | options
    limit = _Limit(TEMPLATE_SECONDS)
    try:
        with limit:
            return tokenizer.apply_chat_template(list(turns), **options)
    except TemplateTooSlow:
        where = getattr(tokenizer, "name_or_path", "")
        raise TemplateTooSlow(f"{where}: {TOO_SLOW}") from None


class _Limit:
    """A time limit: it raises TemplateTooSlow in the thread that entered it, unless that thread has left in time.

    Templates are compiled to bytecode, and between any two instructions another thread can raise an exception in this
    one.
    """

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
    """Return whether a folder's chat template takes over TEMPLATE_SECONDS for a short chat, in its own process.

    A template can also get stuck in a single operation, which only the end of its process interrupts.
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[__name__.count(".")])}
    command = [sys.executable, "-m", __spec__.name, str(folder.absolute())]
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == -signal.SIGALRM


def _render_once(folder: Path) -> None:
    """Render a short chat; end by SIGALRM where that takes too long."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    tokenizer = open_tokenizer(folder)
    question = {"role": "user", "content": "What is 1 + 1?"}
    signal.setitimer(signal.ITIMER_REAL, TEMPLATE_SECONDS)
    tokenizer.apply_chat_template([question], add_generation_prompt=True, tokenize=False)
    tokenizer.apply_chat_template([question, {"role": "assistant", "content": "2"}], tokenize=False)


if __name__ == "__main__":
    _render_once(Path(sys.argv[1]))
