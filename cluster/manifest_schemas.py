"""JSON Schema in Kubernetes' dialect: KubeRay's definition of a RayJob, and the rules of this project on it."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

CRD = Path(__file__).parent / "crd" / "ray.io_rayjobs.yaml"
HOUSE_RULES = Path(__file__).parent / "house_rules.yaml"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C: the definition has 1.4 MB
_BASE = jsonschema.Draft202012Validator
_FORMATS: Any = jsonschema.FormatChecker(formats=())


def read(text: str) -> list[Any]:
    """Read all documents of a text as JSON: dates are strings, and fields without a value are left out, as the API
    server does. Raises yaml.YAMLError."""
    documents = [each for each in yaml.load_all(text, Loader=_LOADER) if each is not None]

    def without_nulls(table: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in table.items() if value is not None}

    return list(json.loads(json.dumps(documents, default=str), object_hook=without_nulls))


def definition_problems(document: dict[str, Any]) -> list[str]:
    """Check a resource of KubeRay by its definition, whose defaults are added to the document; a line per error."""
    versions = _definition()["spec"]["versions"]
    schemas = {f"ray.io/{each['name']} RayJob": each["schema"]["openAPIV3Schema"] for each in versions}
    resource = f"{document['apiVersion']} {document['kind']}"
    if resource not in schemas:
        return [f"apiVersion: KubeRay's definition here has no {resource}; it has {', '.join(schemas)}"]
    return problems(_STRICT(schemas[resource], format_checker=_FORMATS).iter_errors(document))


def house_problems(document: Mapping[str, Any]) -> list[str]:
    """Check a RayJob by house_rules.yaml; a line per error."""
    [schema] = read(HOUSE_RULES.read_text(encoding="utf-8"))
    return problems(_WITH_KEYS(schema, format_checker=_FORMATS).iter_errors(document))


def problems(errors: Iterator[jsonschema.ValidationError]) -> list[str]:
    """Write a line per error: the path, what is wrong and what is allowed. Equal lines are written once."""
    return list(dict.fromkeys(map(_line, errors)))


def _line(error: jsonschema.ValidationError) -> str:
    path, schema = error.json_path.removeprefix("$").removeprefix("."), error.schema
    if error.validator == "required":
        name = error.message.split("'")[1]
        why = schema.get("properties", {}).get(name, {}).get("why")
        return f"{path}.{name}".removeprefix(".") + (f": is required: {why}" if why else ": is required")
    value = json.dumps(error.instance)
    value = value if len(value) <= 60 else value[:57] + "..."
    message = error.message.replace(repr(error.instance), value)
    if isinstance(schema, Mapping) and "why" in schema:  # a table or list is not shown: it may hold a secret
        message = schema["why"] if isinstance(error.instance, (dict, list)) else f"is {value}: {schema['why']}"
    elif error.validator == "const":
        message = f"is {value}; must be {json.dumps(error.validator_value)}"
    elif error.validator == "pattern" and "x-kubernetes-int-or-string" in schema:
        message = f"{value} is not a quantity such as 2, 500m or 8Gi"
    return f"{path}: {message}"


@functools.cache
def _definition() -> Any:
    return yaml.load(CRD.read_text(encoding="utf-8"), Loader=_LOADER)


def _is_int32(value: Any) -> bool:
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def _is_yaml(value: str) -> bool:
    return isinstance(yaml.safe_load(value), dict)


_FORMATS.checks("int32")(_is_int32)
_FORMATS.checks("yaml", raises=yaml.YAMLError)(_is_yaml)


def _unique_keys(_: Any, keys: Sequence[str], items: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """Refuse two entries of a list with equal keys."""
    seen: list[list[Any]] = []
    for place, item in enumerate(items if isinstance(items, list) else ()):
        key = [item.get(name) for name in keys] if isinstance(item, dict) else None
        if key in seen:
            message = f"another entry has the same {', '.join(keys)}: {', '.join(map(str, key))}"
            yield jsonschema.ValidationError(message, path=[place])
        seen += [key] if key else []


def _strict_properties(
    validator: Any, known: Mapping[str, Any], value: Any, schema: Mapping[str, Any]
) -> Iterator[jsonschema.ValidationError]:
    """Refuse unknown fields, which the API server would drop, and set defaults. Keywords of KubeRay's definition are in
    alphabetical order, so that defaults are there before `required` and the keys of lists are looked at."""
    if isinstance(value, dict):
        for name, inner in known.items():
            if "default" in inner:
                value.setdefault(name, copy.deepcopy(inner["default"]))
        for name in sorted(value.keys() - known.keys()):
            yield jsonschema.ValidationError("unknown field: the API server would drop it", path=[name])
    yield from _BASE.VALIDATORS["properties"](validator, known, value, schema)


_WITH_KEYS: Any = jsonschema.validators.extend(_BASE, {"x-kubernetes-list-map-keys": _unique_keys})
_STRICT: Any = jsonschema.validators.extend(_WITH_KEYS, {"properties": _strict_properties})
