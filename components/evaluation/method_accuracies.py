"""The accuracy of every method on every problem, from samples and as a table gives it.

Shapes: S training seeds, P problems, K sizes N.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import NonNegativeInt, PositiveInt

from components.statistics.best_of_n import Floats, Samples, best_of_n, pass_at_n, sizes, vote
from schemas.results import ENSEMBLES, REFERENCES
from schemas.settings import settings


@settings
class VoteConfig:
    """Settings of the estimates of votes."""

    vote_subsets: PositiveInt = 200  # random subsets of N samples per problem
    seed: NonNegativeInt = 0  # draws the subsets


def weights_of_votes(samples: Samples) -> list[str]:
    """Return the verifiers whose scores can weigh votes: logits and the like are no weights."""
    return [
        name
        for name, scores in samples.scores.items()
        if samples.has_votes and name not in (*REFERENCES, *ENSEMBLES) and np.nanmin(scores, initial=0.0) >= 0
    ]


def ensemble_accuracies(trainings: Sequence[Samples]) -> list[dict[str, Floats]]:
    """Return the best-of-N of the ensembles that the samples have scores of, shape (P, K), as a value per training.

    trainings: the same samples, scored by each of S trainings. The values are the jackknife's (Tukey 1958): with θ the
    accuracy by the mean score of all, and θ₍ₛ₎ by that of all but training s, they are θ − (S − 1)(θ₍ₛ₎ − mean of all
    θ₍ₛ₎). So their mean is θ, and their variance over trainings, divided by S, estimates that of θ. There are none for
    a single training, and none where the members' scores are not there.
    """
    by_training: list[dict[str, Floats]] = [{} for _ in trainings]
    for ensemble, member in ENSEMBLES.items():
        count = len(trainings)
        if count < 2 or any({ensemble, member} - samples.scores.keys() for samples in trainings):
            continue
        right, ns = trainings[0].is_correct_PM, sizes(trainings[0].answer_PM.shape[1])
        scores_SPM = np.stack([samples.scores[member] for samples in trainings])
        whole_PK = best_of_n(scores_SPM.mean(0), right, ns)
        without_SPK = np.stack(
            [best_of_n(np.delete(scores_SPM, left_out, 0).mean(0), right, ns) for left_out in range(count)]
        )
        values_SPK = whole_PK - (count - 1) * (without_SPK - without_SPK.mean(0))
        for values, of_training in zip(values_SPK, by_training, strict=True):
            of_training[ensemble] = values
    return by_training


def with_ensembles(
    samples: Iterable[tuple[str, int, Samples]],
) -> Iterator[tuple[str, int, Samples, dict[str, Floats]]]:
    """Yield (split, training seed, samples) with the accuracies of ensembles for that training."""
    listed = list(samples)
    of_split = {split: [one for other, _, one in listed if other == split] for split, _, _ in listed}
    values = {split: iter(ensemble_accuracies(trainings)) for split, trainings in of_split.items()}
    for split, seed, one in listed:
        yield split, seed, one, next(values[split])


def accuracy_rows(
    config: VoteConfig, samples: Samples, weights: Collection[str], ensembles: Mapping[str, Floats]
) -> pd.DataFrame:
    """Return problem_id, method, n and accuracy, exact but for votes.

    weights: of `weights_of_votes`. ensembles: of `ensemble_accuracies`, for this training.
    """
    right, ns = samples.is_correct_PM, sizes(samples.answer_PM.shape[1])
    methods: dict[str, Floats] = {
        name: ensembles[name] if name in ensembles else best_of_n(scores, right, ns)
        for name, scores in samples.scores.items()
    }
    if samples.has_votes:
        methods["majority"] = vote(samples, None, ns, config.vote_subsets, config.seed)
    for name in weights:
        methods[f"{name}_weighted"] = vote(samples, samples.scores[name], ns, config.vote_subsets, config.seed)
    methods["pass"] = pass_at_n(right, ns)
    parts = []
    for method, accuracy_PK in methods.items():
        part = {"problem_id": np.repeat(samples.problem_ids, len(ns)), "method": method}
        parts.append(pd.DataFrame(part | {"n": np.tile(ns, len(accuracy_PK)), "accuracy": accuracy_PK.ravel()}))
    return pd.concat(parts)


@dataclass(frozen=True)
class MethodAccuracies:
    """The accuracies of some problems: method → shape (S, P, K), with the K sizes `ns`."""

    ns: list[int]
    problem_ids: list[str]
    methods: dict[str, Floats]

    def of_problems(self, chosen: Sequence[int]) -> MethodAccuracies:
        """Return the accuracies of the problems at these places, in that order."""
        ids = [self.problem_ids[at] for at in chosen]
        return MethodAccuracies(self.ns, ids, {method: values[:, chosen] for method, values in self.methods.items()})


def accuracies_by_split(table: pa.Table) -> Iterator[tuple[str, MethodAccuracies]]:
    """Yield (split, accuracies) of a table with the columns of problem_accuracy.

    A method that a training has no scores for, in a split, is not one of that split's: a mean over fewer trainings
    would stand beside means over all.
    """
    frame = table.to_pandas().sort_values(["training_seed", "problem_id", "n"], kind="stable")
    for split, part in frame.groupby("split", sort=False):
        ns = sorted(part["n"].unique().tolist())
        shape = (part["training_seed"].nunique(), part["problem_id"].nunique(), len(ns))
        values = {
            str(method): rows["accuracy"].to_numpy().reshape(shape)
            for method, rows in part.groupby("method", sort=False)
            if len(rows) == math.prod(shape)
        }
        yield str(split), MethodAccuracies(ns, sorted(part["problem_id"].unique()), values)
