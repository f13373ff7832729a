"""--track: what a tracker is told of a study, in which order, and that one that fails stops nothing."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from components.dataflow import store_marker
from components.dataflow.errors import InputError
from components.dataflow.runner import Runner
from components.dataflow.stage import TableStage
from components.dataflow.store import Store
from components.report import trackers
from flows.command_line import cli
from flows.command_line.options import parse
from flows.presets.presets import PRESETS
from flows.studies.tracking import tracked
from schemas.settings import NoSettings

TOLD: list[tuple[Any, ...]] = []
FRAME = pd.DataFrame({"n": [1, 2], "accuracy": [0.5, 0.75]})


def told(*what: Any) -> Any:
    """A function that notes its name and arguments."""
    return lambda *given, **named: TOLD.append((*what, *given, named)) if named else TOLD.append((*what, *given))


@pytest.fixture(autouse=True)
def nothing_told() -> None:
    TOLD.clear()


def fake_trackio() -> Any:
    """As trackio is: a run logs from any thread, the module in that alone which began the run."""
    run, began = SimpleNamespace(log=told("log")), threading.get_ident()

    def init(**named: Any) -> Any:
        TOLD.append(("init", named))
        return run

    def here(name: str) -> Any:
        def call(*given: Any) -> None:
            assert threading.get_ident() == began, f"Call trackio.init() before trackio.{name}()."
            TOLD.append((name, *given))

        return call

    calls = {name: here(name) for name in ("log", "save", "finish")}
    return SimpleNamespace(**calls, init=init, run=run, Table=lambda dataframe: ("table", len(dataframe)))


def study_in(root: Path, **changes: Any) -> Any:
    store = Store(root)
    store_marker.begin(store.files)
    runner = Runner(store, study="mine", say=lambda line: TOLD.append(("said", line)))
    values = {"generator": None, "base_model": None, "published_prm": None, "settings": {"orm.training.epochs": 2}}
    return SimpleNamespace(runner=runner, name="mine", preset=PRESETS["smoke"], **(values | changes))


def train(runner: Runner, step: int) -> None:
    """Write a training's note, as its worker does."""
    runner.making.add("orm")
    note = {"step": step, "steps": 9, "loss": 0.5, "notices": []}
    runner.store.files.put("scratch/orm-0123456789abcdef/progress.json", json.dumps(note).encode())


def test_a_study_tells_its_curves_stages_tables_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", fake_trackio())
    study = study_in(tmp_path)
    schema = pa.schema([("n", pa.int64()), ("accuracy", pa.float64()), ("error", pa.string())])
    rows = pa.Table.from_pandas(FRAME.assign(error=None), schema=schema)
    with tracked(study, "trackio", "papers", seconds=3600):
        train(study.runner, 3)
        study.runner.table(TableStage("best_of_n", 1, NoSettings(), schema, lambda config: rows))
        study.runner.store.files.put("studies/mine/report.html", b"<html>")
    begun, curve, stages, table, file, finished = [one for one in TOLD if one[0] != "said"]
    config = {"preset": "smoke", "seed": 8, "orm.training.epochs": 2}
    assert begun == ("init", {"project": "papers", "name": "mine", "config": config, "embed": False})
    assert curve == ("log", {"orm/steps": 9.0, "orm/loss": 0.5}, {"step": 3})
    assert stages == ("log", {"study/stages_done": 1}, {"step": 1})
    assert table == ("log", {"best_of_n": ("table", 2)})
    assert (file[0], Path(file[1]).name, finished) == ("save", "report.html", ("finish",))


def test_a_curve_is_told_while_its_training_runs_and_each_point_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "trackio", fake_trackio())
    study = study_in(tmp_path)

    def steps() -> list[int]:
        return [one[2]["step"] for one in TOLD if one[0] == "log" and "orm/loss" in one[1]]

    def wait_for(wanted: list[int]) -> None:
        for _ in range(500):
            if steps() == wanted:
                return
            time.sleep(0.02)
        raise AssertionError(steps())

    with tracked(study, "trackio", "papers", seconds=0.01):
        train(study.runner, 1)
        wait_for([1])
        train(study.runner, 4)
        wait_for([1, 4])
        time.sleep(0.1)
    assert steps() == [1, 4]


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_told_no_more_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    def fail(*given: Any, **named: Any) -> None:
        raise ConnectionError("no server\nmore")

    monkeypatch.setitem(sys.modules, "trackio", fake_trackio())
    module = sys.modules["trackio"]
    monkeypatch.setattr(module.run if fails == "log" else module, fails, fail)
    with tracked(study_in(tmp_path), "trackio", "papers", seconds=3600):
        TOLD.append(("work",))
    assert ("work",) in TOLD
    assert ("said", "  note: the tracker failed, and is told no more: no server") in TOLD
    assert len([one for one in TOLD if one[0] == "said"]) == 1


def test_an_error_of_the_study_is_the_studys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", fake_trackio())
    with pytest.raises(ZeroDivisionError), tracked(study_in(tmp_path), "trackio", "papers", seconds=3600):
        raise ZeroDivisionError
    assert TOLD[-1] == ("finish",)


def test_wandb_has_steps_per_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(**{name: told(name) for name in ("define_metric", "log", "log_artifact", "finish")})
    artifact = SimpleNamespace(add_file=told("add_file"))
    module = SimpleNamespace(
        init=lambda **named: run, Table=lambda dataframe: len(dataframe), Artifact=lambda name, type: artifact
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    tracker = trackers.open_tracker("wandb", "papers", "mine", {})
    for step in (1, 2):
        tracker.log("orm", {"loss": 0.5}, step)
    tracker.table("best_of_n", FRAME)
    tracker.file(tmp_path / "report.html")
    tracker.finish()
    assert [
        ("define_metric", "orm/*", {"step_metric": "orm/step"}),
        ("log", {"orm/loss": 0.5, "orm/step": 1}),
        ("log", {"orm/loss": 0.5, "orm/step": 2}),
        ("log", {"best_of_n": 2}),
        ("add_file", str(tmp_path / "report.html")),
        ("log_artifact", artifact),
        ("finish",),
    ] == TOLD


def test_mlflow_has_parameters_metrics_tables_and_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("set_experiment", "start_run", "log_params", "log_metrics", "log_table", "log_artifact", "end_run")
    calls = {name: told(name) for name in names}
    begun = SimpleNamespace(info=SimpleNamespace(run_id="a1"))
    calls["start_run"] = lambda **named: TOLD.append(("start_run", named)) or begun
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(**calls))
    tracker = trackers.open_tracker("mlflow", "papers", "mine", {"seed": 8, "long": "x" * 600})
    tracker.log("orm", {"loss": 0.5}, 3)
    tracker.table("best_of_n", FRAME)
    tracker.file(tmp_path / "report.html")
    tracker.finish()
    assert [one[0] for one in TOLD] == list(names)
    assert TOLD[2] == ("log_params", {"seed": "8", "long": "x" * 500})
    assert TOLD[3] == ("log_metrics", {"orm/loss": 0.5}, {"step": 3, "run_id": "a1"})
    assert TOLD[4][2] == "best_of_n.json"


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.report.trackers.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="--track wandb: it is not installed; pip install wandb"):
        cli.open_study(parse(["run", "--root", str(tmp_path), "--track", "wandb"], ""))
    assert not list(tmp_path.iterdir())
