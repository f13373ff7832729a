"""The small-scale study without engines: its sets nest, its series share their solutions, its plan is what it does."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.dataflow import runner
from components.dataflow.datasets import Dataset
from components.dataflow.stage import MapStage, Pool
from components.dataflow.train_executor import TrainingRun
from components.labels.prm_labels import label_by_prm
from components.text.rendering import render_prompts
from components.verifiers.scoring import score
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from flows import full_study, small_scale
from flows.command_line import cli
from flows.command_line.option_groups import add_small_scale
from flows.command_line.options import parse
from flows.studies import generators, prompt_tokens, small_scale_series
from flows.studies.small_scale_summary import labeller_notes
from flows.study import Study
from schemas.small_scale import SUPERVISIONS
from tests.dataflow.test_runner import local_stream_concurrently
from tests.faults import fake
from tests.flows.test_plan import Sampled, Scored


class ByRule:
    """In place of the labelling PRM."""

    def __init__(self, config: Any, models: dict[str, Path]) -> None:
        from components.labels.rule_labels import LabelByRule, LabellingConfig

        self.rule = LabelByRule(LabellingConfig(), {})

    def __call__(self, table: Any, item: Any) -> Any:
        return self.rule(table, item)


@pytest.fixture(autouse=True)
def without_engines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    original = generators.generate

    def generate(*given: Any, **named: Any) -> MapStage:
        return dataclasses.replace(original(*given, **named), make_worker=Sampled)

    def trained(runs: Sequence[TrainingRun], pool: Pool) -> None:
        for run in runs:
            made = tmp_path / run.stage.name
            made.mkdir(exist_ok=True)
            (made / "config.json").write_text(json.dumps({"kind": run.stage.name}))
            run.publish(made, {"tokens_trained": 10.0}, 0.0)

    for module in (generators, small_scale):
        monkeypatch.setattr(module, "generate", generate)
    for flow in (full_study, small_scale_series):
        monkeypatch.setattr(flow, "score", lambda *given: dataclasses.replace(score(*given), make_worker=Scored))
    monkeypatch.setattr(
        small_scale_series, "label_by_prm", lambda *given: dataclasses.replace(label_by_prm(*given), make_worker=ByRule)
    )
    monkeypatch.setattr(runner, "train_concurrently", trained)
    monkeypatch.setattr("components.dataflow.store.Store.local_model", lambda store, model: tmp_path)
    monkeypatch.setattr(prompt_tokens, "_tokenizer", lambda run, model: build_tokenizer(VOCABULARY))
    monkeypatch.setattr(full_study.summary, "write", lambda study: None)
    monkeypatch.setattr(small_scale.small_scale_summary, "write", lambda study: None)


def study_of(root: Path, *argv: str, small: bool = True) -> Study:
    more = add_small_scale if small else None
    study = cli.open_study(parse([*argv, "--preset", "smoke", "--root", str(root)], "", more))
    study.runner.stream, study.runner.start_engine = fake.serial_stream, lambda: None
    study.runner.stream_concurrently = local_stream_concurrently
    study.runner.say = lambda line: None
    return study


def run(root: Path, *argv: str) -> Study:
    study = study_of(root, *argv)
    small_scale.small_scale(study)
    return study


def rows(study: Study, name: str) -> pd.DataFrame:
    table = study.runner.results[name]
    assert isinstance(table, Dataset)
    return study.runner.store.read(table).to_pandas()


def keys(frame: pd.DataFrame) -> set[tuple[str, int]]:
    return {*zip(frame["problem_id"], frame["sample_index"], strict=True)}


def test_sets_nest_and_the_supervisions_have_the_same_solutions(tmp_path: Path) -> None:
    study = run(tmp_path / "outputs", "run", "--labeller", "rule")
    selections = [name for name in study.runner.results if name.startswith("selection_")]
    assert len(selections) == 1 + 2 * (3 + 2)  # uniform; three policies and two rounds, for two seeds
    for name in selections:
        for table in (rows(study, name), rows(study, name.replace("selection", "supervised"))):
            by_size = [keys(part) for _, part in table.groupby("size")]
            assert all(small < large for small, large in itertools.pairwise(by_size))
    first, second = (keys(rows(study, f"selection_iterated_{size}")) for size in (1, 4))
    assert first < second

    trained_on = {one.name: one.inputs["supervised_solutions"].digest for one in study.runner.runs if "_" in one.name
                  and "supervised_solutions" in one.inputs}  # fmt: skip
    for size in (1, 2, 4):
        same = {trained_on[f"{series}_{size}{seed}"] for series in SUPERVISIONS for seed in ("", "_seed_2")}
        assert len(same) == 1
        [digest] = same
        supervised = study.runner.results["supervised_uniform"]
        assert isinstance(supervised, Dataset)
        assert digest == supervised.select(size=str(size)).digest
    supervised_rows = rows(study, "supervised_uniform")
    assert (supervised_rows["is_correct_by_steps"] == supervised_rows["ratings"].map(lambda r: -1 not in r)).all()
    # Of these samples the first two have the right answer, and by the rule every one is wrong at its first step.
    assert supervised_rows["is_correct"][supervised_rows["sample_index"] < 2].all()
    assert not supervised_rows["is_correct"].all()
    assert not supervised_rows["is_correct_by_steps"].any()


def test_sampling_is_charged_to_every_series(tmp_path: Path) -> None:
    """Of solutions as they come, those up to the last that was taken; of a policy, its whole pool."""
    study = run(tmp_path / "outputs", "run", "--policies", "active", "--training-seeds", "1", "--labeller", "rule")
    spent = rows(study, "label_budget").set_index(["series", "size"])
    pool, problems = rows(study, "small_solutions").query("split == 'train'"), rows(study, "problems")
    by_id = problems.set_index("problem_id")["problem"]
    prompts = {
        p: len(ids) for p, ids in zip(by_id.index, render_prompts(build_tokenizer(VOCABULARY), [*by_id]), strict=True)
    }
    for series in SUPERVISIONS:
        for size in (1, 2, 4):
            taken = rows(study, "selection_uniform").query("size == @size")
            last = taken.groupby("problem_id")["sample_index"].max()
            drawn = pool[pool["sample_index"] <= pool["problem_id"].map(last)]
            # Prompts are shorter than a block of the cache, so that each sample has its own.
            assert max(prompts.values()) <= 32
            tokens = drawn["num_tokens"].sum() - len(drawn) + drawn["problem_id"].map(prompts).sum()
            assert spent.loc[(series, size), "tokens_sampled"] == tokens
    whole = pool["num_tokens"].sum() - len(pool) + pool["problem_id"].map(prompts).sum()
    assert (spent.loc["active", "tokens_sampled"] == whole).all()


def test_a_plan_is_what_a_run_does_and_a_second_run_computes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    planned = run(root, "plan").runner.runs
    assert not root.exists()
    made = run(root, "run").runner.runs
    assert [one.name for one in planned] == [one.name for one in made]
    for ahead, one in zip(planned, made, strict=True):
        if ahead.output is None:
            continue
        assert one.output is not None
        if ahead.output.rows_are == "≤":
            assert 0 < one.rows <= ahead.rows, one.name
        elif ahead.output.shards:
            assert [s.rows for s in ahead.output.shards] == [s.rows for s in one.output.shards], one.name
    again = run(root, "run").runner.runs
    assert {one.status for one in again} == {"HIT"}
    assert {one.status for one in run(root, "plan").runner.runs} == {"HIT"}


def test_what_the_main_study_made_is_reused(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    full_study.full_study(study_of(root, "run", small=False))
    planned = {one.name: one for one in run(root, "plan").runner.runs}
    shared = ["problems", "problem_attributes", "teacher_solutions", "generator", "solutions", "step_labels", "prm"]
    assert {planned[name].status for name in shared} == {"HIT"}
    assert planned["small_generator"].status == "MISS"
    assert planned["process_1"].status == "WAITS"


def test_adding_a_policy_or_a_seed_leaves_the_rest_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "outputs"
    run(root, "run", "--policies", "active", "--training-seeds", "1")
    grown = {one.name: one.status for one in run(root, "run", "--policies", "active", "top_k").runner.runs}
    for name in ("small_solutions", "process_4", "active_4", "labels_active", "process_4_scores", "active_1_scores"):
        assert grown[name] == "HIT", name
    for name in ("top_k_4", "process_4_seed_2", "active_4_seed_2"):
        assert grown[name] == "MISS", name


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--solutions-per-problem", "4", "2"], "each must be larger than the one before"),
        (["--solutions-per-problem", "1", "64"], "give a larger --pool too"),
        (["--pool", "0"], "--pool 0: must be 1 or more"),
        (["--reward-base", "x"], "the small-scale study has no use for it"),
        (["--labeller", "rule", "--preset", "math_7b"], "no exact rule"),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(tmp_path: Path, argv: list[str], message: str) -> None:
    root = tmp_path / "outputs"
    preset = [] if "--preset" in argv else ["--preset", "smoke"]
    options = parse(["run", *preset, "--root", str(root), *argv], "", add_small_scale)
    with pytest.raises(cli.InputError, match=message):
        cli.open_study(options)
    assert not (root / "shards").exists()


def test_all_sampling_values_are_those_of_the_small_generator_too(tmp_path: Path) -> None:
    given = ["--temperature", "0.8", "--top-p", "0.9", "--top-k", "20", "--min-p", "0.1", "--stop", "Q:"]
    given += ["--repetition-penalty", "1.1", "--preset", "smoke", "--root", str(tmp_path / "outputs")]
    small = cli.open_study(parse(["plan", *given], "", add_small_scale)).preset.small_scale.sampling
    assert (small.temperature, small.top_p, small.top_k, small.min_p) == (0.8, 0.9, 20, 0.1)
    assert (small.repetition_penalty, small.stop_texts) == (1.1, ("Q:",))


def test_a_labeller_that_labels_badly_is_told_of() -> None:
    rows = {"source": ["prm_large", "rule"], "reference": ["rule", "prm_large"], "kappa": [0.51, 0.51]}
    frame = pd.DataFrame(rows | {"same_first_error": [0.55, 0.55]})
    [note] = labeller_notes({"agreement": frame})
    assert note.startswith("PRM_large labels badly: kappa 0.51 with the exact rule, the same first error in 55 % of")
    assert labeller_notes({"agreement": frame.assign(kappa=0.94)}) == []
    assert labeller_notes({"agreement": frame.assign(kappa=float("nan"))}) == []
    assert labeller_notes({}) == []
