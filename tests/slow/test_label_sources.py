"""Several sources of step labels in one smoke study, with real engines: rollouts, and a judge that was trained here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.slow.conftest import ROOT, run_study

pytestmark = pytest.mark.slow


def test_sources_side_by_side(smoke: Path, tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    argv = ["--study", "sources", "--label-sources", "rule", "rollouts_search", "judge", "--judge-structured"]
    printed = run_study(root, *argv)
    assert "PRM by rollouts search" in printed
    folder = root / "studies/sources"
    index = json.loads((folder / "index.json").read_text())
    tables = {name: pd.read_parquet(path) for name, path in index.items() if "/datasets/" in path}
    keys = ["problem_id", "sample_index"]
    train = tables["solutions"].query("split == 'train'")
    for name in ("step_labels", "rollouts_search_labels", "judge_labels"):
        labels = tables[name]
        assert labels[keys].to_numpy().tolist() == train[keys].to_numpy().tolist()
        assert labels["error"].isna().all()
        assert (labels["ratings"].map(len) == labels["provenance"].map(len)).all()
    rolled = tables["rollouts_search"]
    assert rolled[keys].to_numpy().tolist() == train[keys].to_numpy().tolist()
    taken = tables["label_sources"].set_index("source")
    assert (
        taken.loc["rollouts_search", "num_continuations"] == rolled["is_correct"].map(lambda a: sum(map(len, a))).sum()
    )
    assert set(tables["agreement"]["source"]) == {"rule", "rollouts_search", "judge"}
    # Held to the form of a verdict, whatever it says; a step that is not there gives no label, and is counted.
    assert set(tables["judgements"]["status"]) <= {"ok", "no_such_step"}
    verdicts = tables["judgements"]["status"] == "ok"
    assert (tables["judge_labels"]["ratings"].map(len) > 0).tolist() == verdicts.tolist()
    assert taken.loc["judge", "num_unrated"] == (~verdicts).sum()
    assert {"prm", "prm_rollouts_search", "prm_judge", "orm"} <= set(tables["best_of_n"]["method"])
    summary = json.loads((folder / "summary.json").read_text())
    assert len(summary["agreement"]) == 6
    assert "Step labels" in (folder / "report.html").read_text()

    out = tmp_path / "steps.jsonl"
    command = [sys.executable, str(ROOT / "flows/export.py"), "--root", str(root), "--study", "sources"]
    command += ["--format", "trl_stepwise", "--step-labels", "judge_labels", "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True)
    assert len(pd.read_json(out, lines=True)) == (tables["judge_labels"]["ratings"].map(len) > 0).sum()
