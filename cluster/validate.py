"""Check manifests without a cluster: each overlay is rendered, and its resources of KubeRay are held against KubeRay
1.7.0's definition, the operator's own rules, and ours.

    python -m cluster.validate                            # the base and every overlay, with our rules too
    python -m cluster.validate job.yaml cluster/overlays/gke [--house-rules | --no-house-rules]

Of other kinds only apiVersion, kind and name are looked at: their schemas are a cluster's to know.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import crd_schema, documents, house_rules, kuberay_rules

HERE = Path(__file__).parent
NO_KUBECTL = (
    "kubectl is needed to render overlays, and is not there. It is one file, and no cluster is asked: "
    "https://kubernetes.io/docs/tasks/tools/ (or `brew install kubectl`, `snap install kubectl --classic`)"
)

_OF_TOOLS = ("kustomize.config.k8s.io/", "kind.x-k8s.io/")  # files that no cluster ever sees


@dataclass(frozen=True)
class Finding:
    source: str  # file or folder
    resource: str  # Kind/name
    message: str

    def __str__(self) -> str:
        return f"{self.source}: {self.resource}: {self.message}"


class RenderError(Exception):
    """An overlay that kustomize cannot render; the message is its own."""


def overlays() -> list[Path]:
    """The base, and all that is laid over it."""
    return [HERE / "base", *sorted(path.parent for path in HERE.glob("overlays/*/kustomization.yaml"))]


def render(folder: Path) -> str:
    """What `kubectl kustomize` makes of a folder. Raises RenderError."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise RenderError(NO_KUBECTL)
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RenderError(f"kubectl kustomize: {done.stderr.strip()}")
    return done.stdout


def validate(text: str, source: str, *, house: bool) -> list[Finding]:
    """Everything that is wrong with the documents of a text. house: by our own rules too."""
    try:
        found = documents.parse(text)
    except documents.DocumentError as error:
        return [Finding(source, "-", str(error))]
    items = [item for document in found for item in _items(document)]
    return [finding for item in items for finding in _document(item, items, source, house)]


def _items(document: Any) -> Iterable[Any]:
    """A `List` is its items."""
    if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
        return document["items"]
    return [document]


def _document(document: Any, others: Sequence[Any], source: str, house: bool) -> list[Finding]:
    if not isinstance(document, dict):
        return [Finding(source, "-", f"a document is {document!r}, not a resource")]
    if str(document.get("apiVersion")).startswith(_OF_TOOLS):
        return []
    kind, metadata = document.get("kind"), document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    resource = f"{kind}/{metadata.get('name', metadata.get('generateName', '-'))}"
    lacks = [name for name in ("apiVersion", "kind") if not isinstance(document.get(name), str)]
    lacks += [] if metadata.get("name") or metadata.get("generateName") else ["metadata.name"]
    if lacks:
        return [Finding(source, resource, f"{name}: is required") for name in lacks]
    group, _, version = document["apiVersion"].rpartition("/")
    if group != "ray.io":
        return []
    if kind not in crd_schema.KINDS or version not in crd_schema.VERSIONS:
        return [Finding(source, resource, f"apiVersion: KubeRay 1.7.0 has no {kind} of {document['apiVersion']}")]
    return [Finding(source, resource, str(problem)) for problem in _problems(kind, version, document, others, house)]


def _problems(
    kind: str, version: str, document: Mapping[str, Any], others: Sequence[Any], house: bool
) -> list[documents.Problem]:
    filled, problems = crd_schema.check(kind, version, document)
    if problems and not all(isinstance(filled.get(name), dict) for name in ("metadata", "spec")):
        return problems
    known = {problem.at for problem in problems}
    more = kuberay_rules.check(kind, filled)
    if house:
        more += house_rules.check(kind, filled, [other for other in others if isinstance(other, dict)])
    return problems + [problem for problem in more if problem.at not in known]


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status: 0, all is well; 1, what is wrong is printed; 2, a source cannot be read or rendered."""
    parser = argparse.ArgumentParser(
        prog="python -m cluster.validate", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("sources", nargs="*", type=Path, metavar="FOLDER_OR_YAML", help="default: base and overlays")
    parser.add_argument(
        "--house-rules", action=argparse.BooleanOptionalAction, help="also ours (default: of folders, not of files)"
    )
    options = parser.parse_args(argv)
    status = 0
    for source in options.sources or overlays():
        try:
            text = render(source) if source.is_dir() else source.read_text(encoding="utf-8")
        except (RenderError, OSError, UnicodeDecodeError) as error:
            print(f"{source}: {error}", file=sys.stderr)
            status = 2
            continue
        house = source.is_dir() if options.house_rules is None else options.house_rules
        findings = validate(text, str(source), house=house)
        print("\n".join(map(str, findings)) or f"{source}: valid")
        status = max(status, 1 if findings else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
