"""Property tests of identity: whatever can change rows changes the key, and nothing else does."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from components.generation import SamplingConfig, generate
from components.models import Architecture, GeneratorConfig, RewardModelConfig, TrainingConfig, generator, reward_model
from components.scoring import ScoringConfig, score
from components.stage import Model, Pool, canonical_json, digest, recipe

LEAVES = {
    int: st.integers(1, 10**6),
    float: st.floats(0.001, 100, allow_nan=False),
    bool: st.booleans(),
    str: st.text(max_size=12),
}


def configs(kind: type, **fixed: Any) -> st.SearchStrategy[Any]:
    """Random values for every field of a config."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        default = field.default if field.default is not dataclasses.MISSING else None
        leaf = {"int": int, "float": float, "bool": bool, "str": str}.get(str(field.type), type(default))
        fields[field.name] = fixed.get(field.name, LEAVES.get(leaf, st.just(default)))
    return st.builds(kind, **fields)


SPLITS = st.dictionaries(st.sampled_from(["train", "test", "ood"]), st.integers(1, 99), min_size=1)
TRAINING = configs(TrainingConfig)
MODEL = Model("models/x", "digest")
STAGES = {
    "solutions": (
        configs(SamplingConfig, samples_per_problem=SPLITS, engine=st.just("vllm")),
        lambda config: generate(config, MODEL),
    ),
    "scores": (configs(ScoringConfig), lambda config: score(config, MODEL, MODEL)),
    "generator": (
        st.builds(GeneratorConfig, training=TRAINING, architecture=st.none() | configs(Architecture)),
        lambda config: generator(config, None),
    ),
    "prm": (
        st.builds(RewardModelConfig, kind=st.just("prm"), training=TRAINING),
        lambda config: reward_model(config, MODEL),
    ),
}
EXTENDING = {"samples_per_problem"}  # says which items there are, and nothing about any one of them


def changed(draw: Any, config: Any) -> tuple[str, Any]:
    """A field of a config, nested ones included, and the config with another value in it."""
    names = [field.name for field in dataclasses.fields(config) if field.name not in ("engine", "kind")]
    name = draw(st.sampled_from(names))
    value = getattr(config, name)
    if dataclasses.is_dataclass(value):
        inner, new = changed(draw, value)
        return f"{name}.{inner}", dataclasses.replace(config, **{name: new})
    if value is None or isinstance(value, dict):
        other: Any = {"train": 100 + draw(st.integers(0, 5))} if isinstance(value, dict) else Architecture()
    else:
        other = draw(LEAVES[type(value)].filter(lambda new: new != value))
    return name, dataclasses.replace(config, **{name: other})


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
        "from components.stage import digest, recipe, Model; from components.scoring import *;"
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
