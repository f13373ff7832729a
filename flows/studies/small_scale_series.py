"""What the small-scale study does again and again: label what was chosen, train verifiers on it, let them score, and
let them choose what is labelled next."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.dataflow.datasets import Dataset
from components.dataflow.stage import MapStage, Model
from components.evaluation.data_scaling import VerifierName
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
    """What a policy chose, at all sizes; parts: solutions with their labels, as they were labelled; supervised: both,
    joined, which is what verifiers are trained on."""

    selection: Dataset
    parts: tuple[tuple[Dataset, Dataset], ...]
    supervised: Dataset


@dataclass(frozen=True)
class TrainedVerifier:
    """A trained one, and the solutions that it was trained on, among them."""

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
    """What all series share: the small generator, its solutions with their grades, and who labels; None: the rule."""

    study: Study
    generator: Model
    solutions: Dataset
    grades: Dataset
    labeller: Model | None

    @property
    def small(self) -> SmallScaleConfig:
        return self.study.preset.small_scale

    @property
    def pool(self) -> Dataset:
        return self.solutions.select(split="train")

    @property
    def pool_grades(self) -> Dataset:
        return self.grades.select(split="train")


def label(
    world: SmallScaleContext, selections: dict[str, Dataset], before: Mapping[str, Chosen] | None = None
) -> dict[str, Chosen]:
    """What was chosen, with all three supervisions, by name. before: of an earlier round, which is labelled already."""
    run = world.study.runner
    new = {
        name: run.table(chosen_solutions(f"chosen_{name}"), selection=one, solutions=world.pool)
        for name, one in selections.items()
    }
    stages = [(solutions, labels_stage(world, f"labels_{name}")) for name, solutions in new.items()]
    found = {}
    for name, labels in zip(new, run.map_concurrently(*stages), strict=True):
        parts = (*(before[name].parts if before else ()), (new[name], labels))
        inputs = {"selection": selections[name]}
        for number, (solutions, given) in enumerate(parts, start=1):
            inputs |= {f"solutions_{number}": solutions, f"labels_{number}": given}
        supervised = run.table(supervised_solutions(f"supervised_{name}"), **inputs)
        found[name] = Chosen(selections[name], parts, supervised)
    return found


def labels_stage(world: SmallScaleContext, name: str) -> MapStage:
    """The stage by which the labeller labels (§4.1: wrong iff P(negative) > 0.20)."""
    if world.labeller is None:
        return label_steps(LabellingConfig(), name)
    return label_by_prm(world.study.preset.verifier_labels, world.labeller, name)


def train(world: SmallScaleContext, wanted: Sequence[tuple[str, int, int, Chosen]]) -> list[TrainedVerifier]:
    """Verifiers by (series, size, training seed, solutions), side by side, all from the small generator's weights."""
    small = world.small
    by_steps = dataclasses.replace(small.outcome, orm_target="is_correct_by_steps")
    configs = {"outcome_prm": by_steps, "outcome_final_answer": small.outcome}
    trainings, names = [], []
    for series, size, seed, chosen in wanted:
        config = configs.get(series, small.process)
        training = dataclasses.replace(config.training, seed=config.training.seed + seed)
        name = of_seed(f"{series}_{size}", seed)
        names.append(VerifierName(series, size, seed, f"{name}_scores", config.kind))
        stage = reward_model(dataclasses.replace(config, training=training), world.generator, name)
        trainings.append((stage, {"supervised_solutions": chosen.supervised.select(size=str(size))}))
    models = world.study.runner.train_concurrently(*trainings)
    return [TrainedVerifier(name, model, one[3]) for name, model, one in zip(names, models, wanted, strict=True)]


def score_all(
    world: SmallScaleContext, solutions: Dataset, verifiers: Sequence[TrainedVerifier], prefix: str = ""
) -> dict[str, Dataset]:
    """Each verifier's scores of the same solutions, by the scores' name."""
    config = ScoringConfig(dtype=world.study.preset.scoring.dtype)
    stages = []
    for one in verifiers:
        orm, prm = (one.model, None) if one.name.kind == "orm" else (None, one.model)
        stages.append(score(config, orm, prm, f"{prefix}{one.name.scores}"))
    found = world.study.runner.map_concurrently(*((solutions, stage) for stage in stages))
    return {stage.name: scores for stage, scores in zip(stages, found, strict=True)}


def select_one_shot(
    world: SmallScaleContext, selectors: Sequence[TrainedVerifier]
) -> tuple[list[TrainedVerifier], list[ActiveLearningRound]]:
    """The verifiers of the policies that choose all sizes by one selector, which is another for each training seed; and
    the first round of the iterated loop, which is active learning's at the smallest size."""
    run, small = world.study.runner, world.small
    scores = score_all(world, world.pool, selectors, "pool_")
    selections, asked = {}, {}
    for policy in small.policies:
        sizes = small.sizes[:1] if policy == "iterated" else small.sizes
        config = ActiveLearningConfig("active" if policy == "iterated" else policy, sizes, small.wrong_share)
        for one in selectors:
            name = of_seed(f"iterated_{sizes[0]}" if policy == "iterated" else policy, one.name.seed)
            asked[name] = policy, one.name.seed, sizes
            inputs = {"grades": world.pool_grades, "scores": scores[f"pool_{one.name.scores}"]}
            selections[name] = run.table(selection(config, f"selection_{name}"), **inputs)
    chosen = label(world, selections)
    trained = train(
        world, [(policy, n, seed, chosen[name]) for name, (policy, seed, sizes) in asked.items() for n in sizes]
    )
    of_seeds = {one.name.seed: scores[f"pool_{one.name.scores}"] for one in selectors}
    turns = [ActiveLearningRound(1, one, of_seeds[one.name.seed]) for one in trained if one.name.series == "iterated"]
    return [one for one in trained if one.name.series != "iterated"], turns


def run_remaining_rounds(world: SmallScaleContext, turns: list[ActiveLearningRound]) -> list[ActiveLearningRound]:
    """The iterated loop: the last round's verifier is the selector that chooses more, and so on. All rounds."""
    run, small = world.study.runner, world.small
    last = turns
    for number, size in enumerate(small.round_sizes if turns else (), start=2):
        scores = score_all(world, world.pool, [turn.verifier for turn in last], "pool_")
        config = ActiveLearningConfig("active", (size,), small.wrong_share)
        selections, before, by_selector = {}, {}, {}
        for turn in last:
            one = turn.verifier
            name = of_seed(f"iterated_{size}", one.name.seed)
            before[name], by_selector[name] = one.chosen, scores[f"pool_{one.name.scores}"]
            inputs = {"grades": world.pool_grades, "scores": by_selector[name], "previous": one.chosen.selection}
            selections[name] = run.table(selection(config, f"selection_{name}"), **inputs)
        chosen = label(world, selections, before)
        wanted = [
            ("iterated", size, turn.verifier.name.seed, chosen[name]) for turn, name in zip(last, chosen, strict=True)
        ]
        last = [
            ActiveLearningRound(number, one, by_selector[name])
            for one, name in zip(train(world, wanted), chosen, strict=True)
        ]
        turns = turns + last
    return turns
