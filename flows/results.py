"""The tables of results that any scored samples give, of a study or of anyone's file."""

from __future__ import annotations

from dataclasses import dataclass, field

from components.bootstrap import BootstrapConfig
from components.datasets import Dataset
from components.estimation import (
    BandConfig,
    SelectionConfig,
    best_of_n_curves,
    comparisons,
    group_accuracy,
    problem_accuracy,
    subsampling_band,
)
from components.representativeness import attribute_shares
from components.runner import Runner
from components.score_quality import calibration, score_by_length, score_quality


@dataclass(frozen=True)
class EstimationConfig:
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    band: BandConfig | None = None  # the paper's own band too, by shuffling


def compute(run: Runner, config: EstimationConfig, samples: Dataset, attributes: Dataset) -> None:
    """samples, attributes: tables scored_samples and problem_attributes."""
    accuracy = run.table(problem_accuracy(config.selection), scored_samples=samples)
    run.table(best_of_n_curves(config.bootstrap), problem_accuracy=accuracy)
    run.table(comparisons(config.bootstrap), problem_accuracy=accuracy)
    run.table(group_accuracy(config.bootstrap), problem_accuracy=accuracy, problem_attributes=attributes)
    run.table(attribute_shares(), problem_attributes=attributes)
    run.table(score_quality(), scored_samples=samples)
    run.table(calibration(), scored_samples=samples)
    run.table(score_by_length(), scored_samples=samples)
    if config.band is not None:
        run.table(subsampling_band(config.band), scored_samples=samples)
