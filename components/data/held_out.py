"""Held-out problems, and the question whether a text that is trained on is one of them, or holds one whole.

A problem stands in a longer text where an instruction follows it or a chat template is around it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from components.text.problem_matching import same_text

# Normalised characters from which a problem is looked for inside of longer texts. A shorter one, such as "What is
# 2+3?", may well be a part of another problem.
SHORTEST_CONTAINED = 50
_REMEMBERED = 1 << 16


class HeldOut:
    """The evaluation problems of a study. texts: `same_text` of each."""

    def __init__(self, texts: Collection[str]) -> None:
        self.texts = frozenset(texts)
        self._by_start: dict[str, list[str]] = {}
        for text in sorted(self.texts, key=len, reverse=True):
            if len(text) >= SHORTEST_CONTAINED:
                self._by_start.setdefault(text[:SHORTEST_CONTAINED], []).append(text)
        self._known: dict[str, str | None] = {}

    def find(self, problem: str) -> str | None:
        """Return the `same_text` of the held-out problem that a problem's text is, or holds whole; else None."""
        if not self.texts:
            return None
        if problem not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[problem] = self.find_same(same_text(problem))
        return self._known[problem]

    def find_same(self, text: str) -> str | None:
        """Return the same for a text that is normalised already."""
        if text in self.texts:
            return text
        if self._by_start:
            for at in range(len(text) - SHORTEST_CONTAINED + 1):
                for held_out in self._by_start.get(text[at : at + SHORTEST_CONTAINED], ()):
                    if text.startswith(held_out, at):
                        return held_out
        return None


def held_out_texts(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Return the evaluation problems by normalised text: "test row 3" or the like. rows: of read_problems."""
    return {
        row["same_text"]: f"{row['split']} row {row['source_row']}" for row in rows if row["split"] in ("test", "ood")
    }
