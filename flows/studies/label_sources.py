"""The sources of step labels: people's files, the embedded world's exact rule, rollouts, a PRM, or a judge.

Each source gives the same table, and has a PRM of its own on the same solutions, so that sources can be swept as a
factor.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Model
from components.labels.agreement import AgreementConfig, agreement, label_sources
from components.labels.endpoint_judge import ask_for_judgements, endpoint_judge_config, judge_parameters
from components.labels.judge_labels import JudgeLessonsConfig, judge_labels, judge_lessons, judgements
from components.labels.prm_labels import label_by_prm
from components.labels.rollout_labels import RolloutLabelsConfig, rollout_labels
from components.labels.rollouts import rollouts
from components.labels.rule_labels import label_steps
from components.sampling.endpoint import EndpointAccess
from components.training.config import RewardModelConfig
from components.training.stages import generator, reward_model
from components.verifiers.scoring import score
from flows.studies import reward_models
from flows.studies.endpoints import fingerprint_of
from flows.studies.generators import Generator
from flows.study import Study


@dataclass
class Labels:
    """Step labels of the same solutions by source, in the order of the sources, and the tables of rollouts and
    judgements."""

    solutions: Dataset | None  # None: only people's labels are wanted
    by_people: Dataset | None  # of solutions of their own: table labelled_solutions
    by_source: dict[str, Dataset] = field(default_factory=dict)
    evidence: dict[str, Dataset] = field(default_factory=dict)

    def inputs(self, source: str) -> dict[str, Dataset]:
        """Return the tables that a PRM learns from."""
        if source == "human":
            assert self.by_people is not None  # checked before any work
            return {"labelled_solutions": self.by_people}
        assert self.solutions is not None
        return {"solutions": self.solutions, "step_labels": self.by_source[source]}

    def compare(self, run: Runner) -> None:
        """Run the tables of the agreement of sources, and of what each gave and cost."""
        config = AgreementConfig(tuple(self.by_source))
        evidence = {f"{source}_evidence": table for source, table in self.evidence.items()}
        run.table(label_sources(config), **self.by_source, **evidence)
        if len(self.by_source) > 1:
            run.table(agreement(config), **self.by_source)


def step_supervision(study: Study, sampled: Generator, labels: Labels) -> dict[str, Dataset] | None:
    """Return the tables that the first PRM learns from, or None where no source rates the steps.

    sampled: the generator of the solutions. labels: the source's are added, if they are of the study's own solutions.
    """
    if not study.label_sources:
        return None
    rate(study, study.label_sources[0], sampled, None, labels)
    return labels.inputs(study.label_sources[0])


def rate(study: Study, source: str, sampled: Generator, prm: Model | None, to: Labels) -> None:
    """Add one source's labels. prm: that of the first source, or None where there is none yet."""
    preset, run, solutions = study.preset, study.runner, to.solutions
    if source == "human":
        return
    assert solutions is not None
    if source == "rule":
        by_rule(study, to)
    elif source == "alternatives":
        [to.by_source[source]] = run.map(solutions, label_steps(preset.alternatives, "alternatives_labels"))
    elif source.startswith("rollouts"):
        searching = source == "rollouts_search"
        config = dataclasses.replace(preset.rollouts, search="first_error" if searching else "every_step")
        assert isinstance(sampled, Model)  # checked before any work
        stage = rollouts(config, sampled, "rollouts_search" if searching else "rollouts")
        # Soft and hard labels are of the same continuations.
        evidence = to.evidence.get("rollouts") if source == "rollouts_soft" else None
        if evidence is None:
            [evidence] = run.map(solutions, stage)
        target = RolloutLabelsConfig("soft" if source == "rollouts_soft" else "hard", errors_stay=searching)
        labels = rollout_labels(target, f"{source}_labels")
        to.by_source[source] = run.table(labels, solutions=solutions, rollouts=evidence)
        to.evidence[source] = evidence
    elif source == "prm":
        labeller = study.labelling_prm or prm
        assert labeller is not None  # checked before any work
        [to.by_source[source]] = run.map(solutions, label_by_prm(preset.verifier_labels, labeller))
    elif source == "judge":
        [evidence] = run.map(solutions, judgement_stage(study, sampled))
        to.by_source[source] = run.table(judge_labels(), solutions=solutions, judgements=evidence)
        to.evidence[source] = evidence


def by_rule(study: Study, labels: Labels) -> Dataset:
    """Return the exact rule's labels of the solutions; they are added if no source is the rule."""
    if "rule" not in labels.by_source:
        assert labels.solutions is not None
        [labels.by_source["rule"]] = study.runner.map(labels.solutions, label_steps(study.preset.labelling))
    return labels.by_source["rule"]


def judgement_stage(study: Study, sampled: Generator) -> MapStage:
    """Return the stage solutions → judgements, of a model here or behind an endpoint."""
    config = study.preset.judge
    if not isinstance(study.judge, EndpointAccess):
        return judgements(config, judge(study, sampled))
    model = study.judge.endpoint.model
    sent = judge_parameters(endpoint_judge_config(config, model, ""))
    fingerprint = fingerprint_of(study.runner, "--judge", study.judge, sent)
    return ask_for_judgements(endpoint_judge_config(config, model, fingerprint), study.judge)


def judge(study: Study, sampled: Generator) -> Model:
    """Return the judge: the study's instruction model; in the embedded world a model trained on the exact rule's
    verdicts."""
    preset, run = study.preset, study.runner
    if isinstance(study.judge, Model):
        return study.judge
    if study.files is not None or preset.needs_files:
        return Model("--judge", None)  # only a plan comes so far without one
    assert isinstance(sampled, Model)  # the embedded world's
    lessons = run.table(judge_lessons(JudgeLessonsConfig(preset.judge_world, preset.judge.prompt)))
    return run.train(generator(preset.judge_training, sampled, "judge"), solutions=lessons)


def train_others(
    study: Study,
    seed: int,
    start: Model,
    config: RewardModelConfig,
    labels: Labels,
    held_out: Dataset,
    scores: str,
) -> dict[str, Dataset]:
    """Train the PRMs of the sources after the first, at once, and return their scores of the held-out solutions.

    The scores are named as scored_samples takes them. config: the first PRM's. scores: the name of the first PRM's
    scores.
    """
    preset, run = study.preset, study.runner
    training = dataclasses.replace(config.training, seed=config.training.seed + seed)
    config = dataclasses.replace(config, training=training)
    sources = study.label_sources[1:]
    names = [f"prm_{source}" for source in sources]
    trainings = [
        (reward_model(config, start, reward_models.of_seed(name, seed)), labels.inputs(source))
        for name, source in zip(names, sources, strict=True)
    ]
    names = [f"{name}_{scores}" for name in names]
    prms = run.train_concurrently(*trainings)
    scoring = [score(preset.scoring, None, prm, name) for name, prm in zip(names, prms, strict=True)]
    return dict(zip(names, run.map_concurrently(*((held_out, stage) for stage in scoring)), strict=True))
