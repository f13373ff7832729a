"""PNG figures of accuracy against something that doubles, in the style of the paper."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from components.dataflow.plain_text import printable


def figure_png(draw: Callable[[Any], list[str]], ticks: list[Any], x: str, y: str, title: str = "") -> bytes:
    """Draw a figure whose x axis is logarithmic (base 2), and return it as PNG.

    draw: puts lines on the axes, and returns their names for the legend, in the order of the lines. Names are shown as
    they are: `$` begins no formula in them.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with mpl.rc_context({"text.parse_math": False, "text.usetex": False}):
        figure, axes = plt.subplots(figsize=(7.2, 4.6), dpi=150)
        try:
            names = draw(axes)
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [str(tick) for tick in ticks])
            axes.set_xlabel(x)
            axes.set_ylabel(y)
            axes.set_title(title, fontsize=10)
            axes.grid(alpha=0.25)
            axes.spines[["top", "right"]].set_visible(False)
            # The texts afterwards: a legend leaves out lines whose label begins with an underscore.
            lines = axes.get_lines()[: len(names)]
            # Beside the axes: inside it would lie over lines.
            place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)}
            legend = axes.legend(lines, ["line"] * len(lines), frameon=False, fontsize=8, **place)
            for text, name in zip(legend.get_texts(), names, strict=True):
                text.set_text(printable(name))
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", bbox_inches="tight")
        finally:
            plt.close(figure)
    return buffer.getvalue()
