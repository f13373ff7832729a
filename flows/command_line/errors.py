"""The end of every flow: one line on standard error and an exit status, whatever happens."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TextIO, cast

from components.dataflow.errors import InputError, StoreError, StudyError
from components.dataflow.plain_text import printable

_terminated = threading.Event()  # where Ray waits, it raises a KeyboardInterrupt of its own
_RUN_AGAIN = "what is committed is kept, so run it again to go on"


def run_and_report_errors(
    parse: Callable[[], argparse.Namespace],
    work: Callable[[argparse.Namespace], int | None],
    after_failure: str = _RUN_AGAIN,
) -> int:
    """Run work(parse()), both with errors reported. after_failure: what a user should know after one that is not of the
    input. Returns the exit status:

    - work's own, or 0;
    - 2 for input that cannot be used;
    - 1 when the store or the study cannot go on, or the system refuses (a full disk);
    - 1 without a line when whoever read the output, like `head`, has closed it;
    - 143 when the process was asked to end (SIGTERM: a preempted node, `ray job stop`), 130 by Ctrl-C. Leases are
      given back either way.

    With the option --verbose a system's error is raised, for its traceback.
    """
    before = signal.getsignal(signal.SIGTERM)
    end_on_sigterm()
    # Escapes of Ray's own, around the lines of workers, would be shown as text.
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")
    # Nothing that a study uses is to report its use.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options = argparse.Namespace()
    with _printable_output():
        try:
            options = parse()
            status = work(options) or 0
            sys.stdout.flush()  # a closed pipe or a full disk is to be met here
            return status
        except KeyboardInterrupt:
            print_error(f"stopped by {'SIGTERM' if _terminated.is_set() else 'Ctrl-C'}; {after_failure}")
            return 143 if _terminated.is_set() else 130
        except _OutputClosed:
            return 1
        except (InputError, StoreError, StudyError) as error:
            print_error(f"error: {_message(error)}")
            return 2 if isinstance(error, InputError) else 1
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                print_error(
                    f"error: {str(error.filename)[:60]}…: the name is too long for a file here; use a shorter one"
                )
                return 2
            if getattr(options, "verbose", False):
                raise
            more = " (--verbose tells more)" if "verbose" in options else ""
            print_error(f"error: {_message(error)}; {after_failure}{more}")
            return 1
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)


def _message(error: Exception) -> str:
    """Return an error's text; for an error that Ray brings from a worker, its cause without the worker's traceback."""
    return str(getattr(error, "cause", None) or error)


def print_error(line: str) -> None:
    """Print one line on standard error, if it is still read."""
    with contextlib.suppress(OSError):
        print(printable(line), file=sys.stderr, flush=True)


def end_on_sigterm() -> None:
    """End on SIGTERM as on Ctrl-C: by an exception that no handler of errors on the way takes."""

    def end(number: int, frame: object) -> NoReturn:
        _terminated.set()
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, end)


class _OutputClosed(BrokenPipeError):
    """A closed standard output. A closed pipe to a process of ours is another matter."""


class _Printable:
    """A text stream to which texts from outside can be written: what would act on a terminal is escaped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with _closed_output():
            return int(self._stream.write(printable(text, keep="\n\t")))

    def flush(self) -> None:
        with _closed_output():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextlib.contextmanager
def _closed_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _OutputClosed(*error.args) from error


@contextlib.contextmanager
def _printable_output() -> Iterator[None]:
    """Standard output for texts from outside, in whatever encoding it has; at the end nothing is left in its buffer
    that Python would fail to write on leaving."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    try:
        with contextlib.redirect_stdout(cast(TextIO, _Printable(stream))):
            yield
    finally:
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
