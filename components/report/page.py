"""report.html: one file that opens offline, made of a template, a style, a script, and the report's data.

Model text is hostile. It is embedded as JSON in which no markup can begin, shown by `textContent` alone, and a policy
in the page lets no script run but ours (by its hash) and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from string import Template
from typing import Any

from components.report.palette import css

_HERE = Path(__file__).parent


def page(content: dict[str, Any]) -> bytes:
    """Return the whole file.

    content: title, heading, subtitle, verdicts, notes, sections (`sections.py`), browser (`solution_browser.py`; None:
    there are no solutions to show) and provenance, all plain JSON values. Raises ValueError for NaN, which JSON has
    not.
    """
    style, script = css() + (_HERE / "page.css").read_text(), (_HERE / "page.js").read_text()
    template = Template((_HERE / "page.html").read_text())
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; base-uri 'none'"
    return template.substitute(policy=policy, style=style, script=script, data=embedded(content)).encode()


def embedded(value: Any) -> str:
    """Return JSON that is inert inside a script element: no `<`, `>` or `&`, and no line separators."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode("utf-8", "replace").decode()  # a lone surrogate is no text


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
