"""YAML as Kubernetes reads it, and what a check says of a document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]  # of a field: ("spec", "workerGroupSpecs", 1)


class DocumentError(ValueError):
    """A text that is no YAML, or that says a field twice."""


@dataclass(frozen=True)
class Problem:
    at: Path
    message: str

    def __str__(self) -> str:
        return f"{told(self.at)}: {self.message}"


def told(at: Path) -> str:
    """A field's path as people write it: spec.workerGroupSpecs[1]."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in at).removeprefix(".")


def parse(text: str) -> list[Any]:
    """All documents of a text that hold anything. Raises DocumentError."""
    try:
        return [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.YAMLError as error:
        raise DocumentError(f"not YAML: {' '.join(str(error).split())}") from error


def dig(value: Any, *at: str | int) -> Any:
    """What is there, or an empty table."""
    for part in at:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return {}
    return {} if value is None else value


def rows(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The tables of a list, with their places; whatever else is there is the schema's to refuse."""
    for place, item in enumerate(value if isinstance(value, list) else ()):
        if isinstance(item, dict):
            yield place, item


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Dates stay text, and a field that is there twice is an error, as for `kubectl apply --validate=strict`."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        if twice := next((name for place, name in enumerate(names) if name in names[:place]), None):
            raise yaml.constructor.ConstructorError(None, None, f"the field {twice!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
