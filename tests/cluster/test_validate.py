"""The manifests of cluster/ without a cluster: they render and hold, and a mistake in them does not pass."""

from __future__ import annotations

import copy
import datetime
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import manifest_schemas, placements, validate
from components.dataflow import prometheus

ROOT = Path(__file__).parents[2] / "cluster"
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders overlays, is absent")
Job = dict[str, Any]


def base() -> list[Job]:
    """The base as kustomize renders it, near enough: so that the rules are tested without kubectl too."""
    found = [one for path in sorted((ROOT / "base").glob("*.yaml")) for one in manifest_schemas.read(path.read_text())]
    found = [one for one in found if one["kind"] != "Kustomization"]
    placement = {"placement.toml": (ROOT / "base" / "placement.toml").read_text()}
    metadata = {"name": "stepverify-placement"}
    return [*found, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": placement}]


def messages(resources: list[Job]) -> list[str]:
    wrong, unchecked = validate.validate(yaml.safe_dump_all(resources))
    assert unchecked == []
    return wrong


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


OF_THE_SCHEMA: dict[str, tuple[Callable[[Job], Any], str]] = {
    "a misspelt field": (set_spec(backOffLimit=3), r"RayJob/stepverify: spec\.backOffLimit: unknown field"),
    "a misspelt field of a container": (
        lambda job: container(job, 1).update(volumeMount=[]),
        r"workerGroupSpecs\[1\]\.template\.spec\.containers\[0\]\.volumeMount: unknown field",
    ),
    "text for a number": (set_spec(backoffLimit="3"), r"backoffLimit: \"3\" is not of type 'integer'"),
    "a number too large": (
        set_spec(activeDeadlineSeconds=2**40),
        r"activeDeadlineSeconds: 1099511627776 is not",
    ),
    "a group without a name": (lambda job: group(job, 0).pop("groupName"), r"groupName: is required"),
    "a group without a pod": (lambda job: group(job, 0).pop("template"), r"\[0\]\.template: is required"),
    "an unknown upscaling mode": (
        lambda job: job["spec"]["rayClusterSpec"]["autoscalerOptions"].update(upscalingMode="Fast"),
        r"upscalingMode: \"Fast\" is not one of \['Default', 'Aggressive', 'Conservative'\]",
    ),
    "memory without a unit known": (
        lambda job: container(job, 1)["resources"]["limits"].update(memory="48gb"),
        r"limits\.memory: \"48gb\" is not a quantity such as 2, 500m or 8Gi",
    ),
    "the same port twice, by the default protocol": (
        lambda job: container(job, 0)["ports"].append({"containerPort": 8080, "protocol": "TCP", "name": "again"}),
        r"ports\[1\]: another entry has the same containerPort, protocol: 8080, TCP",
    ),
    "a deletion strategy": (
        set_spec(deletionStrategy={"onSuccess": {"policy": "DeleteCluster"}}),
        r"deletionStrategy: not allowed beside shutdownAfterJobFinishes",
    ),
    "an unknown manager": (
        set_spec(managedBy="me"),
        r"managedBy: \"me\" is not one of \['ray",
    ),
}
OF_THE_OPERATOR: dict[str, tuple[Callable[[Job], Any], str]] = {
    "an unknown submissionMode": (
        set_spec(submissionMode="K8SJobMode"),
        r"\"K8SJobMode\" is not one of",
    ),
    "retries of an interactive job": (
        set_spec(submissionMode="InteractiveMode"),
        r"\"InteractiveMode\" is not one of",
    ),
    "a submitter's pod in SidecarMode": (
        set_spec(submissionMode="SidecarMode"),
        r"submissionMode: \"SidecarMode\" is not one of",
    ),
    "a negative backoffLimit": (set_spec(backoffLimit=-1), r"backoffLimit: is -1: at least 1"),
    "a deadline of no time": (set_spec(activeDeadlineSeconds=0), r"activeDeadlineSeconds: is 0: at least 1"),
    "a time to live without shutdown": (
        set_spec(shutdownAfterJobFinishes=False),
        r"shutdownAfterJobFinishes: is false: must be true",
    ),
    "suspended without shutdown": (
        set_spec(shutdownAfterJobFinishes=False, ttlSecondsAfterFinished=0, suspend=True),
        r"shutdownAfterJobFinishes: is false: must be true",
    ),
    "no cluster at all": (lambda job: job["spec"].pop("rayClusterSpec"), r"rayClusterSpec: is required"),
    "a selected cluster that is not named": (
        set_spec(clusterSelector={"a": "b"}),
        r"clusterSelector: not allowed",
    ),
    "a runtime environment that is no YAML": (set_spec(runtimeEnvYAML="a: [1"), r"runtimeEnvYAML: .* is not a 'yaml'"),
    "a name too long": (lambda job: job["metadata"].update(name="s" * 48), r"metadata\.name: .* is too long"),
    "a maximum below the minimum": (
        lambda job: group(job, 1).update(minReplicas=20),
        r"\[1\]: replicas, 0, is not within 20 and 16",
    ),
    "two groups of one name": (
        lambda job: group(job, 2).update(groupName="gpu-generate"),
        r"\[2\]: another entry has the same groupName: gpu-generate",
    ),
    "a group without containers": (
        lambda job: pod(job, 0).update(containers=[]),
        r"containers: .* non-empty",
    ),
    "a group suspended under the autoscaler": (lambda job: group(job, 0).update(suspend=True), r"cannot be suspended"),
    "restarts under autoscaler v2": (
        lambda job: pod(job, 0).update(restartPolicy="Always"),
        r"restartPolicy: is \"Always\": the autoscaler \(v2\) needs Never",
    ),
    "the autoscaler's version twice": (
        lambda job: job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["env"].append(
            {"name": "RAY_enable_autoscaler_v2", "value": "1"}
        ),
        r"env\[3\]\.name: is \"RAY_enable_autoscaler_v2\": not allowed",
    ),
    "resources in two places": (
        lambda job: group(job, 1).update(resources={"GPU": "1"}),
        r"\]\.resources: not allowed",
    ),
    "custom resources quoted once": (
        lambda job: group(job, 1)["rayStartParams"].update(resources='{"gpu_generate": 1}'),
        r"rayStartParams\.resources: .* in quotes twice",
    ),
    "Ray's memory in Kubernetes' units": (
        lambda job: group(job, 1)["rayStartParams"].update({"object-store-memory": "8Gi"}),
        r"object-store-memory'\]: is \"8Gi\": a whole number of bytes is needed",
    ),
    "memory in bytes by mistake": (
        lambda job: container(job, 0)["resources"].update(requests={"memory": "24"}),
        r"requests\.memory: is \"24\": a size such as 8Gi",
    ),
    "memory in thousandths": (
        lambda job: pod(job, 0)["volumes"][0]["emptyDir"].update(sizeLimit="512m"),
        r"sizeLimit: is \"512m\": a size such as 8Gi",
    ),
    "more asked for than allowed": (
        lambda job: container(job, 0)["resources"]["requests"].update(memory="25Gi"),
        r"requests\.memory: 25Gi is over the limit, 24Gi",
    ),
}


def queued(job: Job) -> None:
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "stepverify"}


OF_THE_HOUSE: dict[str, tuple[Callable[[Job], Any], str]] = {
    "GPUs without a toleration": (
        lambda job: pod(job, 1).pop("tolerations"),
        r"tolerations: is required: nodes",
    ),
    "root": (
        lambda job: pod(job, 0)["securityContext"].update(runAsNonRoot=False),
        r"NonRoot: is false; must be true",
    ),
    "more privileges": (
        lambda job: container(job, 0)["securityContext"].pop("allowPrivilegeEscalation"),
        r"allowPrivilegeEscalation: is required",
    ),
    "an image that moves": (
        lambda job: container(job, 0).update(image="a:1/stepverify:latest"),
        r"not pinned",
    ),
    "an image without a tag": (lambda job: container(job, 0).update(image="a:1/stepverify"), r"not pinned"),
    "a secret written out": (
        lambda job: container(job, 1)["env"].append({"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"}),
        r"containers\[0\]\.env\[3\]: holds a secret, written out",
    ),
    "ports open to whoever reaches them": (
        lambda job: job["spec"]["rayClusterSpec"].pop("authOptions"),
        r"rayClusterSpec\.authOptions: is required: mode must be token",
    ),
    "authentication switched off": (
        lambda job: job["spec"]["rayClusterSpec"].update(authOptions={"mode": "disabled"}),
        r"rayClusterSpec\.authOptions\.mode: is \"disabled\": must be token",
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
        r"submitterPodTemplate.*env: is required",
    ),
    "an autoscaler that reports": (
        lambda job: job["spec"]["rayClusterSpec"]["autoscalerOptions"].pop("env"),
        r"autoscalerOptions\.env: is required",
    ),
    "no shared memory": (lambda job: container(job, 1)["volumeMounts"].pop(0), r"/dev/shm must be an emptyDir"),
    "an object store larger than it": (
        lambda job: pod(job, 1)["volumes"][0]["emptyDir"].update(sizeLimit="4Gi"),
        r"object-store-memory: does not fit in /dev/shm \(4Gi\)",
    ),
    "spilling into the container": (
        lambda job: group(job, 1)["rayStartParams"].pop("object-spilling-directory"),
        r"object-spilling-directory: is required",
    ),
    "no time to save": (
        lambda job: pod(job, 2).update(terminationGracePeriodSeconds=10),
        r"\[2\].*terminationGracePeriodSeconds: is 10: at least 31",
    ),
    "a mount without a volume": (lambda job: pod(job, 0)["volumes"].pop(), r"no volume is called model-cache"),
    "a claim that is not there": (
        lambda job: pod(job, 0)["volumes"][2]["persistentVolumeClaim"].update(claimName="models"),
        r"no PersistentVolumeClaim models is rendered here",
    ),
    "an autoscaler in a queue": (
        queued,
        r"metadata\.annotations: is required: .* needs kueue",
    ),
    "a group too small for the placement": (
        lambda job: group(job, 1).update(maxReplicas=8),
        r"workerGroupSpecs: placement: engines needs 16 × .* hold 8 of them",
    ),
    "more nodes promised than there are": (
        lambda job: group(job, 0).update(maxReplicas=5),
        r"placement: its \[nodes\] come to .*'cpu_grade': 24.* the groups to .*'cpu_grade': 30",
    ),
    "a group without a bound": (
        lambda job: group(job, 0).pop("maxReplicas"),
        r"is 2147483647: at most 4096",
    ),
    "a job that never ends": (
        lambda job: job["spec"].pop("activeDeadlineSeconds"),
        r"DeadlineSeconds: is required",
    ),
    "the operator's own submitter": (
        lambda job: job["spec"].pop("submitterPodTemplate"),
        r"submitterPodTemplate: is required",
    ),
}
MISTAKES = {**OF_THE_SCHEMA, **OF_THE_OPERATOR, **OF_THE_HOUSE}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_seeded_mistake_is_caught(mistake: str) -> None:
    change, message = MISTAKES[mistake]
    resources = base()
    change(job_of(resources))
    found = messages(resources)
    assert any(re.search(message, one) for one in found), found


def test_the_base_is_valid() -> None:
    assert messages(base()) == []


def test_empty_fields_are_left_out_and_dates_are_text() -> None:
    resources = base()
    pod(job_of(resources), 0)["priorityClassName"] = None
    job_of(resources)["metadata"]["annotations"] = {"since": datetime.date(2026, 1, 1)}
    assert messages(resources) == []


def test_a_value_that_may_be_a_secret_is_not_printed() -> None:
    resources = base()
    container(job_of(resources), 0)["env"].append({"name": "HF_TOKEN", "value": "hunter2"})
    found = messages(resources)
    assert len(found) == 1
    assert "hunter2" not in found[0]


def test_a_wrong_value_of_any_field_gives_a_message_and_no_traceback() -> None:
    job = job_of(base())
    for path in paths(group(job, 1)):
        for value in ("x y", -3, []):
            changed = copy.deepcopy(job)
            table: Any = group(changed, 1)
            for name in path[:-1]:
                table = table[name]
            table[path[-1]] = value
            validate.problems(changed, [changed])


def paths(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every field within a value."""
    items: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield (*at, name)
        yield from paths(inner, (*at, name))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not YAML"),
        ("- 1", "[1]: no resource with apiVersion, kind and metadata"),
        ("kind: Service\nmetadata: {name: a}", "no resource with apiVersion"),
        (
            "apiVersion: ray.io/v2\nkind: RayJob\nmetadata: {name: a}",
            "has no ray.io/v2 RayJob; it has ray.io/v1",
        ),
        ("apiVersion: ray.io/v1\nkind: RayJob\nmetadata: {name: a}", "RayJob/a: spec: is required"),
        ("apiVersion: ray.io/v1\nkind: RayJob\nmetadata: {name: a}\nspec: 3", "spec: 3 is not of type 'object'"),
        ("apiVersion: v1\nkind: Servise\nmetadata: {name: a}", "Servise/a: Couldn't find schema for kind Servise"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1}", "Service/a: spec: Additional prop"),
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: 1}", "Service/a: spec.ports: 1 is not of"),
    ],
)
def test_what_is_no_resource_is_told(text: str, message: str) -> None:
    [wrong], unchecked = validate.validate(text)
    assert message in wrong
    assert unchecked == []


def test_a_resource_without_a_schema_is_named() -> None:
    text = "apiVersion: monitoring.coreos.com/v1\nkind: PodMonitor\nmetadata: {name: a}"
    wrong, unchecked = validate.validate(text)
    assert wrong == []
    assert [line.partition(":")[0] for line in unchecked] == ["PodMonitor/a"]


def test_the_command_tells_each_source_and_ends_by_the_worst(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump_all(base()))
    bad.write_text(good.read_text().replace("rayStartParams", "rayStartParam"))
    assert validate.main([str(good)]) == 0
    assert validate.main([str(good), str(bad)]) == 1
    assert validate.main([str(tmp_path / "none.yaml"), str(good)]) == 2
    out = capsys.readouterr()
    assert f"{good}: valid" in out.out
    assert f"{bad}: RayJob/stepverify: spec.rayClusterSpec.headGroupSpec.rayStartParam: unknown field" in out.out
    assert "No such file" in out.err


@needs_kubectl
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nkind: Pod\n", 'key "kind" already defined'),
        ("apiVersion: v1\nkind: Service\n", "missing metadata.name"),
    ],
)
def test_kustomize_refuses_a_field_given_twice_and_a_resource_without_a_name(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]")
    (tmp_path / "a.yaml").write_text(text)
    assert validate.main([str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


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
    assert names == set(prometheus._DESCRIPTIONS)


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
