"""Every number of a preset can be set, by its path: --set, --config; and what does not fit starts nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.training.config import EvaluationConfig, RewardModelConfig, TrainingConfig
from flows import full_study
from flows.command_line import cli
from flows.command_line.options import parse
from flows.command_line.preset_options import preset_of
from flows.presets.paths import SettingError, changes, leaves, parse_setting, path_of, with_setting
from flows.presets.preset import Preset
from flows.presets.presets import PRESETS
from flows.study import Study

Printed = pytest.CaptureFixture[str]
LAPTOP = PRESETS["laptop"]
HERE = ["--preset", "laptop", "--engine", "vllm"]


def preset(*argv: str) -> Preset:
    return preset_of(parse([*HERE, *argv], ""), [])[0]


def refusal(capsys: Printed, root: Path, *argv: str) -> str:
    """The one line that a command line gives; fails when work would start."""

    def start(study: Study) -> None:
        raise AssertionError("work would have started")

    assert cli.run(start, [*argv, "--root", str(root / "never")], "") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert not (root / "never").exists()
    [line] = printed.err.strip().splitlines()
    return line


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([path for path, _ in leaves(LAPTOP)]))
def test_every_path_takes_its_own_value_and_changes_nothing_else(path: str) -> None:
    value = dict(leaves(LAPTOP))[path]
    try:
        assert with_setting(LAPTOP, path, value if value is not None else "none") == LAPTOP
    except SettingError as error:
        assert "is set by the option" in str(error)  # noqa: PT017 # most paths raise nothing


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("prm.training.epochs=7", "prm.training.epochs", 7),
        ("prm.evaluation.patience=3", "prm.evaluation.patience", 3),
        ("orm.training.learning_rate=7e-4", "orm.training.learning_rate", 7e-4),
        ("orm.training.learning_rate = 1", "orm.training.learning_rate", 1.0),
        (
            "sampling.samples_per_problem.test=128",
            "sampling.samples_per_problem",
            {"train": 2, "test": 128, "ood": 16, "new_facts": 16},
        ),
        ("sampling.segmentation=auto", "sampling.segmentation", "auto"),
        ('judge.prompt="{problem} {steps}"', "judge.prompt", "{problem} {steps}"),
        ("orm.training.shuffle=false", "orm.training.shuffle", False),
        ("learning_rates=[1e-3, 3e-4]", "learning_rates", (1e-3, 3e-4)),
        ("generator.architecture.layers=2", "generator.architecture.layers", 2),
        ("estimation.band.trials=10", "estimation.band.trials", 10),
        ("scoring.dtype=bfloat16", "scoring.dtype", "bfloat16"),
    ],
)
def test_a_number_is_set_by_its_path_and_told(text: str, path: str, value: object) -> None:
    found = changes(LAPTOP, preset("--set", text))
    assert found[path] == value
    assert type(found[path]) is type(value)
    assert len(found) == (2 if path.startswith("estimation.band") else 1)  # the band's seed comes with it


def test_later_ones_win_and_options_are_told_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("training_seeds = 2\n[sampling]\ntemperature = 0.5\nmax_tokens = 64\n[prm.training]\nepochs = 9\n")
    found = preset(
        "--config",
        str(file),
        "--temperature",
        "0.9",
        "--set",
        "prm.training.epochs=1",
        "--set",
        "prm.training.epochs=5",
    )
    assert (found.training_seeds, found.sampling.max_tokens) == (2, 64)
    assert (found.sampling.temperature, found.rollouts.sampling.temperature) == (0.9, 0.9)
    assert found.prm.training.epochs == 5
    told = changes(LAPTOP, found)
    assert told["sampling.temperature"] == 0.9
    assert set(told) == {
        "training_seeds",
        "sampling.temperature",
        "sampling.max_tokens",
        "rollouts.sampling.temperature",
        "prm.training.epochs",
    }


def test_a_python_file_makes_a_preset(tmp_path: Path) -> None:
    file = tmp_path / "my_runs.py"
    file.write_text(
        "import dataclasses\n"
        "from flows.presets.presets import PRESETS\n"
        "laptop = PRESETS['laptop']\n"
        "evaluation = dataclasses.replace(laptop.prm.evaluation, patience=3)\n"
        "prm = dataclasses.replace(laptop.prm, evaluation=evaluation)\n"
        "patient = dataclasses.replace(laptop, name='patient', prm=prm)\n"
    )
    found = preset("--config", f"{file}:patient")
    assert (found.name, found.prm.evaluation.patience) == ("patient", 3)
    assert changes(LAPTOP, found) == {"prm.evaluation.patience": 3}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prm.trainng.epochs=3", ["prm.trainng.epochs=3", "no such setting", "prm.training.epochs"]),
        ("epochs=3", ["no such setting", ".training.epochs"]),
        ("prm.training.epochs.x=3", ["no such setting"]),
        ("name=x", ["no such setting"]),
        ("prm.kind=orm", ["no such setting"]),
        ("prm.training=3", ["holds several settings", "epochs"]),
        ("prm=none", ["holds several settings", "training"]),
        ("sampling=none", ["holds several settings"]),
        ('small_scale.policies=["nope"]', ["'active'"]),
        ('small_scale.policies=["active", "active"]', ["named twice"]),
        ("learning_rates=[1e-4, 1e-4]", ["named twice"]),
        ("small_scale.round_sizes=[100]", ["the pool has"]),
        ("small_scale.sizes=[]", ["one at least"]),
        ("training_seeds=99999999999999999999", ["1000"]),
        (f"training_seeds={'9' * 5000}", ["integer"]),
        (f"learning_rates={'[' * 3000}", ["tuple"]),
        ("prm.training.epochs=x", ["integer"]),
        ("prm.training.epochs=2.5", ["integer"]),
        ("prm.training.epochs=true", ["integer"]),
        ("prm.training.epochs=0", ["greater than 0"]),
        ("sampling.temperature=0", ["0.01 or more"]),
        ("sampling.temperature=nan", ["greater than or equal to 0"]),
        ("sampling.temperature=inf", ["finite"]),
        ("sampling.max_tokens=1025", ["at most 1024"]),
        ("sampling.samples_per_problem.dev=3", ["no such setting"]),
        ("sampling.samples_per_problem={train=3}", ["train, test, ood"]),
        ("sampling.samples_per_problem.test=0", ["greater than 0"]),
        ("prm.evaluation.held_out_share=1.5", ["less than or equal to 1"]),
        ("orm.evaluation.watch=step_auc", ["orm", "within_problem_auc"]),
        ("orm.training.warmup_share=0.9", ["at most 1"]),
        ("orm.training.batch_size=1", ["solutions_together must be at most batch_size"]),
        ("scoring.dtype=int8", ["float32"]),
        ("sampling.engine=vllm", ["--engine"]),
        ("small_scale.sizes=[4, 2]", ["larger than the one before"]),
        ("world.min_operations=9", ["at most max_operations"]),
        ("prm.training.epochs", ["PATH=VALUE"]),
        ("=3", ["PATH=VALUE"]),
    ],
)
def test_what_does_not_fit_is_one_line(capsys: Printed, tmp_path: Path, text: str, words: list[str]) -> None:
    line = refusal(capsys, tmp_path, "--set", text)
    assert line.startswith(f"error: --set {text}: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "[prm.training]\nepoch = 3\n", ["prm.training.epoch = 3", "no such setting", "prm.training.epochs"]),
        ("a.toml", "[prm.training]\nepochs = 'x'\n", ["prm.training.epochs = 'x'", "integer"]),
        ("a.toml", "[prm.training\n", ["cannot be read"]),
        ("a.toml", "[new.things]\na = 3\n", ["new.things.a = 3", "no such setting"]),
        ("b.toml", None, ["cannot be read", "b.toml"]),
        ("a.py:x", "raise RuntimeError('no\\nluck')\n", ["RuntimeError: no luck"]),
        ("a.py:x", "import sys; sys.exit(3)\n", ["SystemExit: 3"]),
        ("a.py:x", "y = 3\n", ["has no x", "no preset"]),
        ("a.py:x", "x = 3\n", ["x is a int, not a Preset", "dataclasses.replace"]),
        ("a.py:x", "x = (\n", ["SyntaxError"]),
        ("b.py:x", None, ["FileNotFoundError"]),
        ("a.yaml", "", ["FILE.py:NAME or FILE.toml"]),
        ("a.py", "", ["FILE.py:NAME or FILE.toml"]),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(
    capsys: Printed, tmp_path: Path, name: str, text: str | None, words: list[str]
) -> None:
    if text is not None:
        (tmp_path / name.partition(":")[0]).write_text(text)
    line = refusal(capsys, tmp_path, "--config", str(tmp_path / name))
    assert line.startswith("error: --config ")
    for word in words:
        assert word in line


def test_python_callers_meet_the_same_bounds() -> None:
    training = TrainingConfig(epochs=1, batch_size=1, learning_rate=1)
    assert training.learning_rate == 1.0
    for change in ({"epochs": 0}, {"epochs": "1"}, {"learning_rate": float("inf")}, {"warmup_share": 2.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            dataclasses.replace(training, **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="step_auc"):
        RewardModelConfig("orm", training, EvaluationConfig(watch="step_auc"))


def test_settings_that_need_each_other_come_in_any_order(tmp_path: Path) -> None:
    pool = "small_scale.sampling.samples_per_problem.train=64"
    sizes, rounds = "small_scale.sizes=[1, 64]", "small_scale.round_sizes=[64]"
    found = preset("--set", sizes, "--set", rounds, "--set", pool).small_scale
    assert (found.sizes, found.sampling.samples_per_problem["train"]) == ((1, 64), 64)
    file = tmp_path / "mine.toml"
    file.write_text(
        "[small_scale]\nsizes = [1, 64]\nround_sizes = [64]\n[small_scale.sampling.samples_per_problem]\ntrain = 64\n"
        "[estimation.band]\ntrials = 5\n"
    )
    read = preset("--config", str(file))
    assert read.small_scale == found
    assert read.estimation.band is not None
    assert (read.estimation.band.trials, read.estimation.band.seed) == (5, read.estimation.votes.seed)


def test_a_files_own_judge_and_engines_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[judge]\nprompt = "{problem} {steps} mine"\n[judge.sampling]\nmax_tokens = 77\n')
    argv = ["--preset", "label_sources", "--config", str(tmp_path / "a.toml"), "--judge", str(tmp_path)]
    judge = preset_of(parse(argv, ""), [])[0].judge
    assert (judge.prompt, judge.sampling.max_tokens) == ("{problem} {steps} mine", 77)
    assert preset_of(parse([*argv[:2], *argv[4:]], ""), [])[0].judge.sampling.max_tokens == 1024
    (tmp_path / "b.py").write_text(
        "from __future__ import annotations\nimport dataclasses\nimport beside\n"
        "from flows.presets.presets import PRESETS\nsmoke = PRESETS['smoke']\n"
        "@dataclasses.dataclass\nclass Mine:\n    x: int = 1\n"
        "mine = dataclasses.replace(smoke, few_shot=dataclasses.replace(smoke.few_shot, engine='transformers'))\n"
    )
    (tmp_path / "beside.py").write_text("")
    found, named = preset_of(parse(["--config", f"{tmp_path / 'b.py'}:mine"], ""), [])
    assert (found.few_shot.engine, found.sampling.engine) == ("transformers", "vllm")
    assert named == PRESETS["smoke"]  # what it is compared with is the preset of its name
    assert set(changes(named, found)) == {"few_shot.engine"}


@pytest.mark.parametrize(
    "argv",
    [
        ["--preset=smoke", "plan"],
        ["--verbose", "plan"],
        ["--paper-band", "explain", "scores"],
        ["--set=prm.training.epochs=2", "plan"],
        ["--temperature", "1", "status"],
        ["--plan"],
        ["--samples-per-problem", "4", "plan"],
    ],
)
def test_a_command_may_stand_behind_options(argv: list[str]) -> None:
    command = parse(argv, "").command
    assert command == next((word for word in argv if word in ("explain", "status")), "plan")
    assert parse(["--study", "plan"], "").command == "run"


def test_one_rate_is_set_and_several_are_tried() -> None:
    one = preset("--learning-rates", "0.002")
    assert (one.learning_rates, one.orm.training.learning_rate, one.prm.training.learning_rate) == ((), 0.002, 0.002)
    assert preset("--learning-rates", "0.002", "0.001").learning_rates == (0.002, 0.001)


def test_the_path_of_a_stages_config_is_that_which_it_was_made_of() -> None:
    assert path_of(LAPTOP, LAPTOP.sampling) == "sampling"
    assert path_of(LAPTOP, LAPTOP.few_shot) == "few_shot"
    for kind in ("orm", "prm"):
        config: Any = getattr(LAPTOP, kind)
        other = dataclasses.replace(config, training=dataclasses.replace(config.training, seed=99, learning_rate=1.0))
        assert path_of(LAPTOP, other) == kind
    assert parse_setting("a.b=[1, 2]") == ("a.b", [1, 2])


def test_a_plan_says_what_was_set_and_by_which_path_it_differs(capsys: Printed, tmp_path: Path) -> None:
    argv = ["--preset", "smoke", "--root", str(tmp_path), "--set", "world.train_problems=40"]
    assert cli.run(full_study.full_study, ["--only", "problems", *argv[:4]], "") == 0
    capsys.readouterr()
    for command in (["plan"], ["explain", "problems"]):
        assert cli.run(full_study.full_study, [*command, *argv], "") == 0
        printed = capsys.readouterr().out
        assert "set: world.train_problems=40\n" in printed
        assert "  world.train_problems: 60 before, 40 now\n" in printed
