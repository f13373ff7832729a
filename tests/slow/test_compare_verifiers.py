"""Verifiers side by side on the smoke study's samples, with real Ray: killed, resumed, and one added."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from components.dataflow.maintenance import verify
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.slow.conftest import ROOT, index, kill_driver, run_study, start_until, summary, table, wait_for

pytestmark = pytest.mark.slow
COMPARED = "smoke_compared"


def test_killed_resumed_and_one_added(smoke: Path, tmp_path: Path, counted: Counted) -> None:
    root = tmp_path / "outputs"
    shutil.copytree(smoke, root)
    prm, orm, generator = (root / Path(index(smoke)[name]).relative_to(smoke) for name in ("prm", "orm", "generator"))
    flow = [sys.executable, str(ROOT / "flows/compare_verifiers.py"), str(root / "studies/smoke")]
    flow += ["--study", COMPARED, "--verifier", f"again={prm}", "--verifier", f"outcome={orm}"]
    flow += ["--verifier", f"sure=confidence:{generator}", "--verifier", "short=length", "--verifier", "guess=random"]
    flow += ["--verifier", "safe=min(again, outcome)"]

    driver = start_until(root, "[again_scores]", flow)
    wait_for(lambda: list(root.glob("commits/verifier_scores/*.json")))
    kill_driver(driver)
    assert not (root / "studies" / COMPARED).exists()
    before = {path: path.stat().st_mtime_ns for path in root.glob("commits/verifier_scores/*.json")}
    run_study(root, flow=flow)
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before, "what was committed before the kill is not computed again"
    assert verify(Store(root), deep=True).findings == []

    own = table(root, "scores").set_index(["problem_id", "sample_index"]).sort_index()
    read = {name: table(root, f"{name}_scores", COMPARED) for name in ("again", "outcome", "sure")}
    for name, scores in read.items():
        read[name] = scores.set_index(["problem_id", "sample_index"]).sort_index()
        assert read[name].index.equals(own.index), name
    assert read["again"]["score"].to_numpy() == pytest.approx(own["prm_score"].to_numpy(), abs=1e-5, nan_ok=True)
    assert read["outcome"]["score"].to_numpy() == pytest.approx(own["orm_score"].to_numpy(), abs=1e-5, nan_ok=True)
    results = summary(root, COMPARED)
    methods = {"prm", "orm", "majority", "again", "outcome", "sure", "short", "guess", "safe"}
    assert methods <= results["best_of_n"].keys()
    assert results["best_of_n"]["again"] == pytest.approx(results["best_of_n"]["prm"])
    assert [line["verifier"] for line in results["verifiers"]] == ["again", "outcome", "sure"]
    assert all(line["tokens"] > 0 for line in results["verifiers"])
    # None: the killed run's workers, which end some seconds after their driver, had done all of it.
    assert all(line["seconds"] is None or line["seconds"] > 0 for line in results["verifiers"])
    of_prm, of_again = ([row for row in results["step_errors"] if row["verifier"] == name] for name in ("prm", "again"))
    assert [row | {"verifier": ""} for row in of_again] == [row | {"verifier": ""} for row in of_prm] != []

    printed = run_study(
        root, flow=[*flow, "--verifier", f"tail=confidence:{generator},measure=tail_confidence,window=4"]
    )
    lines = [line for line in printed.splitlines() if line.startswith("[") and "_scores]" in line]
    assert lines == ["[tail_scores] computing …", *(f"[{name}_scores] reused" for name in read)]
    assert "tail" in summary(root, COMPARED)["best_of_n"]
    assert {line["verifier"]: line["seconds"] for line in summary(root, COMPARED)["verifiers"]}["tail"] > 0
    counted(f"8 verifiers on {len(own)} samples, killed once: 0 scores lost, doubled or computed again")
