"""Rules that no JSON Schema can state: between two fields of a RayJob, or between it and what is rendered with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cluster import placements

Table = Mapping[str, Any]
_UNITS = {"m": 1e-3, "": 1, "M": 1e6, "G": 1e9, "T": 1e12, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def problems(job: Table, rendered: Sequence[Table]) -> Iterator[str]:
    """Check a RayJob that its definition and house_rules.yaml accept. rendered: all resources of the folder. Yields a
    line per error."""
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    workers = cluster.get("workerGroupSpecs", [])
    yield from _requests(cluster["autoscalerOptions"].get("resources", {}), "spec.rayClusterSpec.autoscalerOptions")
    yield from _pod(spec["submitterPodTemplate"]["spec"], "spec.submitterPodTemplate.spec", rendered)
    yield from _group(cluster["headGroupSpec"], "spec.rayClusterSpec.headGroupSpec", rendered)
    for place, group in enumerate(workers):
        at = f"spec.rayClusterSpec.workerGroupSpecs[{place}]"
        yield from _group(group, at, rendered)
        least, most = group["minReplicas"], group["maxReplicas"]
        if not least <= group.get("replicas", least) <= most:
            yield f"{at}: replicas, {group.get('replicas', least)}, is not within {least} and {most}"
    yield from _placement(cluster["headGroupSpec"]["template"]["spec"], workers, rendered)


def _group(group: Table, at: str, rendered: Sequence[Table]) -> Iterator[str]:
    params, pod = group["rayStartParams"], group["template"]["spec"]
    yield from _pod(pod, f"{at}.template.spec", rendered)
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: volumes.get(each["name"], {}) for each in pod["containers"][0].get("volumeMounts", [])}
    memory = mounts.get("/dev/shm", {}).get("emptyDir", {})
    if memory.get("medium") != "Memory" or "sizeLimit" not in memory:
        yield f"{at}.template.spec.volumes: /dev/shm must be an emptyDir of medium Memory with a sizeLimit"
    elif int(params["object-store-memory"]) > _amount(memory["sizeLimit"]):
        yield f"{at}.rayStartParams.object-store-memory: does not fit in /dev/shm ({memory['sizeLimit']})"
    if params["object-spilling-directory"] not in mounts:
        yield f"{at}.rayStartParams.object-spilling-directory: must be a mounted disk ({', '.join(mounts)})"


def _pod(pod: Table, at: str, rendered: Sequence[Table]) -> Iterator[str]:
    """Check that every mount has a volume, that every volume has its claim or ConfigMap, and that no container requests
    more than its limits."""
    volumes = {each["name"]: each for each in pod.get("volumes", [])}
    names = [(each["kind"], each["metadata"].get("name")) for each in rendered]
    for name, volume in volumes.items():
        claim, config = volume.get("persistentVolumeClaim", {}), volume.get("configMap", {})
        for kind, source in (("PersistentVolumeClaim", claim.get("claimName")), ("ConfigMap", config.get("name"))):
            if source and (kind, source) not in names:
                yield f"{at}.volumes ({name}): no {kind} {source} is rendered here"
    for list_name in ("initContainers", "containers"):
        for place, container in enumerate(pod.get(list_name, [])):
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{at}.{list_name}[{place}].volumeMounts: no volume is called {mount['name']}"
            yield from _requests(container["resources"], f"{at}.{list_name}[{place}]")


def _requests(resources: Table, at: str) -> Iterator[str]:
    for name, requested in resources.get("requests", {}).items():
        limit = resources.get("limits", {}).get(name, requested)
        if _amount(requested) > _amount(limit):
            yield f"{at}.resources.requests.{name}: {requested} is over the limit, {limit}"


def _amount(quantity: Any) -> float:
    """Convert a quantity of Kubernetes to bytes, CPUs or pieces."""
    number, unit = re.fullmatch(r"([\d.]+)(\D*)", str(quantity)).groups()  # type: ignore[union-attr]
    return float(number) * _UNITS[unit]


def _placement(head: Table, workers: Sequence[Table], rendered: Sequence[Table]) -> Iterator[str]:
    """Check that the placement that the head mounts fits the groups at their largest, and promises no more nodes."""
    mounted = {volume.get("configMap", {}).get("name") for volume in head["volumes"]}
    nodes = [node for group in workers for node in [_node(group)] * group["maxReplicas"]]
    at = "spec.rayClusterSpec.workerGroupSpecs"
    for each in rendered:
        text = each.get("data", {}).get("placement.toml")
        if each["kind"] != "ConfigMap" or each["metadata"].get("name") not in mounted or text is None:
            continue
        try:
            placement = placements.parse(text, "placement.toml")
            placements.check(placements.Placement(placement.pools), nodes)
        except placements.PlacementError as error:
            yield f"{at}: {error}"
            continue
        promised, available = placements.total(placement.nodes), placements.total(nodes)
        if promised != available:
            yield f"{at}: placement: its [nodes] come to {promised}, the groups to {available}"


def _node(group: Table) -> placements.Node:
    """Return the resources that Ray sees on one node of a group of workers."""
    params, limits = group["rayStartParams"], group["template"]["spec"]["containers"][0]["resources"]["limits"]
    custom = {name: float(value) for name, value in re.findall(r'\\"(.+?)\\": *([\d.]+)', params.get("resources", ""))}
    cpus, gpus = params.get("num-cpus", limits["cpu"]), params.get("num-gpus", limits.get("nvidia.com/gpu", 0))
    return {"CPU": _amount(cpus), "GPU": _amount(gpus), **custom}
