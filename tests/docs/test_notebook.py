"""The notebook runs as it is, in a fresh process, and what it shows is what brute force gives."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.docs.pages import ROOT
from tests.docs.test_commands import check

NOTEBOOK = ROOT / "docs/score_your_samples.ipynb"
STARTS_RAY = "starts-ray"
# Runs the cells of standard input in one namespace, as a kernel does, and writes down what they showed.
RUN = """
import json, sys
names = {}
for source in json.load(sys.stdin):
    exec(compile(source, "cell", "exec"), names)
shown = {name: names[name].to_dict("list") for name in ("samples", "difference")}
shown["curves"] = {name: curve.to_dict("list") for name, curve in names["curves"].items()}
shown["steps"] = [one.tolist() for one in names["scored"]["prm"].step_probabilities]
shown["lines"] = [[line.get_label(), line.get_ydata().tolist()] for line in names["axes"].get_lines()]
shown |= {name: names[name] for name in ("verdict", "gap")}
if "by_command" in names:
    assert names["done"].returncode == 0, names["done"].stderr
    shown["by_command"] = names["by_command"].reset_index().to_dict("list")
    shown["largest"] = names["largest"].tolist()
json.dump(shown, open("shown.json", "w"))
"""


def cells(kind: str) -> list[dict[str, Any]]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def run_cells(folder: Path, sources: list[str]) -> dict[str, Any]:
    """Run the sources in a fresh process in this folder, and return what they showed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg", "HF_HUB_OFFLINE": "1"}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(sources), cwd=folder, env=environment,
        capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shown: dict[str, Any] = json.loads((folder / "shown.json").read_text(encoding="utf-8"))
    return shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def shown(folder: Path) -> dict[str, Any]:
    """What the cells show that need no Ray."""
    sources = ["".join(one["source"]) for one in cells("code") if STARTS_RAY not in one["metadata"].get("tags", [])]
    assert len(sources) > 8
    return run_cells(folder, sources)


def test_it_is_a_notebook_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[\w-]{1,64}", each) for each in ids)
    for cell in notebook["cells"]:
        code = {"outputs", "execution_count"} if cell["cell_type"] == "code" else set()
        assert set(cell) == {"id", "cell_type", "metadata", "source"} | code
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_its_links_lead_somewhere_and_its_commands_can_be_typed() -> None:
    text = "\n".join("".join(cell["source"]) for cell in cells("markdown"))
    links = re.findall(r"\]\(([^)#\s]+)", text)
    assert len(links) > 3
    assert [link for link in links if not (NOTEBOOK.parent / link).exists()] == []
    commands = [
        shlex.split(line) for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.split("\n")
    ]
    assert [words[:2] for words in commands if words] == [["stepverify", "compare-verifiers"]]
    for words in filter(None, commands):
        check(words)


def test_scores_are_those_of_a_plain_reading(shown: dict[str, Any], folder: Path) -> None:
    samples = shown["samples"]
    prm_folder, orm_folder = (folder / "score_your_samples" / name for name in ("prm", "orm"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(prm_folder)
    prm = transformers.AutoModelForTokenClassification.from_pretrained(prm_folder).eval()
    orm = transformers.AutoModelForSequenceClassification.from_pretrained(orm_folder).eval()
    assert len(samples["problem"]) == 320
    for index in range(0, 320, 40):
        problem, steps = samples["problem"][index], samples["steps"][index]
        ids, ends = tokenizer.encode(problem), []
        for step in steps:
            ids += tokenizer.encode(f"{step}\n")
            ends.append(len(ids) - 1)
        chat = f"<|user|>{problem}<|end|><|assistant|>" + "\n".join(steps) + "<|end|>"
        with torch.no_grad():
            right = prm(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, 1].numpy()
            whole = float(orm.score(orm.model(torch.tensor([tokenizer.encode(chat)])).last_hidden_state)[0, -1, 0])
        np.testing.assert_allclose([step[2] for step in shown["steps"][index]], right, atol=1e-5)
        assert samples["prm"][index] == pytest.approx(float(right.prod()), abs=1e-5)
        assert samples["orm"][index] == pytest.approx(whole, abs=1e-4)


def accuracies(samples: dict[str, Any], verifier: str) -> list[float]:
    """Best-of-N for every N as the mean over all subsets of a problem's samples; equal scores share the pick."""
    by_problem: dict[str, list[tuple[float, bool]]] = {}
    for problem, score, right in zip(samples["problem"], samples[verifier], samples["is_correct"], strict=True):
        by_problem.setdefault(problem, []).append((score, right))
    means = []
    for n in range(1, 9):
        picks = []
        for rows in by_problem.values():
            subsets = []
            for subset in itertools.combinations(rows, n):
                best = max(score for score, _ in subset)
                subsets.append(np.mean([right for score, right in subset if score == best]))
            picks.append(np.mean(subsets))
        means.append(float(np.mean(picks)))
    return means


def test_best_of_n_is_that_over_all_subsets(shown: dict[str, Any]) -> None:
    lines = dict(shown["lines"])
    expected = {name: accuracies(shown["samples"], name) for name in ("prm", "orm")}
    for name, values in expected.items():
        curve = shown["curves"][name]
        assert curve["n"] == list(range(1, 9))
        np.testing.assert_allclose(curve["accuracy"], values, atol=1e-9)
        assert all(low < value < high for low, value, high in zip(curve["low"], values, curve["high"], strict=True))
        np.testing.assert_allclose(lines[name], 100 * np.array(values), atol=1e-7)
    gaps = np.subtract(expected["prm"], expected["orm"])
    np.testing.assert_allclose(shown["difference"]["difference"], gaps, atol=1e-9)
    assert max(abs(gaps)) > 0.01
    low, high = shown["difference"]["low"][-1], shown["difference"]["high"][-1]
    assert ("do not tell" in shown["verdict"]) == (low <= 0 <= high)
    assert shown["gap"].startswith(f"{100 * gaps[-1]:+.1f} points")


@pytest.mark.slow
def test_all_cells_run_and_the_command_gives_the_same_numbers(tmp_path: Path) -> None:
    shown = run_cells(tmp_path, ["".join(cell["source"]) for cell in cells("code")])
    by_command = shown["by_command"]
    assert by_command["n"] == [1, 2, 4, 8] * 2
    for method, n, accuracy in zip(by_command["method"], by_command["n"], by_command["accuracy"], strict=True):
        assert accuracy == pytest.approx(shown["curves"][method]["accuracy"][n - 1], abs=1e-9)
    accuracy, low, high = shown["largest"]
    assert accuracy < 1e-9
    assert max(low, high) < 0.02  # of 8,000 draws, which fall on the problems in another order
    assert (tmp_path / "score_your_samples/outputs/studies/two_verifiers/report.html").is_file()
