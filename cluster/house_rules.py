"""What we ask of our own manifests beyond what KubeRay accepts: so that a study survives, and that its nodes are safe.

Of everything that one folder renders to, since a volume, a claim and the placement are documents of their own.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster import kuberay_rules, placements, quantities
from cluster.documents import Path as At
from cluster.documents import Problem, dig, rows

_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|ACCESS_KEY|API_KEY|CREDENTIAL", re.IGNORECASE)
_GRACE = 30  # seconds: on SIGTERM a training saves a checkpoint first, for up to 20
_GPU = "nvidia.com/gpu"
_MOST_REPLICAS = 4096  # more is a bound forgotten: the schema's default is 2,147,483,647
_NO_REPORTS = {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"}  # Ray; vLLM and Hugging Face
_QUEUE = "kueue.x-k8s.io/queue-name"

Document = Mapping[str, Any]


def check(kind: str, document: Document, others: Sequence[Document]) -> list[Problem]:
    """Of a resource of KubeRay, with the schema's defaults. others: all that is rendered with it."""
    return list(_problems(kind, document, others))


def _problems(kind: str, document: Document, others: Sequence[Document]) -> Iterator[Problem]:
    at = kuberay_rules.CLUSTER_AT[kind]
    cluster = dig(document, *at)
    for _, group, group_at in kuberay_rules.groups(cluster, at):
        pod_at = (*group_at, "template", "spec")
        yield from _pod(dig(group, "template", "spec"), pod_at, others)
        yield from _ray_pod(group, group_at)
    if cluster and dig(cluster, "authOptions").get("mode") != "token":
        yield Problem((*at, "authOptions", "mode"), "must be token: whoever reaches Ray's ports could run code")
    if cluster.get("enableInTreeAutoscaling"):
        yield from _reports(dig(cluster, "autoscalerOptions"), (*at, "autoscalerOptions"))
    for place, group in rows(cluster.get("workerGroupSpecs")):
        least, most, now = (group.get(name) for name in ("minReplicas", "maxReplicas", "replicas"))
        if isinstance(most, int) and most > _MOST_REPLICAS:
            yield Problem((*at, "workerGroupSpecs", place, "maxReplicas"), f"is {most}: say what the budget allows")
        if isinstance(least, int) and isinstance(most, int) and isinstance(now, int) and not least <= now <= most:
            yield Problem((*at, "workerGroupSpecs", place, "replicas"), f"is {now}, not within {least} and {most}")
    if kind == "RayJob":
        yield from _job(dig(document, "spec"))
        yield from _pod(
            dig(document, "spec", "submitterPodTemplate", "spec"), ("spec", "submitterPodTemplate", "spec"), others
        )
    if _QUEUE in dig(document, "metadata", "labels"):
        yield from _kueue(document, cluster, at)
    yield from _placement(cluster, at, others)


def _job(spec: Document) -> Iterator[Problem]:
    for name in ("backoffLimit", "activeDeadlineSeconds"):
        if not spec.get(name):
            yield Problem(("spec", name), "must be said: a study outlives a cluster, and must not outlive its budget")
    if not spec.get("submitterPodTemplate"):
        yield Problem(
            ("spec", "submitterPodTemplate"), "must be said: KubeRay's own is refused where pods are restricted"
        )
    if not spec.get("shutdownAfterJobFinishes") and not dig(spec, "deletionStrategy"):
        yield Problem(("spec", "shutdownAfterJobFinishes"), "must be true, or its nodes stay for good")


def _pod(pod: Document, at: At, others: Sequence[Document]) -> Iterator[Problem]:
    grace = pod.get("terminationGracePeriodSeconds", 30)
    if pod and isinstance(grace, int) and grace <= _GRACE:
        yield Problem(
            (*at, "terminationGracePeriodSeconds"), f"is {grace}; a training needs more than {_GRACE} to save"
        )
    if pod and dig(pod, "securityContext").get("runAsNonRoot") is not True:
        yield Problem((*at, "securityContext", "runAsNonRoot"), "must be true")
    if pod and not dig(pod, "securityContext", "seccompProfile").get("type"):
        yield Problem((*at, "securityContext", "seccompProfile"), "must be said: RuntimeDefault")
    for list_name in ("initContainers", "containers"):
        for place, container in rows(pod.get(list_name)):
            yield from _container(container, (*at, list_name, place))
            yield from _mounts(container, pod, (*at, list_name, place), others)


def _container(container: Document, at: At) -> Iterator[Problem]:
    image, security = str(container.get("image", "")), dig(container, "securityContext")
    tag = image.rpartition("/")[2].partition(":")[2]
    if "@sha256:" not in image and tag in ("", "latest"):
        yield Problem((*at, "image"), f"{image!r} is not pinned: give a version or, better, a digest")
    if security.get("allowPrivilegeEscalation") is not False:
        yield Problem((*at, "securityContext", "allowPrivilegeEscalation"), "must be false")
    if "ALL" not in (dig(security, "capabilities").get("drop") or ()):
        yield Problem((*at, "securityContext", "capabilities", "drop"), "must be ALL")
    for place, one in rows(container.get("env")):
        if _SECRET.search(str(one.get("name"))) and one.get("value"):
            yield Problem(
                (*at, "env", place), f"{one['name']} is written out; refer to a Secret (valueFrom, or envFrom)"
            )
    for name in ("cpu", "memory"):
        if name not in dig(container, "resources", "limits"):
            yield Problem((*at, "resources", "limits", name), "must be said")
    yield from _reports(container, at)


def _reports(container: Document, at: At) -> Iterator[Problem]:
    """Usage reports of Ray, vLLM and Hugging Face are off, also where the image is another."""
    given = {row.get("name"): row.get("value") for _, row in rows(container.get("env"))}
    for name, value in _NO_REPORTS.items():
        if given.get(name) != value:
            yield Problem((*at, "env"), f'{name} must be "{value}": no usage reports')


def _mounts(container: Document, pod: Document, at: At, others: Sequence[Document]) -> Iterator[Problem]:
    """Every mount has a volume, and every volume its claim or ConfigMap."""
    volumes = {one.get("name"): one for _, one in rows(pod.get("volumes"))}
    named = {(one.get("kind"), dig(one, "metadata").get("name")) for one in others}
    for place, mount in rows(container.get("volumeMounts")):
        volume = volumes.get(mount.get("name"))
        if volume is None:
            yield Problem((*at, "volumeMounts", place, "name"), f"no volume is called {mount.get('name')}")
            continue
        for kind, said in (
            ("PersistentVolumeClaim", dig(volume, "persistentVolumeClaim").get("claimName")),
            ("ConfigMap", dig(volume, "configMap").get("name")),
        ):
            if said and (kind, said) not in named:
                yield Problem((*at, "volumeMounts", place, "name"), f"no {kind} {said} is rendered here")


def _ray_pod(group: Document, at: At) -> Iterator[Problem]:
    """Of a node of Ray: its shared memory, where it spills, and the taint of nodes with GPUs."""
    params, pod = dig(group, "rayStartParams"), dig(group, "template", "spec")
    container = dig(pod, "containers", 0)
    mounts = {one.get("mountPath"): one.get("name") for _, one in rows(container.get("volumeMounts"))}
    volumes = {one.get("name"): one for _, one in rows(pod.get("volumes"))}
    pod_at = (*at, "template", "spec")
    shm = dig(volumes.get(mounts.get("/dev/shm")), "emptyDir")
    size, store = (quantities.amount(one) for one in (shm.get("sizeLimit"), params.get("object-store-memory", "")))
    if shm.get("medium") != "Memory" or size is None:
        yield Problem((*pod_at, "volumes"), "/dev/shm must be an emptyDir of medium Memory with a sizeLimit")
    elif store is None or store > size:
        yield Problem((*at, "rayStartParams", "object-store-memory"), f"must be said, and fit in /dev/shm ({size:f})")
    if params.get("object-spilling-directory") not in mounts:
        yield Problem(
            (*at, "rayStartParams", "object-spilling-directory"), "must be a mounted disk, not the container's"
        )
    if _GPU in dig(container, "resources", "limits"):
        keys = [one.get("key", _GPU) for _, one in rows(pod.get("tolerations"))]
        if _GPU not in keys:
            yield Problem((*pod_at, "tolerations"), f"nodes with GPUs are tainted {_GPU}; the group must tolerate it")


def _kueue(document: Document, cluster: Document, at: At) -> Iterator[Problem]:
    spec, label = dig(document, "spec"), f"a job in a queue of Kueue ({_QUEUE})"
    if dig(spec, "deletionStrategy"):
        yield Problem(("spec", "deletionStrategy"), f"{label} cannot have deletion rules: its quota would stay taken")
    if not spec.get("shutdownAfterJobFinishes"):
        yield Problem(("spec", "shutdownAfterJobFinishes"), f"{label} must give its quota back: true")
    elastic = dig(document, "metadata", "annotations").get("kueue.x-k8s.io/elastic-job")
    if cluster.get("enableInTreeAutoscaling") and elastic != "true":
        yield Problem(
            (*at, "enableInTreeAutoscaling"), f"{label} needs the annotation kueue.x-k8s.io/elastic-job for it"
        )


def nodes(cluster: Document) -> list[placements.Node]:
    """What the groups of a cluster's spec are at their largest, without the head."""
    found: list[placements.Node] = []
    for _, group in rows(cluster.get("workerGroupSpecs")):
        params, limits = (
            dig(group, "rayStartParams"),
            dig(group, "template", "spec", "containers", 0, "resources", "limits"),
        )
        cpus = quantities.amount(params.get("num-cpus", limits.get("cpu", 0)))
        gpus = quantities.amount(params.get("num-gpus", limits.get(_GPU, 0)))
        custom = kuberay_rules.custom_resources(str(params.get("resources", "'{}'"))) or {}
        node = {"CPU": float(cpus or 0), "GPU": float(gpus or 0), **custom}
        found += [node] * min(int(group.get("maxReplicas") or 0), _MOST_REPLICAS)
    return found


def _placement(cluster: Document, at: At, others: Sequence[Document]) -> Iterator[Problem]:
    """The placement that the head mounts fits the groups at their largest, and promises no more than they are."""
    volumes = dig(cluster, "headGroupSpec", "template", "spec").get("volumes")
    mounted = {dig(volume, "configMap").get("name") for _, volume in rows(volumes)}
    there = nodes(cluster)
    for other in others:
        text = dig(other, "data").get("placement.toml")
        if other.get("kind") != "ConfigMap" or dig(other, "metadata").get("name") not in mounted or text is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "placement.toml"
            path.write_text(text, encoding="utf-8")
            try:
                given = placements.read(path)
                placements.check(placements.Placement(given.pools), there)
            except placements.PlacementError as error:
                yield Problem((*at, "workerGroupSpecs"), str(error).replace(f"{folder}/", ""))
                continue
        promised, real = placements.total(given.nodes), placements.total(there)
        if promised != real:
            yield Problem((*at, "workerGroupSpecs"), f"placement: its [nodes] come to {promised}, the groups to {real}")
