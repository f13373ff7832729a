"""When a RayJob's cluster goes: KubeRay's rules on deletion strategies, which exclude what is simpler."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from cluster.documents import Path as At
from cluster.documents import Problem, dig, rows

_ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")  # what is within goes before what holds it


def deletion_problems(spec: Mapping[str, Any], at: At) -> Iterator[Problem]:
    """Of a RayJob's spec."""
    shuts_down, ttl = bool(spec.get("shutdownAfterJobFinishes")), spec.get("ttlSecondsAfterFinished", 0)
    if not shuts_down and isinstance(ttl, int) and ttl > 0:
        yield Problem((*at, "ttlSecondsAfterFinished"), "needs shutdownAfterJobFinishes: true")
    strategy, at = dig(spec, "deletionStrategy"), (*at, "deletionStrategy")
    if not isinstance(strategy, dict):
        return
    if strategy.get("deletionRules"):
        if shuts_down:
            yield Problem((*at, "deletionRules"), "deletion rules and shutdownAfterJobFinishes exclude each other")
        yield from _rules(strategy, spec, at)
    elif strategy:
        yield from _older_form(strategy, spec, at, shuts_down)


def _unsupported(policy: Any, spec: Mapping[str, Any]) -> str | None:
    if spec.get("clusterSelector") and policy in ("DeleteCluster", "DeleteWorkers"):
        return f"{policy} is not supported on a selected cluster (clusterSelector)"
    if policy == "DeleteWorkers" and dig(spec, "rayClusterSpec").get("enableInTreeAutoscaling"):
        return "DeleteWorkers is not supported with the autoscaler on"
    return None


def _rules(strategy: Mapping[str, Any], spec: Mapping[str, Any], at: At) -> Iterator[Problem]:
    seconds: dict[tuple[Any, Any], dict[Any, Any]] = {}
    for place, rule in rows(strategy["deletionRules"]):
        policy, condition = rule.get("policy"), dig(rule, "condition")
        rule_at = (*at, "deletionRules", place)
        if problem := _unsupported(policy, spec):
            yield Problem((*rule_at, "policy"), problem)
            continue
        when = (condition.get("jobStatus"), condition.get("jobDeploymentStatus"))
        others = seconds.setdefault(when, {})
        if policy in others:
            yield Problem(rule_at, f"another rule says {policy} for {when[0] or when[1]}")
        others.setdefault(policy, condition.get("ttlSeconds", 0))
    for when, others in seconds.items():
        given = [(policy, others[policy]) for policy in _ORDER if isinstance(others.get(policy), int)]
        for (earlier, less), (later, more) in itertools.pairwise(given):
            if more < less:
                told = f"{later} after {more} s is before {earlier} after {less} s"
                yield Problem((*at, "deletionRules"), f"for {when[0] or when[1]}: {told}")


def _older_form(strategy: Mapping[str, Any], spec: Mapping[str, Any], at: At, shuts_down: bool) -> Iterator[Problem]:
    for name in ("onSuccess", "onFailure"):
        policy = dig(strategy, name).get("policy")
        if name in strategy and policy is None:
            yield Problem((*at, name, "policy"), "is required")
        if problem := _unsupported(policy, spec):
            yield Problem((*at, name, "policy"), problem)
        if shuts_down and policy == "DeleteNone":
            yield Problem((*at, name, "policy"), "DeleteNone and shutdownAfterJobFinishes exclude each other")
