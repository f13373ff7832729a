"""The errors that end a command in one line, without a traceback."""

from __future__ import annotations


class InputError(ValueError):
    """A user's input that cannot be used; the message names the file, the row and the field, and how to mend it."""


class StoreError(Exception):
    """The store refuses: a damaged or missing file, or rows that break a table's contract."""


class NotThere(StoreError):
    """A file that a record names is not there: lost, or written by another process and not visible here yet."""


class StudyError(Exception):
    """The study cannot go on; the message says why and what to do."""
