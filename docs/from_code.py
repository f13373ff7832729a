"""Parts of pages that are made of code: tables of columns from `schemas/`, and of numbers from the presets.

    <!-- made: schemas.results -->        every table of that module
    <!-- made: presets -->                every number of every preset
    <!-- /made -->

`docs/update.py` rewrites them.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from io import StringIO
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from flows.presets.preset import Preset
from flows.presets.presets import PRESETS

_BLOCK = re.compile(r"(<!-- made: (\S+) -->\n).*?(<!-- /made -->)", re.DOTALL)
_REFERENCE = "laptop"  # the preset whose values are shown; of the others, what differs
_BOUNDS = (("gt", ">"), ("ge", "≥"), ("lt", "<"), ("le", "≤"))  # as annotated_types has them
_LONGEST = 40  # characters of a value; a longer text is only described


def with_code(text: str) -> str:
    """The Markdown text with the content of every such block replaced."""

    def made(match: re.Match[str]) -> str:
        parts = _preset_sections() if match[2] == "presets" else _tables(match[2])
        return f"{match[1]}\n{''.join(parts)}{match[3]}"

    return _BLOCK.sub(made, text)


def _tables(module_name: str) -> Iterator[str]:
    """A section per table of a module of schemas, in the order of the source."""
    module = importlib.import_module(module_name)
    comments = _comments(inspect.getsource(module))
    for name, value in vars(module).items():
        about = comments.get(name, "")
        if inspect.isfunction(value) and value.__module__ == module_name and value.__annotations__.get("names"):
            value, about = value(("prm", "orm")), inspect.getdoc(value) or ""
        if not isinstance(value, pa.Schema):
            continue
        yield f"### `{name.lower()}`\n\n" + (f"{_wrapped(about)}\n\n" if about else "")
        yield "| column | type | null | meaning |\n|---|---|---|---|\n"
        for field in value:
            meaning = field.metadata[b"meaning"].decode()
            yield f"| `{field.name}` | {_type(field.type)} | {'yes' if field.nullable else ''} | {_cell(meaning)} |\n"
        yield "\n"


def _type(kind: pa.DataType) -> str:
    """An Arrow type in short: of the fields of a struct only the names."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return f"list of {_type(kind.value_type)}"
    if pa.types.is_struct(kind):
        return "{" + ", ".join(f"`{kind.field(index).name}`" for index in range(kind.num_fields)) + "}"
    return {"float": "float32", "double": "float64"}.get(str(kind), str(kind))


def _preset_sections() -> Iterator[str]:
    """A section per field of a preset: what it is, and the values of all numbers within it."""
    about = _comments(textwrap.dedent(inspect.getsource(Preset)))
    reference = PRESETS[_REFERENCE]
    plain = []
    for field in dataclasses.fields(Preset):
        config = getattr(reference, field.name)
        if not dataclasses.is_dataclass(config):
            plain.append(field.name)
            continue
        doc = inspect.getdoc(type(config)) or ""
        doc = "" if doc.startswith(f"{type(config).__name__}(") else doc
        yield f"### `{field.name}`\n\n"
        yield "".join(f"{_wrapped(_sentence(text))}\n\n" for text in (about.get(field.name, ""), doc) if text)
        yield _values({field.name})
    yield "### The preset itself\n\n" + _values(set(plain))


def _values(names: set[str]) -> str:
    """The table of the numbers below the preset's fields of these names."""
    by_preset = {name: dict(_flat(preset)) for name, preset in PRESETS.items()}
    fields = dict(_fields(PRESETS.values()))
    paths = dict.fromkeys(path for values in by_preset.values() for path in values if path.split(".")[0] in names)
    lines = [f"| number | `{_REFERENCE}` | other presets | allowed | meaning |", "|---|---|---|---|---|"]
    for path in paths:
        ours = _shown(by_preset[_REFERENCE], path)
        others = {name: _shown(values, path) for name, values in by_preset.items() if name != _REFERENCE}
        differing = "; ".join(f"`{name}`: {value}" for name, value in others.items() if value != ours)
        allowed, meaning = fields[path]
        lines.append(f"| `{path}` | {ours} | {differing} | {_cell(allowed)} | {_cell(meaning)} |")
    return "\n".join(lines) + "\n\n"


def _flat(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every value of nested configs, by its path."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _flat(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", value


def _fields(configs: Any, prefix: str = "") -> Iterator[tuple[str, tuple[str, str]]]:
    """Of every path what its type allows, and what its comment says."""
    for config in configs:
        comments = _comments(textwrap.dedent(inspect.getsource(type(config))))
        types = get_type_hints(type(config), include_extras=True)
        for field in dataclasses.fields(config):
            yield f"{prefix}{field.name}", (_allowed(types[field.name]), comments.get(field.name, ""))
            value = getattr(config, field.name)
            if dataclasses.is_dataclass(value):
                yield from _fields([value], f"{prefix}{field.name}.")


def _allowed(hint: Any) -> str:
    """What a field's type allows, in words: kind, bounds, choices."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        found = [inner for outer in arguments[1:] for inner in getattr(outer, "metadata", None) or [outer]]
        limits = [(sign, getattr(bound, name, None)) for bound in found for name, sign in _BOUNDS]
        bounds = [f"{sign} {limit:g}" for sign, limit in limits if limit is not None]
        patterns = [f"`{bound.pattern}`" for bound in found if getattr(bound, "pattern", None)]
        return " ".join([*(patterns or [_allowed(arguments[0])]), " and ".join(bounds)]).strip()
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_allowed(argument) for argument in arguments)
    if origin is tuple:
        return f"several: {_allowed(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"for each: {_allowed(arguments[1])}"
    names = {int: "whole number", float: "number", bool: "true, false", str: "text", NoneType: "none"}
    return names.get(hint, "numbers of its own")


def _comments(source: str) -> dict[str, str]:
    """The comment of every assigned or annotated name: on the lines above it, then behind it."""
    above: list[str] = []
    found: dict[str, str] = {}
    name, fresh = "", True
    for token in tokenize.generate_tokens(StringIO(source).readline):
        text = token.string.removeprefix("#").strip()
        if token.type == tokenize.COMMENT and fresh:
            above.append(text)
        elif token.type == tokenize.COMMENT and name:
            found[name] = f"{found.get(name, '')} {text}".strip()
        elif token.type == tokenize.NL and fresh and not token.line.strip():
            above = []
        elif token.type == tokenize.NAME and fresh:
            name, fresh = token.string, False
            if above:
                found[name] = " ".join(above)
            above = []
        elif token.type == tokenize.NEWLINE:
            fresh = True
    return found


def _shown(values: Mapping[str, Any], path: str) -> str:
    """A value as a person writes it, or a dash where a preset has none at that path."""
    if path not in values:
        return "–"
    value = values[path]
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, Mapping):
        return " ".join(f"{key}={item}" for key, item in value.items()) or "{}"
    if isinstance(value, tuple | list):
        return " ".join(map(str, value)) or "()"
    if isinstance(value, str):
        return f"text of {len(value)} characters" if len(value) > _LONGEST else f"`{value!r}`".replace("'", '"')
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ":")) else ".")


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)
