"""The repeated work of the small-scale study: label what was chosen, train verifiers on it, score, and choose what is
labelled next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.dataflow.datasets import Dataset
from components.dataflow.stage import MapStage, Model
from components.evaluation.verifier_accuracy import VerifierName
from components.labels.active_learning import ActiveLearningConfig, selection
from components.labels.prm_labels import label_by_prm
from components.labels.rule_labels import LabellingConfig, label_steps
from components.labels.selected_solutions import chosen_solutions, supervised_solutions
from components.training.stages import reward_model
from components.verifiers.scoring import ScoringConfig, score
from flows.presets.preset import SmallScaleConfig
from flows.studies.reward_models import of_seed
from flows.study import Study


@dataclass(frozen=True)
class Chosen:
    """The solutions that a policy chose, at all sizes.

    parts: solutions with their labels, as they were labelled. supervised: both, joined, which is what verifiers are
    trained on.
    """

    selection: Dataset
    parts: tuple[tuple[Dataset, Dataset], ...]
    supervised: Dataset


@dataclass(frozen=True)
class TrainedVerifier:
    """A trained verifier. chosen: contains the solutions that it was trained on."""

    name: VerifierName
    model: Model
    chosen: Chosen


@dataclass(frozen=True)
class ActiveLearningRound:
    """One round of the iterated loop, numbered from 1: its verifier, and the pool's scores that it was chosen by."""

    number: int
    verifier: TrainedVerifier
    selector_scores: Dataset


@dataclass(frozen=True)
class SmallScaleContext:
    """The parts that all series share: the small generator, its solutions with their grades, and the labeller.

    labeller: None where the embedded world's rule labels.
    """

    study: Study
    generator: Model
    solutions: Dataset
    grades: Dataset
    labeller: Model | None

    @property
    def small(self) -> SmallScaleConfig:
        """The numbers of the small-scale study."""
        return self.study.preset.small_scale

    @property
    def pool(self) -> Dataset:
        """The train solutions."""
        return self.solutions.select(split="train")

    @property
    def pool_grades(self) -> Dataset:
        """The grades of the pool."""
        return self.grades.select(split="train")


def label(
    context: SmallScaleContext, selections: dict[str, Dataset], before: Mapping[str, Chosen] | None = None
) -> dict[str, Chosen]:
    """Label what was chosen, and return it with all three supervisions, by name.

    before: of an earlier round, which is labelled already.
    """
    run = context.study.runner
    new = {
        name: run.table(chosen_solutions(f"chosen_{name}"), selection=chosen, solutions=context.pool)
        for name, chosen in selections.items()
    }
    stages = [(solutions, labels_stage(context, f"labels_{name}")) for name, solutions in new.items()]
    chosen_by_name = {}
    for name, labels in zip(new, run.map_concurrently(*stages), strict=True):
        parts = (*(before[name].parts if before else ()), (new[name], labels))
        inputs = {"selection": selections[name]}
        for number, (solutions, rated) in enumerate(parts, start=1):
            inputs |= {f"solutions_{number}": solutions, f"labels_{number}": rated}
        supervised = run.table(supervised_solutions(f"supervised_{name}"), **inputs)
        chosen_by_name[name] = Chosen(selections[name], parts, supervised)
    return chosen_by_name


def labels_stage(context: SmallScaleContext, name: str) -> MapStage:
    """Return the stage by which the labeller labels (§4.1: wrong iff P(negative) > 0.20)."""
    if context.labeller is None:
        return label_steps(LabellingConfig(), name)
    return label_by_prm(context.study.preset.verifier_labels, context.labeller, name)


def train(context: SmallScaleContext, wanted: Sequence[tuple[str, int, int, Chosen]]) -> list[TrainedVerifier]:
    """Train verifiers by (series, size, training seed, solutions), side by side, all from the small generator's
    weights."""
    small = context.small
    by_steps = dataclasses.replace(small.outcome, orm_target="is_correct_by_steps")
    configs = {"outcome_prm": by_steps, "outcome_final_answer": small.outcome}
    trainings, names = [], []
    for series, size, seed, chosen in wanted:
        config = configs.get(series, small.process)
        training = dataclasses.replace(config.training, seed=config.training.seed + seed)
        name = of_seed(f"{series}_{size}", seed)
        names.append(VerifierName(series, size, seed, f"{name}_scores", config.kind))
        stage = reward_model(dataclasses.replace(config, training=training), context.generator, name)
        trainings.append((stage, {"supervised_solutions": chosen.supervised.select(size=str(size))}))
    models = context.study.runner.train_concurrently(*trainings)
    return [
        TrainedVerifier(name, model, chosen) for name, model, (*_, chosen) in zip(names, models, wanted, strict=True)
    ]


def score_all(
    context: SmallScaleContext, solutions: Dataset, verifiers: Sequence[TrainedVerifier], prefix: str = ""
) -> dict[str, Dataset]:
    """Return each verifier's scores of the same solutions, by the scores' name."""
    config = ScoringConfig(dtype=context.study.preset.scoring.dtype)
    stages = []
    for verifier in verifiers:
        orm, prm = (verifier.model, None) if verifier.name.kind == "orm" else (None, verifier.model)
        stages.append(score(config, orm, prm, f"{prefix}{verifier.name.scores}"))
    results = context.study.runner.map_concurrently(*((solutions, stage) for stage in stages))
    return {stage.name: scores for stage, scores in zip(stages, results, strict=True)}


def select_one_shot(
    context: SmallScaleContext, selectors: Sequence[TrainedVerifier], scores: Mapping[str, Dataset]
) -> tuple[list[TrainedVerifier], list[ActiveLearningRound]]:
    """Train the verifiers of the policies that choose all sizes by one selector, another for each training seed.

    scores: of the pool by the selectors, by name. Also return the first round of the iterated loop, which is active
    learning's at the smallest size.
    """
    run, small = context.study.runner, context.small
    selections, policies = {}, {}
    for policy in small.policies:
        sizes = small.sizes[:1] if policy == "iterated" else small.sizes
        config = ActiveLearningConfig("active" if policy == "iterated" else policy, sizes, small.wrong_share)
        for selector in selectors:
            seed = selector.name.seed
            name = of_seed(f"iterated_{sizes[0]}" if policy == "iterated" else policy, seed)
            policies[name] = policy, seed, sizes
            inputs = {"grades": context.pool_grades, "scores": scores[f"pool_{selector.name.scores}"]}
            inputs["solutions"] = context.pool
            selections[name] = run.table(selection(config, f"selection_{name}"), **inputs)
    chosen = label(context, selections)
    wanted = [(policy, n, seed, chosen[name]) for name, (policy, seed, sizes) in policies.items() for n in sizes]
    verifiers = train(context, wanted)
    by_seed = {selector.name.seed: scores[f"pool_{selector.name.scores}"] for selector in selectors}
    iterated = [verifier for verifier in verifiers if verifier.name.series == "iterated"]
    first_round = [ActiveLearningRound(1, verifier, by_seed[verifier.name.seed]) for verifier in iterated]
    return [verifier for verifier in verifiers if verifier.name.series != "iterated"], first_round


def run_remaining_rounds(
    context: SmallScaleContext, first_round: list[ActiveLearningRound]
) -> list[ActiveLearningRound]:
    """Run the iterated loop, and return all rounds: the last round's verifier is the selector that chooses more."""
    run, small = context.study.runner, context.small
    rounds, last = list(first_round), first_round
    for number, size in enumerate(small.round_sizes if first_round else (), start=2):
        scores = score_all(context, context.pool, [round_.verifier for round_ in last], "pool_")
        config = ActiveLearningConfig("active", (size,), small.wrong_share)
        selections, before, by_selector = {}, {}, {}
        for round_ in last:
            verifier, chosen_before = round_.verifier.name, round_.verifier.chosen
            name = of_seed(f"iterated_{size}", verifier.seed)
            before[name], by_selector[name] = chosen_before, scores[f"pool_{verifier.scores}"]
            inputs = {"grades": context.pool_grades, "scores": by_selector[name], "solutions": context.pool}
            inputs["previous"] = chosen_before.selection
            selections[name] = run.table(selection(config, f"selection_{name}"), **inputs)
        chosen = label(context, selections, before)
        wanted = [
            ("iterated", size, round_.verifier.name.seed, chosen[name])
            for round_, name in zip(last, chosen, strict=True)
        ]
        last = [
            ActiveLearningRound(number, verifier, by_selector[name])
            for verifier, name in zip(train(context, wanted), chosen, strict=True)
        ]
        rounds += last
    return rounds
