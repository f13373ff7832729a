"""The manifests of cluster/ without a cluster: they render and hold, and a mistake in them does not pass."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import documents, placements, validate
from components.dataflow import prometheus

ROOT = Path(__file__).parents[2] / "cluster"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is absent")
Job = dict[str, Any]


def base() -> list[Job]:
    """The base as kustomize renders it, near enough: so that the rules are tested without kubectl too."""
    found = [one for path in sorted((ROOT / "base").glob("*.yaml")) for one in documents.parse(path.read_text())]
    found = [one for one in found if one["kind"] != "Kustomization"]
    placement = {"placement.toml": (ROOT / "base" / "placement.toml").read_text()}
    metadata = {"name": "stepverify-placement"}
    return [*found, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": placement}]


def messages(resources: list[Job], *, house: bool = True) -> list[str]:
    text = yaml.safe_dump_all(resources)
    return [finding.message for finding in validate.validate(text, "job.yaml", house=house)]


def job_of(resources: list[Job]) -> Job:
    return next(one for one in resources if one["kind"] == "RayJob")


def group(job: Job, place: int) -> Job:
    return job["spec"]["rayClusterSpec"]["workerGroupSpecs"][place]


def pod(job: Job, place: int) -> Job:
    return group(job, place)["template"]["spec"]


def container(job: Job, place: int) -> Job:
    return pod(job, place)["containers"][0]


@needs_kubectl
@pytest.mark.parametrize("folder", validate.overlays(), ids=lambda folder: folder.name)
def test_every_overlay_renders_and_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validate.main([str(folder)]) == 0, capsys.readouterr().out


def test_there_are_overlays_for_each_place() -> None:
    assert [path.name for path in validate.overlays()] == ["base", "eks", "gke", "kind", "kueue", "monitoring"]


def set_spec(**fields: Any) -> Callable[[Job], None]:
    return lambda job: job["spec"].update(fields)


def rules(*given: tuple[str, str, int]) -> Callable[[Job], None]:
    """Deletion rules in place of what is simpler: (policy, status, seconds)."""

    def change(job: Job) -> None:
        job["spec"].pop("ttlSecondsAfterFinished")
        job["spec"]["shutdownAfterJobFinishes"] = False
        job["spec"]["deletionStrategy"] = {
            "deletionRules": [
                {"policy": policy, "condition": {"jobStatus": status, "ttlSeconds": seconds}}
                for policy, status, seconds in given
            ]
        }

    return change


def both(*changes: Callable[[Job], Any]) -> Callable[[Job], None]:
    def change(job: Job) -> None:
        for one in changes:
            one(job)

    return change


OF_THE_SCHEMA: dict[str, tuple[Callable[[Job], Any], str]] = {
    "a misspelt field": (set_spec(backOffLimit=3), r"^spec\.backOffLimit: unknown field"),
    "a misspelt field of a container": (
        lambda job: container(job, 1).update(volumeMount=[]),
        r"workerGroupSpecs\[1\]\.template\.spec\.containers\[0\]\.volumeMount: unknown field",
    ),
    "text for a number": (set_spec(backoffLimit="3"), r'backoffLimit: is "3", which is not of type integer'),
    "a number too large": (set_spec(activeDeadlineSeconds=2**40), r"activeDeadlineSeconds: is 1099511627776"),
    "a group without a name": (lambda job: group(job, 0).pop("groupName"), r"groupName: is required"),
    "a group without a pod": (lambda job: group(job, 0).pop("template"), r"\[0\]\.template: is required"),
    "an unknown upscaling mode": (
        lambda job: job["spec"]["rayClusterSpec"]["autoscalerOptions"].update(upscalingMode="Fast"),
        r"upscalingMode: is \"Fast\", which is not one of Default, Aggressive, Conservative",
    ),
    "memory without a unit known": (
        lambda job: container(job, 1)["resources"]["limits"].update(memory="48gb"),
        r"limits\.memory: ('48gb' is not a quantity|is \"48gb\")",
    ),
    "the same port twice, by the default protocol": (
        lambda job: container(job, 0)["ports"].append({"containerPort": 8080, "protocol": "TCP", "name": "again"}),
        r"ports\[1\]: another entry has the same containerPort, protocol: 8080, TCP",
    ),
    "half of the older deletion strategy": (
        set_spec(deletionStrategy={"onSuccess": {"policy": "DeleteCluster"}}),
        r"deletionStrategy: needs both onSuccess and onFailure",
    ),
    "a condition of both kinds": (
        set_spec(
            shutdownAfterJobFinishes=False,
            ttlSecondsAfterFinished=0,
            deletionStrategy={
                "deletionRules": [
                    {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED", "jobDeploymentStatus": "Failed"}}
                ]
            },
        ),
        r"condition: needs one of jobStatus and jobDeploymentStatus; it has both",
    ),
    "an unknown manager": (
        set_spec(managedBy="me"),
        r"managedBy: is 'me', which is not one of ray",
    ),
}
OF_THE_OPERATOR: dict[str, tuple[Callable[[Job], Any], str]] = {
    "an unknown submissionMode": (set_spec(submissionMode="K8SJobMode"), r"submissionMode: 'K8SJobMode' is not one of"),
    "retries of an interactive job": (set_spec(submissionMode="InteractiveMode"), r"InteractiveMode does not retry"),
    "a submitter's pod in SidecarMode": (
        set_spec(submissionMode="SidecarMode"),
        r"submitterPodTemplate: is not supported in SidecarMode",
    ),
    "a negative backoffLimit": (set_spec(backoffLimit=-1), r"backoffLimit: is -1; at least 0"),
    "a deadline of no time": (set_spec(activeDeadlineSeconds=0), r"activeDeadlineSeconds: is 0; at least 1"),
    "a time to live without shutdown": (
        set_spec(shutdownAfterJobFinishes=False),
        r"ttlSecondsAfterFinished: needs shutdownAfterJobFinishes",
    ),
    "suspended without shutdown": (
        set_spec(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0, suspend=True),
        r"suspend: a suspended job needs shutdownAfterJobFinishes",
    ),
    "deletion rules and shutdown": (
        both(rules(("DeleteCluster", "FAILED", 0)), set_spec(shutdownAfterJobFinishes=True)),
        r"deletionRules: deletion rules and shutdownAfterJobFinishes exclude each other",
    ),
    "DeleteWorkers with the autoscaler": (
        rules(("DeleteWorkers", "FAILED", 0)),
        r"deletionRules\[0\]\.policy: DeleteWorkers is not supported with the autoscaler on",
    ),
    "the same deletion rule twice": (
        rules(("DeleteCluster", "FAILED", 0), ("DeleteCluster", "FAILED", 9)),
        r"deletionRules\[1\]: another rule says DeleteCluster for FAILED",
    ),
    "the job goes before its cluster": (
        rules(("DeleteSelf", "FAILED", 10), ("DeleteCluster", "FAILED", 60)),
        r"for FAILED: DeleteSelf after 10 s is before DeleteCluster after 60 s",
    ),
    "no cluster at all": (lambda job: job["spec"].pop("rayClusterSpec"), r"one of rayClusterSpec and clusterSelector"),
    "a selected cluster that is not named": (
        set_spec(clusterSelector={"a": "b"}),
        r"must name the cluster by",
    ),
    "a runtime environment that is no YAML": (set_spec(runtimeEnvYAML="a: [1"), r"runtimeEnvYAML: not YAML"),
    "a name too long": (lambda job: job["metadata"].update(name="s" * 48), r"has 48 characters; a RayJob may have 47"),
    "a maximum below the minimum": (
        lambda job: group(job, 1).update(minReplicas=20),
        r"\[1\]\.maxReplicas: is 16, less than minReplicas, 20",
    ),
    "two groups of one name": (
        lambda job: group(job, 2).update(groupName="gpu-generate"),
        r"\[2\]\.groupName: another group is gpu-generate too",
    ),
    "a group without containers": (lambda job: pod(job, 0).update(containers=[]), r"needs at least one container"),
    "a group suspended under the autoscaler": (lambda job: group(job, 0).update(suspend=True), r"cannot be suspended"),
    "restarts under autoscaler v2": (
        lambda job: pod(job, 0).update(restartPolicy="Always"),
        r"restartPolicy: autoscaler v2 needs Never",
    ),
    "the autoscaler's version twice": (
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"].append(
            {"name": "RAY_enable_autoscaler_v2", "value": "1"}
        ),
        r"RAY_enable_autoscaler_v2 and autoscalerOptions\.version are both set",
    ),
    "resources in two places": (lambda job: group(job, 1).update(resources={"GPU": "1"}), r"said both here and in"),
    "custom resources quoted once": (
        lambda job: group(job, 1)["rayStartParams"].update(resources='{"gpu_generate": 1}'),
        r"rayStartParams\.resources: .* in quotes twice",
    ),
    "Ray's memory in Kubernetes' units": (
        lambda job: group(job, 1)["rayStartParams"].update({"object-store-memory": "8Gi"}),
        r"object-store-memory: '8Gi' is not a whole number of bytes",
    ),
    "memory in bytes by mistake": (
        lambda job: container(job, 0)["resources"].update(requests={"memory": "24"}),
        r"requests\.memory: '24' is 24 bytes",
    ),
    "memory in thousandths": (
        lambda job: pod(job, 0)["volumes"][0]["emptyDir"].update(sizeLimit="512m"),
        r"sizeLimit: '512m' is thousandths of a byte",
    ),
    "more asked for than allowed": (
        lambda job: container(job, 0)["resources"]["requests"].update(memory="25Gi"),
        r"requests\.memory: 25Gi is over the limit, 24Gi",
    ),
}


def queued(job: Job) -> None:
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "stepverify"}


OF_THE_HOUSE: dict[str, tuple[Callable[[Job], Any], str]] = {
    "GPUs without a toleration": (lambda job: pod(job, 1).pop("tolerations"), r"\[1\].*tolerations: nodes with GPUs"),
    "root": (lambda job: pod(job, 0)["securityContext"].update(runAsNonRoot=False), r"runAsNonRoot: must be true"),
    "more privileges": (
        lambda job: container(job, 0)["securityContext"].pop("allowPrivilegeEscalation"),
        r"allowPrivilegeEscalation: must be false",
    ),
    "an image that moves": (lambda job: container(job, 0).update(image="a:1/stepverify:latest"), r"is not pinned"),
    "an image without a tag": (lambda job: container(job, 0).update(image="a:1/stepverify"), r"is not pinned"),
    "a secret written out": (
        lambda job: container(job, 1)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"}),
        r"env\[3\]: AWS_SECRET_ACCESS_KEY is written out",
    ),
    "ports open to whoever reaches them": (
        lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"),
        r"rayClusterSpec\.authOptions\.mode: must be token",
    ),
    "authentication switched off": (
        lambda job: job["spec"]["rayClusterSpec"].update(authOptions={"mode": "disabled"}),
        r"rayClusterSpec\.authOptions\.mode: must be token",
    ),
    "a group that reports its use to Ray's makers": (
        lambda job: container(job, 1)["env"].pop(1),
        r"workerGroupSpecs\[1\]\.template\.spec\.containers\[0\]\.env: RAY_USAGE_STATS_ENABLED must be \"0\"",
    ),
    "reports of vLLM and Hugging Face": (
        lambda job: container(job, 2)["env"][2].update(value="0"),
        r"workerGroupSpecs\[2\].*env: DO_NOT_TRACK must be \"1\"",
    ),
    "a submitter that reports": (
        lambda job: job["spec"]["submitterPodTemplate"]["spec"]["containers"][0].pop("env"),
        r"submitterPodTemplate.*env: RAY_USAGE_STATS_ENABLED must be",
    ),
    "an autoscaler that reports": (
        lambda job: job["spec"]["rayClusterSpec"]["autoscalerOptions"].pop("env"),
        r"autoscalerOptions\.env: RAY_USAGE_STATS_ENABLED must be",
    ),
    "no shared memory": (lambda job: container(job, 1)["volumeMounts"].pop(0), r"/dev/shm must be an emptyDir"),
    "an object store larger than it": (
        lambda job: pod(job, 1)["volumes"][0]["emptyDir"].update(sizeLimit="4Gi"),
        r"object-store-memory: must be said, and fit in /dev/shm",
    ),
    "spilling into the container": (
        lambda job: group(job, 1)["rayStartParams"].pop("object-spilling-directory"),
        r"object-spilling-directory: must be a mounted disk",
    ),
    "no time to save": (
        lambda job: pod(job, 2).update(terminationGracePeriodSeconds=10),
        r"\[2\].*terminationGracePeriodSeconds: is 10; a training needs more",
    ),
    "a mount without a volume": (lambda job: pod(job, 0)["volumes"].pop(), r"no volume is called model-cache"),
    "a claim that is not there": (
        lambda job: pod(job, 0)["volumes"][2]["persistentVolumeClaim"].update(claimName="models"),
        r"no PersistentVolumeClaim models is rendered here",
    ),
    "deletion rules in a queue": (
        both(queued, rules(("DeleteCluster", "FAILED", 0))),
        r"deletionStrategy: a job in a queue of Kueue .* cannot have deletion rules",
    ),
    "an autoscaler in a queue": (
        queued,
        r"enableInTreeAutoscaling: .* needs the annotation kueue",
    ),
    "a group too small for the placement": (
        lambda job: group(job, 1).update(maxReplicas=8),
        r"workerGroupSpecs: placement: engines needs 16 × .* hold 8 of them",
    ),
    "more nodes promised than there are": (
        lambda job: group(job, 0).update(maxReplicas=5),
        r"placement: its \[nodes\] come to .*'cpu_grade': 24.* the groups to .*'cpu_grade': 30",
    ),
    "a group without a bound": (lambda job: group(job, 0).pop("maxReplicas"), r"maxReplicas: is 2147483647: say what"),
    "a job that never ends": (lambda job: job["spec"].pop("activeDeadlineSeconds"), r"activeDeadlineSeconds: must be"),
    "the operator's own submitter": (
        lambda job: job["spec"].pop("submitterPodTemplate"),
        r"submitterPodTemplate: must",
    ),
}
MISTAKES = {**OF_THE_SCHEMA, **OF_THE_OPERATOR, **OF_THE_HOUSE}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_seeded_mistake_is_caught(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    resources = base()
    assert messages(resources) == []
    changed = copy.deepcopy(resources)
    change(job_of(changed))
    found = messages(changed)
    assert any(re.search(message, one) for one in found), found
    if mistake not in OF_THE_HOUSE:
        assert any(re.search(message, one) for one in messages(changed, house=False))


def test_our_own_rules_are_not_everyones() -> None:
    for change, message in OF_THE_HOUSE.values():
        resources = base()
        change(job_of(resources))
        assert not any(re.search(message, one) for one in messages(resources, house=False))


CLUSTER_OF_OTHERS = """
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: small}
spec:
  workerGroupSpecs:
  - groupName: without-bounds
    template: {spec: {containers: [{name: worker, image: ray}]}}
  headGroupSpec:
    rayStartParams:
    template:
      metadata: {labels: {}}
      spec:
        volumes:
        containers:
        - name: head
          image: ray
          ports: [{containerPort: 53}, {containerPort: 53, protocol: UDP}]
---
---
apiVersion: v1
kind: Service
metadata: {generateName: any-}
spec: {whatever: 2001-01-01}
"""


def test_defaults_come_first_and_nulls_go() -> None:
    """Ports are told apart by their protocol, and bounds of a group are required: both have defaults. An empty field is
    one that is not there."""
    assert validate.validate(CLUSTER_OF_OTHERS, "a.yaml", house=False) == []
    twice = CLUSTER_OF_OTHERS.replace("protocol: UDP", "protocol: TCP")
    assert "ports[1]: another entry has the same" in str(validate.validate(twice, "a.yaml", house=False))
    older = CLUSTER_OF_OTHERS.replace("ray.io/v1", "ray.io/v1alpha1").replace("rayStartParams:", "rayStartParams: {}")
    older = older.replace("groupName: without-bounds", "groupName: without-bounds\n    rayStartParams: {}")
    assert validate.validate(older, "a.yaml", house=False) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "a.yaml: -: not YAML"),
        ("- 1", "a document is [1], not a resource"),
        ("kind: Service\nmetadata: {name: a}", "a.yaml: Service/a: apiVersion: is required"),
        ("apiVersion: v1\nkind: Service", "Service/-: metadata.name: is required"),
        ("apiVersion: ray.io/v2\nkind: RayJob\nmetadata: {name: a}", "KubeRay 1.7.0 has no RayJob of ray.io/v2"),
        ("apiVersion: ray.io/v1\nkind: RayJob\nmetadata: {name: a}", "RayJob/a: spec: is required"),
        (
            "apiVersion: ray.io/v1\nkind: RayJob\nmetadata: {name: a}\nspec: 3",
            "spec: is 3, which is not",
        ),
        ("apiVersion: v1\nkind: Service\nkind: Pod", "the field 'kind' is there twice"),
        ("apiVersion: v1\nkind: List\nitems: [{kind: Pod}]", "apiVersion: is required"),
    ],
)
def test_what_is_no_resource_is_told(text: str, message: str) -> None:
    assert message in "\n".join(map(str, validate.validate(text, "a.yaml", house=False)))


def test_the_command_tells_each_source_and_ends_by_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(CLUSTER_OF_OTHERS)
    bad.write_text(CLUSTER_OF_OTHERS.replace("rayStartParams", "rayStartParam"))
    assert validate.main([str(good)]) == 0
    assert validate.main([str(good), str(bad)]) == 1
    assert validate.main([str(good), "--house-rules"]) == 1
    assert validate.main([str(tmp_path / "none.yaml"), str(good)]) == 2
    out = capsys.readouterr()
    assert f"{good}: valid" in out.out
    assert f"{bad}: RayCluster/small: spec.headGroupSpec.rayStartParam: unknown field" in out.out
    assert "No such file" in out.err


def test_without_kubectl_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert validate.main([]) == 2
    assert "kubernetes.io/docs/tasks/tools" in capsys.readouterr().err


@pytest.mark.parametrize(("folder", "cpus"), [("base", 4.0), ("overlays/kind", 1.0)])
def test_placements_fit_beside_a_fresh_head(folder: str, cpus: float) -> None:
    placements.check(placements.read(ROOT / folder / "placement.toml"), [{"CPU": cpus}])


def test_the_dashboard_knows_only_metrics_that_there_are() -> None:
    dashboard = json.loads((ROOT / "components" / "monitoring" / "dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    names = set(re.findall(r"ray_(stepverify_[a-z_]+)", asked.replace("(_total)?", "")))
    assert names == set(prometheus._ABOUT)


def test_the_image_is_pinned_and_not_roots() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^ARG \w+_IMAGE=(.+)$", text, re.MULTILINE)
    assert bases
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", one) for one in bases)
    assert re.search(r"^USER 1000:1000$", text, re.MULTILINE)


def test_no_usage_reports_leave_the_image_or_any_container() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for setting in (
        "RAY_USAGE_STATS_ENABLED=0",
        "VLLM_NO_USAGE_STATS=1",
        "HF_HUB_DISABLE_TELEMETRY=1",
        "DO_NOT_TRACK=1",
    ):
        assert re.search(rf"^ENV .*\b{setting}\b", text, re.MULTILINE), setting
    cluster = job_of(base())["spec"]["rayClusterSpec"]
    pods = [row["template"]["spec"] for row in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    pods.append(job_of(base())["spec"]["submitterPodTemplate"]["spec"])
    containers = [each for spec in pods for each in (*spec.get("initContainers", ()), *spec["containers"])]
    assert len(containers) == 5
    for each in (*containers, cluster["autoscalerOptions"]):
        values = {row["name"]: row["value"] for row in each["env"]}
        assert values["RAY_USAGE_STATS_ENABLED"] == "0"
        assert values["DO_NOT_TRACK"] == "1"
