"""Who may import whom, read from the sources: a table by package, and no circle. Planning needs neither torch nor vLLM.

To add a package, add its line to MAY_IMPORT.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from components.worlds.tokenizer import build_tokenizer

ROOT = Path(__file__).parents[1]

# Package → the packages of ours that it may import, `schemas` apart, which all may. What is not listed imports nothing.
MAY_IMPORT: dict[str, set[str]] = {
    "components.dataflow": set(),  # the resumable engine knows nothing of models or mathematics
    "components.statistics": set(),  # arrays in, arrays out
    "components.models": set(),
    "components.text": {"components.models"},
    "components.worlds": {"components.text", "components.dataflow"},
    "components.grader": {"components.text"},
    "components.data": {f"components.{name}" for name in ("dataflow", "text", "grader", "worlds", "statistics")},
    "components.sampling": {f"components.{name}" for name in ("dataflow", "text", "grader", "models")},
    "components.training": {f"components.{name}" for name in ("dataflow", "text", "worlds", "statistics", "models")},
    "components.verifiers": {f"components.{name}" for name in ("dataflow", "text", "statistics", "models", "training")},
    "components.labels": {
        f"components.{name}"
        for name in ("dataflow", "text", "grader", "worlds", "statistics", "models", "sampling", "verifiers")
    },
    "components.evaluation": {f"components.{name}" for name in ("dataflow", "grader", "statistics", "models")},
    "components.report": {"components.dataflow"},
    "cluster": {"components.dataflow"},
    "flows.presets": {"components"},
    "flows.study": {"components", "flows.presets"},
    "flows.exporting": {"components", "flows.study"},
    "flows.studies": {"components", "flows.presets", "flows.study"},
    "flows.command_line": {"components", "cluster", "flows.presets", "flows.study", "flows.studies"},
    "flows": {"components", "cluster", *(f"flows.{name}" for name in ("study", "studies", "presets"))}
    | {"flows.command_line", "flows.exporting"},  # entry points
    "schemas": set(),
}
# Package → what it must not import at all, even inside functions.
MUST_NOT_IMPORT = {
    "components.dataflow": {"torch", "vllm", "transformers"},
    "components.grader": {"pyarrow", "ray", "torch", "numpy"},
    "components.statistics": {"pyarrow", "pandas", "ray", "torch"},
    "flows.study": {"argparse", "ray", "signal"},
    "flows.studies": {"argparse", "ray", "signal"},
}


def modules_of(root: Path) -> dict[str, Path]:
    """Module → its file, of all packages."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for folder in ("components", "flows", "schemas", "cluster")
        for path in sorted((root / folder).rglob("*.py"))
        if path.name != "__init__.py"
    }


def imported(path: Path) -> set[str]:
    """All names that a file's import statements may mean: modules, and names in modules."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def package_of(module: str) -> str:
    """The longest line of the table that a module falls under."""
    parts = module.split(".")
    lines = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((line for line in lines if line in MAY_IMPORT), "")


def faults_of(root: Path) -> list[str]:
    """What breaks the tables, a line each, and the first circle."""
    modules = modules_of(root)
    graph = {module: imported(path) & modules.keys() - {module} for module, path in modules.items()}
    faults = []
    for module, targets in graph.items():
        package = package_of(module)
        if not package or (package == "flows" and module.count(".") > 1):
            faults.append(f"{module} is in no package of the table")
            continue
        for target in targets:
            allowed = {"schemas", package, *MAY_IMPORT[package]} - ({"flows"} if package == "flows" else set())
            if not any(target == name or target.startswith(f"{name}.") for name in allowed):
                faults.append(f"{module} imports {target}")
        for library in sorted(MUST_NOT_IMPORT.get(package, set())):
            if any(name == library or name.startswith(f"{library}.") for name in imported(modules[module])):
                faults.append(f"{module} imports {library}")
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        faults.append("circle: " + " → ".join(error.args[1]))
    empty = MAY_IMPORT.keys() - {package_of(module) for module in modules}
    return faults + [f"{package} has no module: is it still checked?" for package in sorted(empty)]


def test_no_package_imports_what_it_may_not_and_there_is_no_circle() -> None:
    assert faults_of(ROOT) == []


def test_the_name_of_a_class_is_used_once() -> None:
    names = [
        node.name
        for path in modules_of(ROOT).values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
    ]
    assert len(names) > 100
    assert sorted(name for name, count in Counter(names).items() if count > 1) == []


def test_packages_hold_the_modules() -> None:
    """At the top of components is nothing, and of flows its entry points, and what they are given."""
    assert [path.name for path in ROOT.glob("components/*.py")] == ["__init__.py"]
    entries = {path.stem for path in ROOT.glob("flows/*.py")} - {"__init__", "study"}
    assert {"full_study", "small_scale", "evaluate", "step_errors", "export", "push"} <= entries
    for name in entries:
        text = (ROOT / f"flows/{name}.py").read_text(encoding="utf-8")
        assert 'if __name__ == "__main__":' in text, f"flows/{name}.py is no entry point"


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("components/grader/numbers.py", "import numpy", "components.grader.numbers imports numpy"),
        (
            "components/report/page.py",
            "from components.training import loop",
            "components.report.page imports components.training.loop",
        ),
        ("components/text/rendering.py", "from components.text import segmentation", "circle"),
        ("flows/studies/results.py", "import argparse", "flows.studies.results imports argparse"),
        ("flows/studies/results.py", "from flows.command_line import cli", "imports flows.command_line.cli"),
        ("components/loose.py", "", "components.loose is in no package"),
    ],
)
def test_a_planted_fault_is_found(tmp_path: Path, file: str, line: str, fault: str) -> None:
    for module, path in modules_of(ROOT).items():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        assert module
    planted = tmp_path / file
    planted.write_text((planted.read_text() if planted.exists() else "") + f"\n{line}\n")
    if "segmentation" in line:
        other = tmp_path / "components/text/segmentation.py"
        other.write_text(f"{other.read_text()}\nfrom components.text import rendering\n")
    assert any(fault in found for found in faults_of(tmp_path))


def test_a_tree_without_modules_is_a_fault(tmp_path: Path) -> None:
    assert len(faults_of(tmp_path)) == len(MAY_IMPORT)


def test_schemas_know_pyarrow_and_what_checks_settings_only() -> None:
    for path in ROOT.glob("schemas/*.py"):
        libraries = {name.partition(".")[0] for name in imported(path)}
        libraries -= {"__future__", "collections", "dataclasses", "typing"}
        assert libraries <= {"pyarrow", "pydantic", "annotated_types", "schemas"}, path


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*({{'torch', 'vllm', 'ray', 'scipy', 'transformers'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {*done.stdout.split()}


def test_planning_imports_no_heavy_library() -> None:
    assert loaded_by("flows.full_study") == set()


def test_starting_a_training_imports_no_model_code() -> None:
    """Two processes on the way to a training's first step would each spend seconds on it."""
    assert loaded_by("components.training.ray_trainer") <= {"ray"}


def test_making_examples_with_the_embedded_tokenizer_imports_no_torch(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["one", "two"])
    tokenizer.save_pretrained(tmp_path)
    code = (
        "import sys; from pathlib import Path;"
        "from components.training.dataset import open_tokenizer_without_torch;"
        f"print(open_tokenizer_without_torch(Path({str(tmp_path)!r}))('one, two').input_ids, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"{tokenizer('one, two').input_ids} False"


def test_every_benchmark_finds_the_project_by_itself() -> None:
    scripts = sorted(ROOT.glob("tests/benchmarks/*.py"))
    assert scripts
    for script in scripts:
        text = script.read_text()
        if any(f"\nfrom {package}." in text for package in ("components", "flows", "cluster", "schemas")):
            assert "sys.path.insert(0, str(Path(__file__).resolve().parents[2]))" in text, script
