"""The tables of results of any scored samples, of a study or of anyone's file."""

from __future__ import annotations

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.evaluation.curves import (
    EstimationConfig,
    best_of_n_curves,
    comparisons,
    problem_accuracy,
    subsampling_band,
)
from components.evaluation.groups import group_accuracy, group_comparisons, half_accuracy
from components.evaluation.score_quality import calibration, score_by_length, score_quality
from components.evaluation.split_composition import attribute_shares


def compute(run: Runner, config: EstimationConfig, samples: Dataset, attributes: Dataset) -> None:
    """Run the tables of results. samples, attributes: tables scored_samples and problem_attributes."""
    accuracy = run.table(problem_accuracy(config.votes), scored_samples=samples)
    run.table(best_of_n_curves(config.bootstrap), problem_accuracy=accuracy)
    run.table(comparisons(config.bootstrap), problem_accuracy=accuracy)
    halves = run.table(half_accuracy(config.votes), scored_samples=samples)
    grouped = {"problem_accuracy": accuracy, "half_accuracy": halves, "problem_attributes": attributes}
    run.table(group_accuracy(config.bootstrap), **grouped)
    run.table(group_comparisons(config.bootstrap), **grouped)
    run.table(attribute_shares(), problem_attributes=attributes)
    run.table(score_quality(), scored_samples=samples)
    run.table(calibration(), scored_samples=samples)
    run.table(score_by_length(), scored_samples=samples)
    if config.band is not None:
        run.table(subsampling_band(config.band), scored_samples=samples)
