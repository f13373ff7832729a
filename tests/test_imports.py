"""Who may import whom, read from the sources: planning needs neither torch nor vllm, and layers stay apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

from components.tokenizer import build_tokenizer

ROOT = Path(__file__).parents[1]
ENGINE = set(
    """stage files datasets records model_files store store_marker visibility isolation leases provenance source_digest
    standing explain upkeep quarantine garbage runner streaming side_by_side foreseen progress metrics
    plain_text""".split()
)
# Leaf modules: the text format, the world and the models' targets know nothing of the study.
LEAVES = {"text_format", "plain_text", "model_folder", "worked_arithmetic", "examples", "tokenizer", "selection"}
LEAVES |= {"problem_text", "segmentation", "prefix_tree", "reductions", "verifier_metrics", "bootstrap"}
LEAVES |= {
    "solution_text",
    "answer_text",
    "expressions",
    "values",
    "numbers",
    "quantities",
    "several_values",
    "intervals",
    "statements",
}
# What the grading stage is made of: it knows answers and nothing of studies, since its worker is a process of its own.
GRADER = {"equality", "prm800k_equality", "math_verify_route", "grading_worker", "grading_pool"}
# What stages may share: leaves, the training loop, and what reads the files that users give.
SHARED = (
    LEAVES
    | GRADER
    | {"input_files", "training", "trainer", "keeper", "checkpoints", "training_data", "sampling", "watchdog"}
)
SHARED |= {"problem_files", "solution_files", "prm800k", "published_rows"}
SHARED |= {"packed_attention", "parallel", "held_out", "model_card", "verifier", "published_verifiers"}
SHARED |= {"scored_samples", "rated_steps", "published_formats"}
# What people read is made of tables, and knows no stage that made them.
SHARED |= {"figures", "report", "report_sections", "report_inputs", "report_browser", "report_page"}
SHARED |= {"scaling_report", "scaling_sections"}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def components_of(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("components.")}


def test_schemas_know_pyarrow_only() -> None:
    assert imported(ROOT / "schemas/tables.py") == {"__future__", "pyarrow"}
    assert imported(ROOT / "schemas/results.py") == {"__future__", "collections.abc", "pyarrow", "schemas.tables"}


def test_the_engine_knows_no_stage_and_no_model_library() -> None:
    for name in ENGINE:
        path = ROOT / f"components/{name}.py"
        assert components_of(path) <= ENGINE
        assert not imported(path) & {"torch", "vllm", "transformers"}


def test_leaves_know_no_stage_and_no_engine() -> None:
    for name in LEAVES:
        assert components_of(ROOT / f"components/{name}.py") <= LEAVES


def test_the_grader_knows_answers_only() -> None:
    for name in GRADER:
        assert components_of(ROOT / f"components/{name}.py") <= GRADER | LEAVES
        assert not imported(ROOT / f"components/{name}.py") & {"pyarrow", "ray", "torch", "numpy"}


def test_no_stage_imports_another() -> None:
    stages = {path.stem for path in ROOT.glob("components/*.py")} - ENGINE - SHARED - {"__init__"}
    for name in stages:
        assert not components_of(ROOT / f"components/{name}.py") & (stages - {name}), name


def test_only_flows_compose_and_only_the_command_line_places() -> None:
    for path in ROOT.glob("components/*.py"):
        assert not {n for n in imported(path) if n.split(".")[0] in ("flows", "cluster")}, path
    for path in ROOT.glob("flows/*.py"):
        if path.name not in ("cli.py", "ray_cluster.py"):
            assert not {n for n in imported(path) if n.split(".")[0] == "cluster"}, path


def loaded_by(module: str) -> set[str]:
    code = f"import sys, {module}; print(*({{'torch', 'vllm', 'ray', 'transformers'}} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return {*done.stdout.split()}


def test_planning_imports_neither_torch_nor_vllm_nor_ray() -> None:
    assert loaded_by("flows.full_study") == set()


def test_starting_a_training_imports_no_model_code() -> None:
    """Two processes on the way to a training's first step would each spend seconds on it."""
    assert loaded_by("components.trainer") <= {"ray"}


def test_making_examples_with_the_embedded_tokenizer_imports_no_torch(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["one", "two"])
    tokenizer.save_pretrained(tmp_path)
    code = (
        "import sys; from pathlib import Path; from components.training_data import open_tokenizer_without_torch;"
        f"print(open_tokenizer_without_torch(Path({str(tmp_path)!r}))('one, two').input_ids, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == f"{tokenizer('one, two').input_ids} False"
