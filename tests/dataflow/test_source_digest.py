"""`status` sees when code changed that a stage is made of, wherever it lies, and only then."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = "from components.grader import equality, lazy_import, prm800k_grader"
MOVED = "from components.grader import lazy_import, prm800k_grader\nfrom components.text import sameness as equality"
DIGESTS = """
import sys
from components.sampling.generation import generate
from components.sampling.grading import grade
from components.training.stages import reward_model
from components.training.config import RewardModelConfig, TrainingConfig
from components.sampling.engines import SamplingConfig
from components.dataflow.source_digest import code_digest
from components.dataflow.stage import Model
from components.worlds.worked_arithmetic import WorldConfig
from components.data.problems import world_problems
model = Model("x", "d")
training = TrainingConfig(1, 1, 0.1)
stages = [grade(), reward_model(RewardModelConfig("prm", training), model), world_problems(WorldConfig())]
print(*(code_digest(stage).partition(" ")[2] for stage in stages), "torch" in sys.modules)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for package in ("components", "schemas"):
        shutil.copytree(ROOT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    return root


def digests(tree: Path) -> list[str]:
    """Of the stages grades, prm and problems."""
    done = subprocess.run([sys.executable, "-c", DIGESTS], cwd=tree, capture_output=True, text=True, check=True)
    *found, torch = done.stdout.split()
    assert torch == "False"  # the sources are read, and no module is imported for it
    return found


GRADES, PRM, PROBLEMS = range(3)


@pytest.mark.parametrize(
    ("module", "text", "stages"),
    [
        ("grader/equality", "def more(): return 1\n", [GRADES]),  # the grader's rules
        ("training/loop", "EPSILON = 1e-5\n", [PRM]),  # the loop, imported in a worker's function alone
        ("worlds/worked_arithmetic", "def more(): return 1\n", [PRM, PROBLEMS]),  # its vocabulary is the tokenizer's
        ("dataflow/runner", "def more(): return 1\n", []),  # what carries rows makes none
        ("dataflow/store", "def more(): return 1\n", []),
        ("grader/equality", "from components.grader.numbers import exact_number as something\n", [GRADES]),
        ("grader/equality", "# a comment\n\n\n'a text that nothing reads'\nimport json\n", []),
    ],
)
def test_a_change_is_seen_where_it_counts(tree: Path, module: str, text: str, stages: list[int]) -> None:
    path = tree / f"components/{module}.py"
    before, source = digests(tree), path.read_text()
    path.write_text(source + text)
    try:
        after = digests(tree)
    finally:
        path.write_text(source)
    assert [at for at in range(3) if before[at] != after[at]] == stages


def test_a_moved_module_is_the_same_code(tree: Path) -> None:
    before = digests(tree)
    text = (tree / "components/grader/equality.py").read_text()
    (tree / "components/text/sameness.py").write_text(text)
    (tree / "components/grader/equality.py").unlink()
    changed = {}
    for path in (tree / "components").rglob("*.py"):
        source = path.read_text()
        if "components.grader.equality" in source or MODULES in source:
            changed[path] = source
            source = source.replace("components.grader.equality", "components.text.sameness")
            path.write_text(source.replace(MODULES, MOVED))
    try:
        assert digests(tree)[PRM] == before[PRM]
        assert digests(tree)[GRADES] == before[GRADES]
    finally:
        for path, source in changed.items():
            path.write_text(source)
        (tree / "components/grader/equality.py").write_text(text)
        (tree / "components/text/sameness.py").unlink()
