"""What README and docs say is there: links, paths, limits, and whatever is made from results and from code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import placements
from flows.command_line.preset_options import with_config
from flows.presets.presets import PRESETS
from tests.docs.pages import PAGES, ROOT, blocks, inline_code, name
from tests.verifiers.style_models import make

sys.path.insert(0, str(ROOT / "docs"))

from measured import with_results
from update import updated

# Pages whose tables show what was measured. Others have tables of rows, columns or decisions.
MEASURED = ("README", "results", "benchmarks", "cluster", "grader", "label_sources", "own_data")


def test_pages_are_as_results_and_code_make_them() -> None:
    stale = [name(page) for page, text in updated().items() if page.read_text(encoding="utf-8") != text]
    assert not stale, f"run python docs/update.py: {stale}"


def test_a_figure_that_is_not_in_the_results_is_found() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    headline = re.search(r"difference\s+of \*\*([\d.]+)", readme)
    assert headline is not None
    assert with_results(readme.replace(headline[1], "99.9")) == readme


def test_readme_is_for_the_first_minute() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 190
    assert len(readme.split()) <= 1500


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    missing = [target for target in local if not (page.parent / target).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_paths_in_backticks_exist(page: Path) -> None:
    paths = [
        code
        for code in inline_code(page)
        if re.fullmatch(r"(flows|components|schemas|cluster|tests|docs|requirements|\.github)/[\w./*-]*", code)
    ]
    base = page.parent if name(page) == "cluster/README.md" else ROOT
    missing = [path for path in paths if not any(base.glob(path.rstrip("/"))) and not any(ROOT.glob(path.rstrip("/")))]
    assert not missing


@pytest.mark.parametrize("page", [page for page in PAGES if page.stem in MEASURED], ids=name)
def test_tables_with_figures_come_from_results(page: Path) -> None:
    text = re.sub(r"<!-- results:.*?<!-- /results -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    by_hand = re.findall(r"^\|.*\| *[+−±]?\d[\d.,]* *(?:\||%|±|\().*$", text, re.MULTILINE)
    assert not by_hand, "figures belong into docs/results/*.json"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, name(page), "exec")


def test_presets_are_changed_as_shown(tmp_path: Path) -> None:
    page, laptop = ROOT / "docs/configuration.md", PRESETS["laptop"]
    [table], [code] = blocks(page, "toml"), blocks(page, "python")
    (tmp_path / "my_runs.toml").write_text(table, encoding="utf-8")
    (tmp_path / "my_runs.py").write_text(code, encoding="utf-8")
    by_table = with_config(laptop, str(tmp_path / "my_runs.toml"))
    assert by_table.prm.training.batch_size == 32
    assert by_table.sampling.samples_per_problem["train"] == 8
    assert with_config(laptop, f"{tmp_path}/my_runs.py:patient").prm.evaluation.patience == 3


def test_placements_can_be_read(tmp_path: Path) -> None:
    [shown] = [block for page in PAGES for block in blocks(page, "toml") if "[engines]" in block]
    (tmp_path / "placement.toml").write_text(shown, encoding="utf-8")
    assert placements.read(tmp_path / "placement.toml").pools["engines"].gpus == 2


def test_samples_are_scored_from_python_as_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("trl", tmp_path / "FOLDER")
    monkeypatch.chdir(tmp_path)
    [block] = [block for block in blocks(ROOT / "docs/python.md", "python") if "open_verifier(" in block]
    code, _, results = block.rpartition("\n\n")
    names: dict[str, object] = {}
    exec(code, names)
    promised = [line.split("  # ") for line in results.splitlines()]
    assert len(promised) == 5
    assert [repr(eval(expression, names)) for expression, _ in promised] == [value for _, value in promised]


def test_functions_return_what_is_shown() -> None:
    [block] = [block for block in blocks(ROOT / "docs/python.md", "python") if "extract_answer" in block]
    names: dict[str, object] = {}
    exec(block, names)
    shown = re.findall(r"^(stepverify\.(?:is_equal|extract_answer).*)  # ([\[(].*)$", block, re.MULTILINE)
    assert len(shown) == 3
    assert [eval(expression, names) for expression, _ in shown] == [eval(value) for _, value in shown]


def test_the_example_of_a_stage_runs_and_prints_what_it_says(tmp_path: Path) -> None:
    page = ROOT / "docs/adding_a_stage.md"
    code = "\n".join(blocks(page, "python"))
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    printed = [line for line in done.stdout.splitlines() if not re.match(r"\[\w+\] (computing|reused)", line)]
    promised = [line.removeprefix("# ") for line in re.findall(r"^# .*$", code, re.MULTILINE)]
    assert printed == promised
