"""Property tests of identity: whatever can change rows changes the key, and nothing else does."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from components.dataflow import stage
from components.dataflow.datasets import Shard, content_digest
from components.dataflow.map_executor import tasks_of
from components.dataflow.stage import Model, Pool, canonical_json, digest, field_added_later, recipe
from components.sampling.engines import SamplingConfig
from components.sampling.generation import generate
from components.training.config import (
    Architecture,
    EvaluationConfig,
    GeneratorConfig,
    RewardModelConfig,
    TrainingConfig,
)
from components.training.stages import generator, reward_model
from components.verifiers.scoring import ScoringConfig, score
from components.verifiers.style import BUILTIN, read_style
from flows import full_study
from flows.command_line import cli
from flows.command_line.options import parse
from flows.presets.presets import PRESETS


def values_of(hint: Any) -> st.SearchStrategy[Any]:
    """Random values within the bounds of a field's type; numbers of a size that settings have."""
    if get_args(hint)[:1] == (float,):
        bounds = [
            (getattr(bound, "gt", getattr(bound, "ge", None)), getattr(bound, "le", None))
            for bound in hint.__metadata__
        ]
        low = max([low for low, _ in bounds if low is not None], default=-1e9)
        high = min([high for _, high in bounds if high is not None], default=1e9)
        return st.floats(max(low, 1e-9), high)
    return st.from_type(hint)


@st.composite
def configs(draw: Any, config_class: type, **fixed: Any) -> Any:
    """Random values for every field of a config; what its own rules refuse is drawn again."""
    hints = get_type_hints(config_class, include_extras=True)
    names = [field.name for field in dataclasses.fields(config_class)]
    drawn = {name: draw(fixed.get(name, values_of(hints[name]))) for name in names}
    try:
        return config_class(**drawn)
    except ValueError:
        reject()


SPLITS = st.dictionaries(st.sampled_from(["train", "test", "ood"]), st.integers(1, 99), min_size=1)
TRAINING = configs(
    TrainingConfig,
    warmup_share=st.floats(0.01, 0.5),
    decay_share=st.floats(0.01, 0.5),
    batch_size=st.integers(9, 99),
    solutions_together=st.integers(1, 9),
)
STYLES = st.sampled_from([read_style(name) for name in BUILTIN])  # whole: most combinations of fields are refused
MODEL = Model("models/x", "digest")
STAGES = {
    "solutions": (
        configs(
            SamplingConfig,
            samples_per_problem=SPLITS,
            engine=st.just("vllm"),
            max_tokens=st.integers(1, 99),
            max_model_length=st.integers(200, 9999),
        ),
        lambda config: generate(config, MODEL),
    ),
    "scores": (configs(ScoringConfig, style=st.none() | STYLES), lambda config: score(config, MODEL, MODEL)),
    "generator": (
        st.builds(GeneratorConfig, training=TRAINING, architecture=st.none() | configs(Architecture)),
        lambda config: generator(config, None),
    ),
    "prm": (
        configs(RewardModelConfig, kind=st.just("prm"), training=TRAINING, evaluation=configs(EvaluationConfig)),
        lambda config: reward_model(config, MODEL),
    ),
}
EXTENDING = {"samples_per_problem"}  # says which items there are, and nothing about any one of them


def changed(draw: Any, config: Any) -> tuple[str, Any]:
    """A field of a config, nested ones included, and the config with another value in it."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in ("engine", "kind")]
    name = draw(st.sampled_from(names))
    value, hint = getattr(config, name), get_type_hints(type(config), include_extras=True)[name]
    if name == "style":
        return name, dataclasses.replace(config, style=draw(STYLES.filter(lambda new: new != value)))
    if dataclasses.is_dataclass(value):
        inner, new = changed(draw, value)
        return f"{name}.{inner}", dataclasses.replace(config, **{name: new})
    if value is None or isinstance(value, dict):
        other: Any = {"train": 100 + draw(st.integers(0, 5))} if isinstance(value, dict) else Architecture()
    else:
        other = draw(values_of(hint).filter(lambda new: new != value))
    try:
        return name, dataclasses.replace(config, **{name: other})
    except ValueError:
        reject()


@settings(max_examples=1000, deadline=None)
@given(st.data())
def test_any_field_that_affects_results_changes_the_recipe(data: Any) -> None:
    name = data.draw(st.sampled_from(sorted(STAGES)))
    strategy, make = STAGES[name]
    config = data.draw(strategy)
    field, other = changed(data.draw, config)
    same = digest(recipe(make(config))) == digest(recipe(make(other)))
    assert same == (field in EXTENDING), field


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def shuffled(value: Any, random: Any) -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        random.shuffle(items)
        return {name: shuffled(inner, random) for name, inner in items}
    return [shuffled(inner, random) for inner in value] if isinstance(value, list) else value


@settings(max_examples=1000, deadline=None)
@given(VALUES, st.randoms())
def test_the_order_of_a_dict_does_not_matter_and_values_do(value: Any, random: Any) -> None:
    text = canonical_json(value)
    assert canonical_json(shuffled(value, random)) == text
    assert canonical_json(json.loads(text)) == text
    assert canonical_json([value]) != text


def test_hash_seed_host_folder_and_pools_do_not_matter(tmp_path: Any) -> None:
    code = (
        "from components.dataflow.stage import digest, recipe, Model; from components.verifiers.scoring import *;"
        "print(digest(recipe(score(ScoringConfig(), Model('{path}', 'd'), None))))"
    )
    printed = set()
    for seed, path in (("0", "/a"), ("1", "s3://b/c"), ("2", "/d")):
        done = subprocess.run(
            [sys.executable, "-c", code.format(path=path)], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "HOSTNAME": f"host{seed}", "PYTHONPATH": os.getcwd()},
        )  # fmt: skip
        printed.add(done.stdout)
    assert len(printed) == 1
    assert Pool(actors=1) != Pool(actors=9)  # and no stage takes one: placement is the runner's
    assert "pool" not in {field.name for kind in (SamplingConfig, TrainingConfig) for field in dataclasses.fields(kind)}


@dataclass(frozen=True)
class Before:
    temperature: float = 1.0


@dataclass(frozen=True)
class After(Before):
    top_k: int = field_added_later(
        0, value_before=0
    )  # 0: all tokens, which is what was sampled when there was no top_k


def test_a_field_that_is_added_keeps_the_keys_of_what_its_absence_meant() -> None:
    assert digest(After()) == digest(Before())
    assert digest(After(top_k=5)) != digest(Before())


# The stages of the smoke study, by the first 12 digits of their recipes. A change here makes every user's store compute
# that stage, and perhaps all below it, anew: make it on purpose, raise the stage's version if its results change, and
# say so in the commit. Models and engines are those of no machine in particular.
GOLDEN = {
    "problems": "590e3ed1dfb9",
    "problem_attributes": "1074a2e6fc73",
    "teacher_solutions": "ab7097ad0df8",
    "generator": "759f2576b87d",
    "solutions": "d9ca2cab695e",
    "grades": "2b81f3e34080",
    "step_labels": "2119c00a5738",
    "orm": "f43aea50f516",
    "prm": "a66a00c4bb6a",
    "scores": "2fca4bbe4066",
    "candidates": "39b268e35d43",
    "held_out_step_labels": "8af12fe14f72",
    "reference_scores": "4b0daf319312",
    "scored_samples": "0b294878f3d7",
    "problem_accuracy": "80ef08ee9302",
    "best_of_n": "8fdf7b582fbe",
    "comparisons": "2d07ca4e4eb2",
    "half_accuracy": "fb9850dda238",
    "group_accuracy": "47357d7b637f",
    "group_comparisons": "be86e0d1941c",
    "attribute_shares": "54e150610eeb",
    "score_quality": "e2dbd24813b6",
    "calibration": "593081209adf",
    "score_by_length": "9e37e58d5213",
    "distinct_samples": "4d09261cd4a5",
    "reductions": "4db90173c144",
    "step_calibration": "998ea0124485",
    "step_errors": "8535eb01d216",
    "first_errors": "3393acef760f",
}


def test_golden_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "engine_versions", lambda distributions: {"engines": str(len(distributions))})
    options = parse(["plan", "--preset", "smoke", "--root", str(tmp_path), "--engine", "vllm"], "")
    study = cli.open_study(options)
    full_study.full_study(study)
    recipes = {run.name: recipe(run.stage) for run in study.runner.runs if run.stage is not None}
    assert {name: digest(value)[:12] for name, value in recipes.items()} == GOLDEN


# The same of every preset, all stages of its plan in one.
GOLDEN_PLANS = {
    "smoke": (29, "4ed4d8514f8a"),
    "laptop": (37, "66dc5ba6bd6a"),
    "label_sources": (48, "a4db9ac86a36"),
    "one_gpu": (26, "5c97d6af326e"),
    "node_8gpu": (26, "ebf1cbf84893"),
    "math_7b": (23, "96c677b8e9d5"),
}


@pytest.mark.parametrize("preset", PRESETS)
def test_golden_keys_of_every_preset(preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "engine_versions", lambda distributions: {"engines": str(len(distributions))})
    study = cli.open_study(parse(["plan", "--preset", preset, "--root", str(tmp_path), "--engine", "vllm"], ""))
    full_study.full_study(study)
    recipes = {run.name: digest(recipe(run.stage))[:12] for run in study.runner.runs if run.stage is not None}
    assert (len(recipes), digest(recipes)[:12]) == GOLDEN_PLANS[preset]


def test_golden_shard_keys() -> None:
    sampling = dataclasses.replace(PRESETS["smoke"].sampling, samples_per_problem={"test": 8})
    shard = Shard("problems", "any", "d" * 64, 1, 4, 0, {"split": "test"})
    assert [(task.item, task.key[:12]) for task in tasks_of(generate(sampling, MODEL), "r" * 64, shard)] == [
        ({"sample_start": 0, "sample_count": 4}, "02a5396da309"),
        ({"sample_start": 4, "sample_count": 4}, "ca47b40ebc26"),
    ]
    assert content_digest([shard, shard])[:12] == "4c6a481cc94b"
