"""A study as a flow gets it: every part was checked before any work. And a finished one, as another flow reads it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.data.problems import ProblemFiles
from components.data.solution_files import SolutionFiles
from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.records import is_name, model_files_of, note_of
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Model, TableStage
from components.dataflow.store import Store, model_path
from components.evaluation.compared_samples import ComparedVerifier
from components.sampling.endpoint import EndpointAccess
from flows.presets.preset import Preset


@dataclass(frozen=True)
class VerifierSpec:
    """A verifier of a command line, checked as far as it can be without its weights.

    stage: computes its table of scores; None: it needs none. reduced: makes that table of what stage gives, where
    stage does not itself. compared: how its scores are made of the table. rates_steps: the table has probabilities of
    steps. is_trained: other trainings of the verifier could give other scores. origins: hub:ORG/NAME@COMMIT of its
    models from a hub. access: how it is asked, where it is behind an address.
    """

    name: str
    stage: MapStage | None
    compared: ComparedVerifier
    rates_steps: bool = False
    reduced: TableStage | None = None
    is_trained: bool = True
    origins: tuple[str, ...] = ()
    access: EndpointAccess | None = None

    @property
    def is_floor(self) -> bool:
        """Whether it reads no solution, and is there for comparison alone."""
        return bool(self.compared.rule)


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
    generator: Model | None  # sampled as it is
    endpoint: EndpointAccess | None  # or behind an address
    reward_base: Model | None  # what reward models start from, where that is not the generator
    base_model: Model | None  # that the generator is finetuned from
    small_base_model: Model | None  # of the small-scale study's generator
    learns_from_solutions: bool  # the format, from the train problems' own; else from few-shot samples
    published_prm: Model | None
    verifiers: tuple[VerifierSpec, ...]  # that read the held-out samples beside the study's own
    label_sources: tuple[str, ...]
    labelling_prm: Model | None
    judge: Model | EndpointAccess | None
    hub_models: Mapping[str, str]  # option → hub:ORG/NAME@COMMIT of a model that it names on the hub
    runner: Runner
    notes: tuple[str, ...]

    @property
    def embedded(self) -> bool:
        """True where the problems are those of the embedded world, whose steps a rule can rate."""
        return self.files is None and not self.preset.needs_files


@dataclass(frozen=True)
class StoredStudy:
    """A finished study: where its tables and models lie, by name."""

    store: Store
    name: str
    index: Mapping[str, str]

    def table(self, name: str) -> Dataset:
        """A table's dataset, through its manifest. Raises InputError."""
        if name not in self.index:
            raise InputError(f"study {self.name}: it has no table {name}")
        folder = "/".join(str(self.index[name]).rstrip("/").split("/")[-2:])
        if not is_name("folder", folder):
            raise InputError(f"study {self.name}: its index does not say where table {name} lies; run it again")
        dataset = self.store.dataset_in(folder)
        if dataset is None:
            raise InputError(f"study {self.name}: table {name} is not in {self.store.root} any more; run it again")
        return dataset

    def model(self, name: str) -> Model:
        """A model that the study trained, through its manifest. Raises InputError."""
        if name not in self.index:
            raise InputError(f"study {self.name}: it has no model {name}")
        parts = str(self.index[name]).rstrip("/").split("/")
        folder = next(("/".join(parts[at : at + 2]) for at in range(len(parts)) if parts[at] == "models"), "")
        manifest = self.store.manifest(folder) if is_name("folder", folder) else None
        if manifest is None:
            raise InputError(f"study {self.name}: model {name} is not in {self.store.root}; run the study again")
        files = model_files_of(manifest, self.store.files.url(folder))
        return Model(self.store.files.url(model_path(folder, manifest)), manifest["digest"], files)


def open_study(store: Store, name: str) -> StoredStudy:
    """Return the finished study of a name that was checked, by its index. Raises InputError."""
    path = f"studies/{name}/index.json"
    try:
        index = note_of(store.files.read(path))
    except FileNotFoundError:
        raise InputError(f"study {name}: no finished study is there: {store.files.url(path)} is missing") from None
    if not index:
        raise InputError(f"{store.files.url(path)} is damaged: no index of tables; run the study again")
    return StoredStudy(store, name, index)
