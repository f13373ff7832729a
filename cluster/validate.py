"""Check manifests without a cluster: `python -m cluster.validate [FOLDER_OR_YAML ...]`, by default base and overlays.

A folder is rendered by `kubectl kustomize`. Kubernetes' own kinds are checked by kubernetes-validate, a RayJob by
KubeRay 1.7.0's definition and by the rules of this project (house_rules.yaml, house_rules.py).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from cluster import house_rules, manifest_schemas

HERE = Path(__file__).parent
KUBERNETES = "1.34"  # older than most clusters, so that no field passes that some of them would drop
NO_KUBECTL = (
    "kubectl is needed to render overlays, and is not there. It is one file, and no cluster is asked: "
    "https://kubernetes.io/docs/tasks/tools/ (or `brew install kubectl`, `snap install kubectl --classic`)"
)


class RenderError(Exception):
    """An overlay that kustomize cannot render; the message is its own."""


def overlays() -> list[Path]:
    """Return the folders of the base and of all overlays."""
    return [HERE / "base", *sorted(path.parent for path in HERE.glob("overlays/*/kustomization.yaml"))]


def render(folder: Path) -> str:
    """Render a folder by `kubectl kustomize`. Raises RenderError."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RenderError(NO_KUBECTL)
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RenderError(f"kubectl kustomize: {done.stderr.strip()}")
    return done.stdout


def validate(text: str) -> tuple[list[str], list[str]]:
    """Check every document of a text. Returns what is wrong and which resources have no schema here, a line each."""
    try:
        resources = manifest_schemas.read(text)
    except yaml.YAMLError as error:
        return [f"not YAML: {' '.join(str(error).split())}"], []
    wrong: list[str] = []
    unchecked: list[str] = []
    if incomplete := [each for each in resources if not _is_resource(each)]:
        return [f"{str(each)[:60]}: no resource with apiVersion, kind and metadata" for each in incomplete], []
    for resource in resources:
        name = f"{resource['kind']}/{resource['metadata'].get('name', '-')}"
        try:
            wrong += [f"{name}: {problem}" for problem in problems(resource, resources)]
        except kubernetes_validate.SchemaNotFoundError as error:
            where = wrong if "." not in resource["apiVersion"].partition("/")[0] else unchecked
            where.append(f"{name}: {error.message}")
    return wrong, unchecked


def _is_resource(document: Any) -> bool:
    wanted = {"apiVersion": str, "kind": str, "metadata": dict}
    return isinstance(document, dict) and all(isinstance(document.get(name), kind) for name, kind in wanted.items())


def problems(resource: dict[str, Any], rendered: Sequence[dict[str, Any]]) -> list[str]:
    """Check one resource; rules that build on others are looked at when those hold."""
    if resource["apiVersion"].startswith("ray.io/"):
        lines = manifest_schemas.definition_problems(resource) or manifest_schemas.house_problems(resource)
        return lines or list(house_rules.problems(resource, rendered))
    try:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return manifest_schemas.problems(iter([error]))
    return []


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, all is well; 1, what is wrong is printed; 2, a source cannot be read or rendered."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.validate", description="Check manifests without a cluster."
    )
    parser.add_argument("sources", nargs="*", type=Path, metavar="FOLDER_OR_YAML", help="default: base and overlays")
    status = 0
    for source in parser.parse_args(argv).sources or overlays():
        try:
            text = render(source) if source.is_dir() else source.read_text(encoding="utf-8")
        except (RenderError, OSError, UnicodeDecodeError) as error:
            print(f"{source}: {error}", file=sys.stderr)
            status = 2
            continue
        wrong, unchecked = validate(text)
        for line in (*wrong, *(f"not checked: {line}" for line in unchecked)):
            print(f"{source}: {line}")
        print("" if wrong else f"{source}: valid\n", end="")
        status = max(status, 1 if wrong else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
