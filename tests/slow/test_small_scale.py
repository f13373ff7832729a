"""The small-scale study at its smallest with real engines, killed on its way, in the store of a main study."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.conftest import Counted
from tests.slow.conftest import ROOT, SMALL_SCALE, kill_driver, run_study, start_until, wait_for

pytestmark = pytest.mark.slow
FLOW = [*SMALL_SCALE, "--policies", "active", "--solutions-per-problem", "1", "4"]  # rounds: tests/test_small_scale.py
KEYS = ["problem_id", "sample_index"]


def keys(frame: pd.DataFrame) -> set[tuple[str, int]]:
    return {*zip(frame["problem_id"], frame["sample_index"], strict=True)}


def test_killed_it_goes_on_and_says_what_it_found(smoke: Path, tmp_path: Path, counted: Counted) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    # Killed in the middle of a queue of trainings.
    process = start_until(root, "[process_1]", FLOW)
    wait_for(lambda: len(list(root.glob("models/*/_manifest.json"))) > 3 + 2)  # the main study's, the generator's
    kill_driver(process)
    trained = {path: path.stat().st_mtime_ns for path in root.glob("models/*/_manifest.json")}
    assert len(trained) < 3 + 1 + 12
    printed = run_study(root, flow=FLOW)
    assert "[generator] reused" in printed  # the main study's
    assert all(path.stat().st_mtime_ns == at for path, at in trained.items())

    folder = root / "studies/smoke_small_scale"
    index = json.loads((folder / "index.json").read_text())
    tables = {name: pd.read_parquet(path) for name, path in index.items() if "/datasets/" in path}
    pool = tables["small_solutions"].query("split == 'train'")
    for name in ("uniform", "active", "active_seed_2"):
        chosen, supervised = tables[f"selection_{name}"], tables[f"supervised_{name}"]
        by_size = [keys(part) for _, part in chosen.groupby("size")]
        assert [len(part) for part in by_size] == sorted(len(part) for part in by_size)
        assert all(small < large for small, large in itertools.pairwise([*by_size, keys(pool)]))
        assert supervised[[*KEYS, "size"]].to_numpy().tolist() == chosen[[*KEYS, "size"]].to_numpy().tolist()
        assert keys(tables[f"labels_{name}"]) == by_size[-1]
        joined = supervised.merge(tables["small_grades"], on=KEYS)
        assert (joined["is_correct_x"] == joined["is_correct_y"]).all()
    scaling = tables["data_scaling"]
    assert set(scaling["series"]) == {"process", "outcome_prm", "outcome_final_answer", "active"}
    assert (scaling["num_seeds"] == 2).all()
    single = scaling.query("n == 1")["accuracy"]
    pass_at_1 = json.loads((folder / "summary.json").read_text())["pass_at_1"]["test"]
    assert single.tolist() == pytest.approx([pass_at_1] * len(single))
    assert {"process", "active"} <= set(tables["label_budget"]["series"])
    for name in ("figure_4a.png", "figure_4b.png"):
        with Image.open(folder / name) as picture:
            assert picture.width > 800
    assert "Accuracy against data" in (folder / "report.html").read_text()

    out = tmp_path / "queue.jsonl"
    command = [sys.executable, str(ROOT / "flows/export.py"), "--root", str(root), "--study", "smoke_small_scale"]
    subprocess.run([*command, "--format", "labelling_queue", "--out", str(out)], check=True, capture_output=True)
    queue = pd.read_json(out, lines=True)
    assert keys(queue) == keys(tables["selection_active"].query("size == 4"))
    counted("a driver of the small-scale study killed: 0 models trained twice, 0 rows lost or doubled")
