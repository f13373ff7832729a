"""Rewrite what README and docs have from elsewhere: measured figures, and pages made of code.

python docs/update.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from from_code import with_code
from measured import with_results

ROOT = Path(__file__).resolve().parents[1]


def updated() -> dict[Path, str]:
    """Every page that is made, wholly or in part: its path, and the text that it must have."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return {page: with_code(with_results(page.read_text(encoding="utf-8"))) for page in pages}


if __name__ == "__main__":
    for path, text in updated().items():
        path.write_text(text, encoding="utf-8")
