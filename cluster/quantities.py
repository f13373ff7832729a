"""Kubernetes' quantities: what they come to, and those that are read as something nobody means."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from cluster.documents import Path as At
from cluster.documents import Problem, dig, rows

_SHAPE = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]?|[eE][+-]?[0-9]+)")
_BINARY = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_LEAST = 2**20  # bytes: less is a unit forgotten


def amount(given: Any) -> Decimal | None:
    """What it comes to, in bytes, CPUs or pieces; None: not a quantity."""
    shape = _SHAPE.fullmatch(str(given))
    if shape is None or isinstance(given, bool):
        return None
    number, unit = Decimal(shape[1]), shape[2]
    if unit in _BINARY:
        return number * _BINARY[unit]
    return number * Decimal(10) ** (_DECIMAL[unit] if unit in _DECIMAL else int(unit[1:]))


def memory_problem(given: Any) -> str | None:
    """What is wrong with a quantity of memory or disk."""
    found = amount(given)
    if found is None:
        return f"{given!r} is not a quantity; write it as 8Gi or 512Mi"
    if str(given).endswith(("m", "u", "n")):
        return f"{given!r} is thousandths of a byte; 512Mi are mebibytes"
    if 0 < found < _LEAST:
        return f"{given!r} is {found.normalize():f} bytes; 8Gi are gibibytes"
    return f"{given!r} is negative" if found < 0 else None


def pod_problems(pod: Mapping[str, Any], at: At) -> Iterator[Problem]:
    """Of a pod's spec: its containers' resources and its volumes' sizes."""
    for list_name in ("initContainers", "containers"):
        for place, container in rows(pod.get(list_name)):
            yield from resource_problems(dig(container, "resources"), (*at, list_name, place, "resources"))
    for place, volume in rows(pod.get("volumes")):
        size = dig(volume, "emptyDir", "sizeLimit")
        if size != {} and (problem := memory_problem(size)):
            yield Problem((*at, "volumes", place, "emptyDir", "sizeLimit"), problem)


def resource_problems(resources: Mapping[str, Any], at: At) -> Iterator[Problem]:
    for side in ("requests", "limits"):
        for name, given in dig(resources, side).items():
            if name == "memory" or "storage" in name:
                problem = memory_problem(given)
            else:
                problem = None if amount(given) is not None else f"{given!r} is not a quantity; write it as 2 or 500m"
            if problem:
                yield Problem((*at, side, name), problem)
    for name, requested in dig(resources, "requests").items():
        least, most = amount(requested), amount(dig(resources, "limits").get(name))
        if least is not None and most is not None and least > most:
            yield Problem((*at, "requests", name), f"{requested} is over the limit, {resources['limits'][name]}")
