"""How far the labels of each policy go, and what its selectors were: tables of the small-scale study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from components.dataflow.datasets import Dataset
from components.evaluation.equivalent_labels import EquivalentLabelsConfig, equivalent_labels
from components.evaluation.labels_spent import LabelledLine
from components.evaluation.selection_quality import (
    Selector,
    SelectorsConfig,
    WrongSharesConfig,
    selector_quality,
    wrong_shares,
)
from flows.studies.small_scale_series import ActiveLearningRound, SmallScaleContext, TrainedVerifier
from schemas.small_scale import POLICIES, SUPERVISIONS

_UNIFORM = "supervised_uniform"


def compare_policies(
    context: SmallScaleContext,
    verifiers: Sequence[TrainedVerifier],
    accuracy: Dataset,
    pool_scores: Mapping[str, Dataset],
    rounds: Sequence[ActiveLearningRound],
) -> None:
    """Run the tables equivalent_labels, wrong_shares and selector_quality.

    verifiers: of all series. pool_scores: the pool's scores by the selectors that were trained as they come, by name;
    further selectors are the verifiers of all rounds but the last.
    """
    run, small = context.study.runner, context.small
    by_process = [verifier for verifier in verifiers if verifier.name.series not in SUPERVISIONS[1:]]
    lines = tuple(_line(verifier) for verifier in by_process)
    tables = {verifier.chosen.supervised.name: verifier.chosen.supervised for verifier in by_process}
    equivalent = EquivalentLabelsConfig(context.study.preset.estimation.bootstrap, lines)
    run.table(equivalent_labels(equivalent), verifier_accuracy=accuracy, **tables)
    run.table(wrong_shares(WrongSharesConfig(small.wrong_share, lines)), **tables)
    selectors, scores = [], {}
    for verifier in verifiers:
        name = f"pool_{verifier.name.scores}"
        of_next_round = [r for r in rounds if r.number > 1 and r.selector_scores.name == name]
        if name in pool_scores or of_next_round:
            scores[name] = pool_scores[name] if name in pool_scores else of_next_round[0].selector_scores
            selectors.append(Selector(verifier.name.series, verifier.name.size, verifier.name.seed, name))
    inputs = {"grades": context.pool_grades, _UNIFORM: tables[_UNIFORM]}
    run.table(selector_quality(SelectorsConfig(tuple(selectors))), verifier_accuracy=accuracy, **inputs, **scores)


def _line(verifier: TrainedVerifier) -> LabelledLine:
    name = verifier.name
    selectors = _UNIFORM if name.series in POLICIES else None
    return LabelledLine(name.series, name.size, name.seed, verifier.chosen.supervised.name, selectors)
