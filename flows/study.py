"""A study as a flow gets it: every part was checked before any work."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.problems import ProblemFiles
from components.data.solution_files import SolutionFiles
from components.dataflow.runner import Runner
from components.dataflow.stage import Model
from flows.presets.preset import Preset


@dataclass(frozen=True)
class Study:
    """Everything that a flow needs: a preset, the user's files and models, and the runner of a store."""

    preset: Preset
    settings: Mapping[str, object]  # path → value of what differs from the named preset
    name: str
    files: ProblemFiles | None
    problem_paths: Mapping[str, Path]  # split → its file, where `files` are given
    held_out: Collection[str]  # the evaluation problems' normalised texts
    labelled: SolutionFiles | None
    labelled_paths: Sequence[Path]
    graded: SolutionFiles | None
    graded_paths: Sequence[Path]
    base_model: Model | None
    small_base_model: Model | None  # of the small-scale study's generator
    learns_from_solutions: bool  # the format, from the train problems' own; else from few-shot samples
    published_prm: Model | None
    label_sources: tuple[str, ...]
    labelling_prm: Model | None
    judge: Model | None
    runner: Runner
    notes: tuple[str, ...]

    @property
    def embedded(self) -> bool:
        """True where the problems are those of the embedded world, whose steps a rule can rate."""
        return self.files is None and not self.preset.needs_files
