"""The wheel: one name, the same keys, the same tests passed, and nothing of a user's own hidden."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.slow.conftest import ROOT, SMOKE

pytestmark = pytest.mark.slow
OURS = "cluster|components|flows|schemas"
# Tests that start no process of the repository's own, and read none of its files.
PORTABLE = ["statistics", "text", "evaluation", "worlds", "flows/test_settings.py"]
# What `pip install stepverify` alone does not bring.
WITHOUT_EXTRAS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "ray", "transformers", "tokenizers", "vllm", "tensorboardX"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel was unpacked, as into site-packages."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", wheels, "."]
    subprocess.run(command, cwd=source, check=True)
    [wheel] = wheels.glob("stepverify-*.whl")
    folder = tmp_path_factory.mktemp("site-packages")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def python(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A run of Python that has the wheel and no repository."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_there_is_one_name_and_every_module_can_be_imported(installed: Path, tmp_path: Path) -> None:
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {"stepverify"}
    modules = [
        ".".join(path.relative_to(installed).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((installed / "stepverify").rglob("*.py"))
    ]
    repository = [path for name in OURS.split("|") for path in (ROOT / name).rglob("*.py")]
    assert len(modules) == len(repository) + 1
    code = f"import importlib, sys; [importlib.import_module(name) for name in {modules!r}];" + (
        f"print(sorted({{*sys.modules}} & {set(OURS.split('|'))!r}))"
    )
    assert python(installed, "-c", code, cwd=tmp_path).stdout.strip() == "[]"


def test_data_files_are_the_repositorys(installed: Path) -> None:
    for name in ("components/labels/judge_prompt.txt", "components/report/page.html", "flows/presets/few_shot.txt"):
        assert (installed / "stepverify" / name).read_bytes() == (ROOT / name).read_bytes()


def test_a_users_own_packages_stay_theirs(installed: Path, tmp_path: Path) -> None:
    for name in OURS.split("|"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("mine = True\n")
    code = (
        f"{WITHOUT_EXTRAS}\nimport stepverify, stepverify.flows.evaluate\n"
        "import cluster, components, flows, schemas\n"
        "assert all(module.mine for module in (cluster, components, flows, schemas))\n"
        "print(stepverify.is_equal(['0.5'], [r'\\frac{1}{2}']))"
    )
    assert python(installed, "-c", code, cwd=tmp_path).stdout.strip() == "[True]"


def test_a_file_is_evaluated_without_ray_torch_and_transformers(installed: Path, tmp_path: Path) -> None:
    rows = [
        {"problem": f"p{p}", "answer": str(s % 2), "is_correct": s % 2 == 0, "prm_score": (p + s) / 99}
        for p in range(6)
        for s in range(4)
    ]
    (tmp_path / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code = f"{WITHOUT_EXTRAS}\nfrom stepverify.flows.command_line.main import main\nsys.exit(main())"
    done = python(installed, "-c", code, "evaluate", "samples.jsonl", cwd=tmp_path)
    assert "majority voting" in done.stdout.lower()
    assert (tmp_path / "outputs/studies/samples/report.html").is_file()
    refused = subprocess.run(
        [sys.executable, "-c", code, "study"], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert refused.returncode == 2
    assert len(refused.stderr.strip().splitlines()) == 1


def test_a_store_of_the_repository_is_one_of_the_wheel(installed: Path, smoke: Path, tmp_path: Path) -> None:
    """Keys and digests of code do not hang on the name that modules are imported by."""
    code = "import sys; from stepverify.flows.command_line.main import main; sys.exit(main())"
    argv = [*SMOKE, "--root", str(smoke)]
    planned = python(installed, "-c", code, "study", "plan", *argv, cwd=tmp_path).stdout.splitlines()
    stages = [line for line in planned if " HIT " in line]
    assert len(stages) > 20
    assert not [line for line in planned if re.search(r"\b(MISS|PARTIAL)\b", line)]
    status = python(installed, "-c", code, "study", "status", *argv, cwd=tmp_path).stdout
    assert "its code changed" not in status
    assert "whether its code changed" not in status


def test_fast_tests_pass_on_the_wheel(installed: Path, tmp_path: Path) -> None:
    """The tests themselves, with their imports prefixed as the wheel's are."""
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for path in (tmp_path / "tests").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            re.sub(rf"\bfrom ({OURS})\b(?=[. ])", r"from stepverify.\1", text).replace(
                '"components.', '"stepverify.components.'
            ),
            encoding="utf-8",
        )
    chosen = [f"tests/{name}" for name in PORTABLE]
    done = python(installed, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", *chosen, cwd=tmp_path)
    [passed] = re.findall(r"(\d+) passed", done.stdout)
    assert int(passed) > 100
