"""The numbers of a preset by path, e.g. prm.training.epochs: to read, to set, and to tell which were set.

A path goes through the fields of the preset's dataclasses, and through the keys of its mappings
(sampling.samples_per_problem.test).
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from flows.presets.preset import Preset

# What is no number: names, what the rest of a preset relies on, and what an option of its own says, with its checks.
_FIXED = {"name", "about", "needs_files", "kind", "grader_version", "source"}
_HAS_OPTION = {
    "engine": "--engine",
    "prm_style": "--prm-style, or --labelling-prm-style",
    "style": "--prm-style, or --labelling-prm-style",
    "label_sources": "--label-sources",
}


class SettingError(ValueError):
    """A path or a value that a preset does not take; the message does not repeat them."""

    path: str = ""  # of several settings, the one that is meant


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, value) of every field that is no dataclass of its own and can be set. A mapping is one value."""
    for field in dataclasses.fields(config):
        value, inner = getattr(config, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value):
            yield from leaves(value, f"{inner}.")
        elif field.name not in _FIXED:
            yield inner, value


def with_setting(preset: Preset, path: str, value: object) -> Preset:
    """Return the preset with the value at a path replaced, as users ask for it.

    value: of the field's type, as TOML has it: an array for a tuple; the text "none" for None. Raises SettingError for
    a path that does not exist or is not for users to set, and for a value of the wrong type or out of bounds.
    """
    for name in path.split("."):
        if name in _HAS_OPTION:
            raise SettingError(f"is set by the option {_HAS_OPTION[name]}")
    try:
        if path.rpartition(".")[2] in _FIXED:
            raise LookupError
        return replaced(preset, path, value)
    except LookupError:
        raise SettingError(f"there is no such setting; the nearest: {', '.join(_nearest(preset, path))}") from None


def with_settings(preset: Preset, settings: Iterable[tuple[str, object]]) -> Preset:
    """Return the preset with several settings, of one path the last; their order does not matter otherwise.

    Settings can need each other, as sizes need a pool that is large enough. Raises SettingError, which names the path
    (`path`), where one does not fit with all others set.
    """
    pending = dict(settings)
    while pending:
        refused: dict[str, SettingError] = {}
        for path, value in pending.items():
            try:
                preset = with_setting(preset, path, value)
            except SettingError as error:
                error.path = path
                refused[path] = error
        if len(refused) == len(pending):
            raise next(iter(refused.values()))
        pending = {path: pending[path] for path in refused}
    return preset


def replaced(config: Any, path: str, value: object) -> Any:
    """Return a copy of nested configs with the value at a path replaced. Raises SettingError for a value that does not
    fit, and LookupError for a path that does not exist."""
    name, _, rest = path.partition(".")
    hint = get_type_hints(type(config), include_extras=True)[name]
    inner = getattr(config, name)
    if rest and inner is None:
        inner = _made(hint, config)
    if rest and dataclasses.is_dataclass(inner):
        changed = replaced(inner, rest, value)
    elif rest and isinstance(inner, Mapping) and rest in inner:
        changed = _checked(hint, {**inner, rest: value})
    elif rest:
        raise LookupError(path)
    elif dataclasses.is_dataclass(inner) and not isinstance(value, type(inner)) and not _is_none(hint, value):
        fields = ", ".join(field.name for field in dataclasses.fields(inner))
        raise SettingError(f"holds several settings: set one of {fields}")
    elif isinstance(inner, Mapping) and isinstance(value, Mapping) and value.keys() != inner.keys():
        raise SettingError(f"has a number for each of {', '.join(inner)}")
    else:
        changed = _checked(hint, value)
    try:
        return dataclasses.replace(config, **{name: changed})
    except ValueError as error:
        raise SettingError(first_line(error)) from error


def parse_setting(text: str) -> tuple[str, object]:
    """Return path and value of PATH=VALUE. VALUE is what TOML has behind `=`; a text may stand without quotes.

    >>> parse_setting("prm.training.epochs=3"), parse_setting("sampling.segmentation=auto")
    (('prm.training.epochs', 3), ('sampling.segmentation', 'auto'))
    """
    path, equals, value = text.partition("=")
    if not equals or not path.strip():
        raise SettingError("PATH=VALUE is wanted, e.g. prm.training.epochs=3")
    try:
        return path.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):  # no TOML; or a number of thousands of digits, or arrays as deep
        return path.strip(), value.strip()


def flattened(table: Mapping[str, Any], config: Any) -> Iterator[tuple[str, object]]:
    """Yield (path, value) of nested TOML tables, as deep as they go; an empty table is a value."""
    for name, value in table.items():
        inner = getattr(config, name, None)
        if isinstance(value, Mapping) and value:
            for path, leaf in flattened(value, inner):
                yield f"{name}.{path}", leaf
        else:
            yield name, value


def changes(before: Preset, now: Preset) -> dict[str, object]:
    """Return path → value of what differs between two presets."""
    old = dict(leaves(before))
    return {path: value for path, value in leaves(now) if path not in old or old[path] != value}


def path_of(preset: Preset, config: object) -> str:
    """Return the path of the preset's config that a stage's config is, or that it was made of; "" for none.

    A stage's config may be a copy with another seed or rate: of the configs of its class the one that has most values
    in common with it is taken, where there is only one such.
    """
    found: dict[str, int] = {}
    mine = dict(leaves(config))
    for path, other in _configs(preset):
        if type(other) is type(config):
            theirs = dict(leaves(other))
            same_kind = getattr(other, "kind", None) == getattr(config, "kind", None)
            found[path] = same_kind * (1 + sum(theirs.get(name, ...) == value for name, value in mine.items()))
    most = [path for path, count in found.items() if count and count == max(found.values())]
    return most[0] if len(most) == 1 else ""


def first_line(error: ValueError) -> str:
    """Return what is wrong in one line: of pydantic's errors the first one's field and message."""
    if isinstance(error, ValidationError):
        found = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in found["loc"] if not isinstance(part, int))
        message = found["msg"].replace("Input should be", "must be").removeprefix("Value error, ")
        return f"{where}: {message}" if where else message
    return str(error)


def _configs(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(config):
        value, inner = getattr(config, field.name), f"{path}{field.name}"
        if dataclasses.is_dataclass(value):
            yield inner, value
            yield from _configs(value, f"{inner}.")


def _is_none(hint: Any, value: object) -> bool:
    return value == "none" and type(None) in get_args(hint)


def _made(hint: Any, config: Any) -> Any:
    """The dataclass of an optional field of a config, with its defaults and the config's seed.

    Raises LookupError where there is no such dataclass.
    """
    seeds = {value for path, value in leaves(config) if path.rpartition(".")[2] == "seed"}
    for kind in get_args(hint) if isinstance(hint, types.UnionType) else ():
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            has_seed = len(seeds) == 1 and "seed" in {field.name for field in dataclasses.fields(kind)}
            return kind(**({"seed": seeds.pop()} if has_seed else {}))
    raise LookupError


def _checked(hint: Any, value: object) -> Any:
    """The value by the field's type: strictly, but for an array, which is a tuple here, and "none"."""
    value = None if value == "none" else _as_tuples(value)
    try:
        return TypeAdapter(hint, config={"strict": True}).validate_python(value)
    except ValidationError as error:
        raise SettingError(first_line(error)) from error


def _as_tuples(value: object) -> object:
    return tuple(map(_as_tuples, value)) if isinstance(value, list) else value


def _nearest(preset: Preset, path: str) -> list[str]:
    """Paths like one that does not exist: first of all those that end alike."""
    every = [name for name, _ in leaves(preset)]
    last = path.rpartition(".")[2]
    alike = [name for name in every if name.rpartition(".")[2] == last]
    return difflib.get_close_matches(path, alike or every, n=3, cutoff=0.0)
