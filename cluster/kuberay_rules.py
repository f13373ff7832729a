"""What KubeRay 1.7's operator refuses of a resource that its definition lets through, and what Ray itself then would.

The operator refuses only once the resource is there: a RayJob of a wrong submissionMode is stored, and fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cluster import documents, quantities
from cluster.deletion_rules import deletion_problems
from cluster.documents import Path as At
from cluster.documents import Problem, dig, rows

MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
CLUSTER_AT: Mapping[str, At] = {
    "RayJob": ("spec", "rayClusterSpec"),
    "RayCluster": ("spec",),
    "RayService": ("spec", "rayClusterConfig"),
    "RayCronJob": ("spec", "jobTemplate", "rayClusterSpec"),
}
_LONGEST_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47}  # the services of a cluster are named after it
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_WHOLE_NUMBERS = ("num-gpus", "object-store-memory", "memory")


def check(kind: str, document: Mapping[str, Any]) -> list[Problem]:
    """Of a document with the schema's defaults."""
    return list(_problems(kind, document))


def _problems(kind: str, document: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _name(kind, dig(document, "metadata"))
    at = CLUSTER_AT[kind]
    cluster = dig(document, *at)
    if kind in ("RayJob", "RayCronJob"):
        yield from _job(dig(document, *at[:-1]), at[:-1])
    if kind == "RayService":
        yield from _service(dig(document, "spec"))
    if cluster:
        yield from _cluster(cluster, at, dig(document, "metadata", "annotations"))


def _name(kind: str, metadata: Mapping[str, Any]) -> Iterator[Problem]:
    name, longest = metadata.get("name"), _LONGEST_NAME.get(kind, 63)
    if not isinstance(name, str):
        return
    if len(name) > longest:
        yield Problem(("metadata", "name"), f"{name} has {len(name)} characters; a {kind} may have {longest}")
    if not _LABEL.fullmatch(name):
        yield Problem(("metadata", "name"), f"{name!r} is not lower-case letters, digits and dashes, a letter first")


def _job(spec: Mapping[str, Any], at: At) -> Iterator[Problem]:
    mode, selects = spec.get("submissionMode", MODES[0]), bool(spec.get("clusterSelector"))
    if mode not in MODES:
        yield Problem((*at, "submissionMode"), f"{mode!r} is not one of {', '.join(MODES)}")
    for name, least in (("backoffLimit", 0), ("ttlSecondsAfterFinished", 0), ("activeDeadlineSeconds", 1)):
        value = spec.get(name, least)
        if isinstance(value, int) and value < least:
            yield Problem((*at, name), f"is {value}; at least {least}")
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield Problem((*at, "suspend"), "a suspended job needs shutdownAfterJobFinishes: true")
    if spec.get("suspend") and selects:
        yield Problem((*at, "suspend"), "a job on a selected cluster (clusterSelector) cannot be suspended")
    if not selects and not spec.get("rayClusterSpec"):
        yield Problem((*at, "rayClusterSpec"), "one of rayClusterSpec and clusterSelector must be set")
    if selects and not dig(spec, "clusterSelector").get("ray.io/cluster"):
        yield Problem((*at, "clusterSelector"), "must name the cluster by the label ray.io/cluster")
    if mode == "InteractiveMode" and spec.get("backoffLimit", 0) != 0:
        yield Problem((*at, "backoffLimit"), "InteractiveMode does not retry")
    if mode == "SidecarMode":
        for name in ("clusterSelector", "submitterPodTemplate", "submitterConfig"):
            if spec.get(name):
                yield Problem((*at, name), "is not supported in SidecarMode")
        head = dig(spec, "rayClusterSpec", "headGroupSpec", "template", "spec")
        if head.get("restartPolicy", "Never") != "Never":
            yield Problem((*at, *_HEAD, "restartPolicy"), "must be Never or unset in SidecarMode")
    yield from _runtime_env(spec.get("runtimeEnvYAML", ""), (*at, "runtimeEnvYAML"))
    yield from deletion_problems(spec, at)
    if submitter := dig(spec, "submitterPodTemplate", "spec"):
        yield from quantities.pod_problems(submitter, (*at, "submitterPodTemplate", "spec"))


_HEAD = ("rayClusterSpec", "headGroupSpec", "template", "spec")


def _runtime_env(text: Any, at: At) -> Iterator[Problem]:
    try:
        found = documents.parse(text) if isinstance(text, str) else []
    except documents.DocumentError as error:
        yield Problem(at, str(error))
        return
    if found and not isinstance(found[0], dict):
        yield Problem(at, "is not a table of a runtime environment's fields")


def _service(spec: Mapping[str, Any]) -> Iterator[Problem]:
    at, known = ("spec", "upgradeStrategy", "type"), ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")
    upgrade = dig(spec, "upgradeStrategy").get("type", "None")
    if upgrade not in known:
        yield Problem(at, f"{upgrade!r} is not one of {', '.join(known)}")
    if upgrade == "NewClusterWithIncrementalUpgrade":
        if not dig(spec, "rayClusterConfig").get("enableInTreeAutoscaling"):
            yield Problem(at, f"{upgrade} needs enableInTreeAutoscaling")
        for name in ("stepSizePercent", "intervalSeconds", "gatewayClassName"):
            if not dig(spec, "upgradeStrategy", "clusterUpgradeOptions").get(name):
                yield Problem(("spec", "upgradeStrategy", "clusterUpgradeOptions", name), f"{upgrade} needs it")
    if dig(spec, "rayClusterConfig", "headGroupSpec", "headService", "metadata").get("name"):
        at = ("spec", "rayClusterConfig", "headGroupSpec")
        yield Problem((*at, "headService", "metadata", "name"), "must not be set: KubeRay names it")


def groups(cluster: Mapping[str, Any], at: At) -> Iterator[tuple[str, Mapping[str, Any], At]]:
    """The head and the worker groups of a cluster's spec, with their names and places."""
    yield "head", dig(cluster, "headGroupSpec"), (*at, "headGroupSpec")
    for place, group in rows(cluster.get("workerGroupSpecs")):
        yield str(group.get("groupName")), group, (*at, "workerGroupSpecs", place)


def _cluster(cluster: Mapping[str, Any], at: At, annotations: Mapping[str, Any]) -> Iterator[Problem]:
    scales, options = bool(cluster.get("enableInTreeAutoscaling")), dig(cluster, "autoscalerOptions")
    head_env = _environment(dig(cluster, "headGroupSpec", "template", "spec", "containers", 0))
    head_at, env_at = (*at, "headGroupSpec"), (*at, "headGroupSpec", "template", "spec", "containers", 0, "env")
    flag = str(head_env.get("RAY_enable_autoscaler_v2", ""))
    if not scales and flag in ("1", "true"):
        yield Problem(env_at, "RAY_enable_autoscaler_v2 needs enableInTreeAutoscaling: true")
    if scales and flag and options.get("version"):
        yield Problem(env_at, "RAY_enable_autoscaler_v2 and autoscalerOptions.version are both set; keep the latter")
    yield from _fault_tolerance(cluster, at, annotations, head_env)
    yield from quantities.resource_problems(dig(options, "resources"), (*at, "autoscalerOptions", "resources"))
    names: list[str] = []
    for name, group, group_at in groups(cluster, at):
        yield from _group(group, group_at)
        if scales and (options.get("version") == "v2" or flag in ("1", "true")):
            policy = dig(group, "template", "spec").get("restartPolicy", "Never")
            if policy != "Never":
                yield Problem((*group_at, "template", "spec", "restartPolicy"), "autoscaler v2 needs Never, or unset")
        if group_at == head_at:
            continue
        if name in names:
            yield Problem((*group_at, "groupName"), f"another group is {name} too")
        names.append(name)
        if scales and group.get("suspend"):
            yield Problem((*group_at, "suspend"), "a group cannot be suspended with the autoscaler on")
        yield from _replicas(group, group_at)
    if dig(cluster, "authOptions").get("mode") == "token" and _version(cluster.get("rayVersion")) < (2, 52):
        yield Problem((*at, "rayVersion"), "authOptions.mode token needs Ray 2.52.0 or later, said here")


def _version(given: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", str(given or ""))[:2])


def _environment(container: Mapping[str, Any]) -> dict[str, Any]:
    return {str(one.get("name")): one.get("value", "") for _, one in rows(container.get("env"))}


def _fault_tolerance(
    cluster: Mapping[str, Any], at: At, annotations: Mapping[str, Any], head_env: Mapping[str, Any]
) -> Iterator[Problem]:
    """Of the cluster's state in Redis, which has one place to be said: gcsFaultToleranceOptions."""
    options, params = cluster.get("gcsFaultToleranceOptions"), dig(cluster, "headGroupSpec", "rayStartParams")
    env_at, params_at = (*at, "headGroupSpec", "template"), (*at, "headGroupSpec", "rayStartParams")
    said = str(annotations.get("ray.io/ft-enabled", ""))
    where = "use gcsFaultToleranceOptions"
    if "REDIS_USERNAME" in head_env or params.get("redis-username"):
        yield Problem(env_at, f"the user of Redis cannot be set here; {where}")
    if options is None:
        if "RAY_REDIS_ADDRESS" in head_env and said != "true":
            yield Problem(env_at, f"RAY_REDIS_ADDRESS alone does not make a head fault-tolerant; {where}")
        return
    if said:
        yield Problem(("metadata", "annotations"), f"ray.io/ft-enabled excludes gcsFaultToleranceOptions; {where}")
    if annotations.get("ray.io/external-storage-namespace"):
        yield Problem(("metadata", "annotations"), f"ray.io/external-storage-namespace cannot be set; {where}")
    if params.get("redis-password"):
        yield Problem((*params_at, "redis-password"), f"cannot be set; {where}")
    for name in ("REDIS_PASSWORD", "RAY_REDIS_ADDRESS"):
        if name in head_env:
            yield Problem(env_at, f"{name} cannot be set; {where}")


def _group(group: Mapping[str, Any], at: At) -> Iterator[Problem]:
    params, pod = dig(group, "rayStartParams"), dig(group, "template", "spec")
    if not pod.get("containers"):
        yield Problem((*at, "template", "spec", "containers"), "a group needs at least one container")
    if dig(group, "resources") and any(params.get(name) for name in ("num-cpus", "num-gpus", "memory", "resources")):
        yield Problem((*at, "resources"), "resources are said both here and in rayStartParams; use one")
    if "labels" in params:
        yield Problem((*at, "rayStartParams", "labels"), "is not supported; use the group's own field `labels`")
    for name in _WHOLE_NUMBERS:
        if params.get(name) and not re.fullmatch(r"\d+|\$.+", str(params[name])):
            unit = " of bytes" if "memory" in name else ""
            yield Problem((*at, "rayStartParams", name), f"{params[name]!r} is not a whole number{unit}")
    if params.get("resources"):
        yield from _custom_resources(str(params["resources"]), (*at, "rayStartParams", "resources"))
    yield from quantities.pod_problems(pod, (*at, "template", "spec"))


def custom_resources(text: str) -> dict[str, float] | None:
    """What rayStartParams.resources says, as Ray's autoscaler reads it; None: it is not to be read. The value goes
    through a shell, which takes one pair of quotes away."""
    try:
        found = json.loads(text[1:-1].replace("\\", ""))
    except ValueError:
        return None
    numbers = isinstance(found, dict) and all(isinstance(one, (int, float)) for one in found.values())
    return found if numbers else None


def _custom_resources(text: str, at: At) -> Iterator[Problem]:
    if custom_resources(text) is None:
        yield Problem(at, f"""{text} is not numbers by name, in quotes twice: '"{{\\"gpu_train\\": 1}}"'""")


def _replicas(group: Mapping[str, Any], at: At) -> Iterator[Problem]:
    least, most = group.get("minReplicas", 0), group.get("maxReplicas", 2**31 - 1)
    if not isinstance(least, int) or not isinstance(most, int):
        return
    if least > most:
        yield Problem((*at, "maxReplicas"), f"is {most}, less than minReplicas, {least}")
    for name in ("minReplicas", "maxReplicas", "replicas"):
        if isinstance(group.get(name), int) and group[name] < 0:
            yield Problem((*at, name), f"is {group[name]}; at least 0")
