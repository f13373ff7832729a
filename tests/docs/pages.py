"""The repository's Markdown pages, and the parts of them that tests look at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "cluster/README.md")
PAGES = [*(ROOT / page for page in _BESIDE), *sorted((ROOT / "docs").glob("*.md"))]
_FENCED = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def name(page: Path) -> str:
    """A page as test ids show it."""
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of these languages."""
    return [text for language, text in _FENCED.findall(page.read_text(encoding="utf-8")) if language in languages]


def inline_code(page: Path) -> list[str]:
    """The code in backticks within sentences and tables."""
    return _INLINE.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))


def commands(page: Path) -> Iterator[list[str]]:
    """The command lines that a page shows, in words: of its shell blocks, and `make …` and `python …` in sentences."""
    for block in blocks(page, "sh", "bash", "console"):
        for line in re.sub(r"\\\n", " ", block).splitlines():
            if words := shlex.split(line, comments=True):
                yield words
    for code in inline_code(page):
        if code.startswith(("make ", "python ", ".venv/bin/python ")):
            yield from (shlex.split(command) for command in code.split(";"))
