"""KubeRay's custom resource definition as a strict check: what the API server would refuse, or prune without a word.

In its order: nulls go, defaults come, then types, required fields, enumerations and patterns. A field that the schema
does not know is an error here. The definition's few CEL rules are written out by hand.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema

from cluster import documents
from cluster.documents import Path as At
from cluster.documents import Problem

DEFINITION = Path(__file__).parent / "crd" / "ray.io_rayjobs.yaml"
VERSIONS = ("v1", "v1alpha1")
_RANGES = {"int32": 2**31, "int64": 2**63}
_MANAGERS = ("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue")
_STRING: dict[str, Any] = {"type": "string"}

Schema = Mapping[str, Any]


def check(kind: str, version: str, document: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The document as the API server would store it, and what is wrong with it. kind: one of KINDS."""
    schema = _schema(kind, version)
    filled = copy.deepcopy(dict(document))
    _fill(schema, filled)
    validator = jsonschema.Draft202012Validator(schema)
    problems = [problem for error in validator.iter_errors(filled) for problem in _told(error)]
    return filled, problems + list(_lists(schema, filled, ())) + list(_cel(filled))


@functools.cache
def _schema(kind: str, version: str) -> Schema:
    """Strict, of the whole resource. A RayCluster's spec is the `rayClusterSpec` of a RayJob, to the letter."""
    job = _definition(version)["properties"]["spec"]
    cluster = job["properties"]["rayClusterSpec"]
    spec = {
        "RayJob": job,
        "RayCluster": cluster,
        # Of these two the cluster within is known, by the same types; what is beside it is the API server's to refuse.
        "RayService": _OPEN | _object({"rayClusterConfig": cluster}, "rayClusterConfig"),
        "RayCronJob": _OPEN | _object({"jobTemplate": job, "schedule": _STRING}, "jobTemplate", "schedule"),
    }[kind]
    whole = {"apiVersion": _STRING, "kind": _STRING, "metadata": {"type": "object"}, "spec": spec}
    return _strict(_object(whole | {"status": {"type": "object"}}, "metadata", "spec"))


_OPEN: dict[str, Any] = {"additionalProperties": True}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


KINDS = ("RayJob", "RayCluster", "RayService", "RayCronJob")


@functools.cache
def _definition(version: str) -> Any:
    [definition] = documents.parse(DEFINITION.read_text(encoding="utf-8"))
    return next(one for one in definition["spec"]["versions"] if one["name"] == version)["schema"]["openAPIV3Schema"]


def _strict(schema: Schema) -> dict[str, Any]:
    """The schema with unknown fields refused and the formats of integers as ranges."""
    found: dict[str, Any] = dict(schema)
    if "properties" in found:
        found["properties"] = {name: _strict(one) for name, one in found["properties"].items()}
        found.setdefault("additionalProperties", False)
    if isinstance(found.get("additionalProperties"), dict):
        found["additionalProperties"] = _strict(found["additionalProperties"])
    if "items" in found:
        found["items"] = _strict(found["items"])
    if limit := _RANGES.get(found.pop("format", "")):
        found = {"minimum": -limit, "maximum": limit - 1, **found}
    if found.pop("nullable", False):
        found["type"] = [found["type"], "null"]
    return found


def _fill(schema: Schema, value: Any) -> None:
    """Prune nulls that the schema does not allow, and apply its defaults, in place."""
    if isinstance(value, list) and "items" in schema:
        for item in value:
            _fill(schema["items"], item)
    if not isinstance(value, dict):
        return
    rest = schema.get("additionalProperties")
    for name in [*value]:
        inner = schema.get("properties", {}).get(name, rest if isinstance(rest, dict) else {})
        if value[name] is None and "null" not in inner.get("type", "null"):
            del value[name]
        else:
            _fill(inner, value[name])
    for name, inner in schema.get("properties", {}).items():
        if name not in value and "default" in inner:
            value[name] = copy.deepcopy(inner["default"])
            _fill(inner, value[name])


def _told(error: jsonschema.ValidationError) -> Iterator[Problem]:
    at = tuple(error.absolute_path)
    if error.validator == "additionalProperties":
        for name in sorted(set(error.instance) - set(error.schema["properties"])):
            yield Problem((*at, name), "unknown field: the API server would drop it")
    elif error.validator == "required":
        for name in sorted(set(error.validator_value) - set(error.instance)):
            yield Problem((*at, name), "is required")
    else:
        given = json.dumps(error.instance, default=str)
        given = given if len(given) <= 60 else given[:57] + "..."
        wanted = error.schema if error.validator == "anyOf" else {error.validator: error.validator_value}
        yield Problem(at, f"is {given}, which is not {_wanted(wanted)}")


def _wanted(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    if "anyOf" in schema:
        return " or ".join(one["type"] for one in schema["anyOf"])
    return ", ".join(f"of {name} {value}" for name, value in schema.items())


def _lists(schema: Schema, value: Any, at: At) -> Iterator[Problem]:
    """Entries of a list that is a map, which have the same keys."""
    if isinstance(value, dict):
        rest = schema.get("additionalProperties")
        for name, inner in value.items():
            known = schema.get("properties", {}).get(name, rest if isinstance(rest, dict) else {})
            yield from _lists(known, inner, (*at, name))
    elif isinstance(value, list) and "items" in schema:
        keys, seen = schema.get("x-kubernetes-list-map-keys", ()), set()
        for place, item in enumerate(value):
            yield from _lists(schema["items"], item, (*at, place))
            if keys and isinstance(item, dict):
                key = tuple(str(item.get(name)) for name in keys)
                if key in seen:
                    yield Problem((*at, place), f"another entry has the same {', '.join(keys)}: {', '.join(key)}")
                seen.add(key)


def _cel(document: Mapping[str, Any]) -> Iterator[Problem]:
    """The definition's x-kubernetes-validations, wherever their fields are (those of updates do not apply)."""
    for at, name, value in _fields(document, ()):
        if (rule := _CEL.get(name)) and isinstance(value, str if name == "managedBy" else dict):
            yield from (Problem(at, message) for message in rule(value))


def _fields(value: Any, at: At) -> Iterator[tuple[At, str, Any]]:
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        items = [*value.items()]
    elif isinstance(value, list):
        items = [*enumerate(value)]
    for name, inner in items:
        if isinstance(name, str):
            yield (*at, name), name, inner
        if name not in ("metadata", "status", "template", "submitterPodTemplate"):  # where fields are Kubernetes' own
            yield from _fields(inner, (*at, name))


def _deletion_strategy(value: Any) -> Iterator[str]:
    legacy = {"onSuccess", "onFailure"} & set(value)
    if legacy and "deletionRules" in value:
        yield "onSuccess and onFailure, the older form, cannot be used together with deletionRules"
    if len(legacy) < 2 and "deletionRules" not in value:
        yield "needs both onSuccess and onFailure, or deletionRules"


def _condition(value: Any) -> Iterator[str]:
    given = len({"jobStatus", "jobDeploymentStatus"} & set(value))
    if given != 1:
        yield f"needs one of jobStatus and jobDeploymentStatus; it has {'both' if given else 'neither'}"


def _managed_by(value: Any) -> Iterator[str]:
    if value not in _MANAGERS:
        yield f"is {value!r}, which is not one of {', '.join(_MANAGERS)}"


_CEL: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "deletionStrategy": _deletion_strategy,
    "condition": _condition,
    "managedBy": _managed_by,
}
