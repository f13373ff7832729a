"""One palette for the figures and for report.html: a colour of each method and series, on a light and a dark ground."""

from __future__ import annotations

_ORANGE, _BLUE, _GREY = ("#d9480f", "#ff8f5a"), ("#1864ab", "#74b3f2"), ("#6b7280", "#aab0bb")
_GREEN, _PURPLE, _TEAL = ("#2b8a3e", "#69d58a"), ("#862e9c", "#d59bec"), ("#0b7285", "#66d9e8")
_CRIMSON = ("#a61e4d", "#faa2c1")
_COLOURS = {
    "ensemble_prm": _ORANGE,
    "ensemble_orm": _BLUE,
    "prm": _ORANGE,
    "orm": _BLUE,
    "majority": _GREY,
    "pass": _GREEN,
    "exact_rule": _GREEN,
    "outcome_regression": _TEAL,
    "step_lookup": _PURPLE,
    "solution_length": _CRIMSON,
    # Series of the small-scale study. Its supervisions have the colours of what they are like.
    "process": _ORANGE,
    "outcome_prm": _BLUE,
    "outcome_final_answer": _GREY,
    "active": _GREEN,
    "uncertainty": _PURPLE,
    "top_k": _CRIMSON,
    "iterated": _TEAL,
}
_OTHERS = (_PURPLE, _TEAL, _CRIMSON, ("#5c940d", "#c0eb75"), ("#845ef7", "#b197fc"))


def colours(names: list[str]) -> dict[str, str]:
    """Return name → colour on a light ground. Names without one of their own share the others, in order."""
    unknown = [name for name in names if name not in _COLOURS]
    others = {name: _OTHERS[place % len(_OTHERS)][0] for place, name in enumerate(unknown)}
    return others | {name: light for name, (light, _) in _COLOURS.items()}


def css() -> str:
    """Return the palette as custom properties: --of-<name>, and --other-0 to --other-4."""
    named = [(f"of-{name}", pair) for name, pair in _COLOURS.items()]
    named += [(f"other-{place}", pair) for place, pair in enumerate(_OTHERS)]
    light, dark = ("; ".join(f"--{name}: {pair[ground]}" for name, pair in named) for ground in (0, 1))
    return f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
