"""What a study tells an experiment tracker while it runs, and at its end (--track). One that fails stops nothing."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from components.dataflow.datasets import Dataset
from components.dataflow.plain_text import printable
from components.dataflow.records import note_of, stage_of
from components.dataflow.runner import Runner
from components.dataflow.train_executor import PROGRESS
from components.report.trackers import Tracker, open_tracker
from flows.study import Study

_SECONDS = 10.0  # between two points of a training's curve
_PATIENCE = 60.0  # seconds, with a tracker that is being told something when the study ends
_TABLES = ("best_of_n", "comparisons", "score_quality")  # where the study has them
_FILES = ("report.html", "summary.json", "best_of_n.png")


@contextlib.contextmanager
def tracked(study: Study, kind: str | None, project: str, seconds: float = _SECONDS) -> Iterator[None]:
    """Track what runs within. kind: one of TRACKERS, or None for none.

    While it runs: curves of the trainings, and how many stages are done. At its end: tables, and the study's files.
    """
    if kind is None:
        yield
        return
    tracking = _Tracking(study, lambda: open_tracker(kind, project, study.name, _config(study)))
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(seconds):
            tracking.look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join(_PATIENCE)
        if watcher.is_alive():
            study.runner.say("  note: the tracker does not answer, and is told no more")
        else:
            tracking.end()


class _Tracking:
    """One run of a tracker, by one thread at a time. After its first failure it tells that, and does nothing more."""

    def __init__(self, study: Study, opened: Callable[[], Tracker]) -> None:
        self.runner = study.runner
        self.tracker: Tracker | None = None
        self.steps: dict[str, int] = {}  # path of a training's note → the last step that was told
        self.stages = -1
        self.tracker = self._safely(opened)

    def look(self) -> None:
        """Tell what is new of the trainings under way, and of the stages that are done."""
        self._safely(self._look)

    def end(self) -> None:
        """Tell the results, and end the tracker's run."""
        self._safely(self._end)

    def _safely(self, act: Callable[[], Tracker | None]) -> Tracker | None:
        try:
            return act()
        except Exception as error:  # whatever a tracker, or its server, does
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            self.runner.say(f"  note: the tracker failed, and is told no more: {printable(line)}")
            self.tracker = None
            return None

    def _look(self) -> None:
        if self.tracker is None:
            return
        for file in list(self.runner.store.files.find("scratch")):
            stage = stage_of(file.path)
            if not file.path.endswith(f"/{PROGRESS}") or stage not in self.runner.making:
                continue
            with contextlib.suppress(FileNotFoundError):
                self._point(self.tracker, file.path, str(stage))
        done = len(self.runner.results)
        if done != self.stages:
            self.stages = done
            self.tracker.log("study", {"stages_done": done}, done)

    def _point(self, tracker: Tracker, path: str, stage: str) -> None:
        note = note_of(self.runner.store.files.read(path))
        step = note.pop("step", None)
        if isinstance(step, int) and step > self.steps.get(path, -1):
            self.steps[path] = step
            values = {name: float(value) for name, value in note.items() if isinstance(value, int | float)}
            tracker.log(stage, values, step)

    def _end(self) -> None:
        self._look()
        if self.tracker is None:
            return
        for name in _TABLES:
            result = self.runner.results.get(name)
            if isinstance(result, Dataset) and result.digest:
                self.tracker.table(name, self.runner.store.read(result).to_pandas())
        with tempfile.TemporaryDirectory() as folder:
            for path in _files(self.runner, Path(folder)):
                self.tracker.file(path)
            self.tracker.finish()


def _files(runner: Runner, folder: Path) -> Iterator[Path]:
    """Yield the study's files that there are, copied to a folder of this machine."""
    for name in _FILES:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).write_bytes(runner.store.files.read(f"studies/{runner.study}/{name}"))
            yield folder / name


def _config(study: Study) -> dict[str, object]:
    models = {"generator": study.generator, "base_model": study.base_model, "prm": study.published_prm}
    named = {name: Path(model.path).name for name, model in models.items() if model is not None}
    return {"preset": study.preset.name, "seed": study.preset.sampling.seed, **named, **study.settings}
