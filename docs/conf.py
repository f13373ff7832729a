"""Sphinx: the pages of this folder as HTML. `make docs` builds them, with warnings as errors."""

import re
from typing import Any

project = "Stepverify"
author = "Stepverify contributors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "Stepverify"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]


def _adapt(app: Any, name: str, source: list[str]) -> None:
    """Keep the pages plain Markdown, which reads well on GitHub: links to files outside of this folder become downloads
    here, and the order of the pages is that of the links of index.md."""
    if name == "index":
        pages = dict.fromkeys(re.findall(r"\((\w+)\.md\)", source[0]))
        source[0] += "\n```{toctree}\n:hidden:\n\n" + "\n".join(pages) + "\n```\n"
    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)]+)\)", r"{download}`\1 <\2>`", source[0])


def setup(app: Any) -> None:
    app.connect("source-read", _adapt)
