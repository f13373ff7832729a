"""The preset that a command line asks for: a named one or a file's, changed by options and by --set.

Later ones win: the preset, a TOML file of --config, the options, --seed, --set. Everything here raises InputError in
one line: what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import operator
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from components.dataflow.errors import InputError
from components.evaluation.curves import BandConfig
from components.labels.judge_labels import PROMPT, VERDICT, JudgeConfig
from components.labels.prm_labels import VerifierLabelsConfig
from components.sampling.endpoint import is_endpoint
from components.sampling.engines import engine_distribution, installed_engine
from components.verifiers.scoring import ScoringConfig
from components.verifiers.style import style_settings
from flows.presets.paths import SettingError, first_line, flattened, parse_setting, replaced, with_settings
from flows.presets.preset import SAMPLING_PATHS, Preset, reseeded
from flows.presets.presets import PRESETS

PRESETS_MODULE = f"{Preset.__module__.rpartition('.')[0]}.presets"  # as it is imported here
# Option → the settings that it sets, besides those that need more than a value.
_SETS = {
    "--temperature": ("sampling.temperature", "rollouts.sampling.temperature"),
    "--top-p": ("sampling.top_p", "rollouts.sampling.top_p"),
    "--top-k": ("sampling.top_k", "rollouts.sampling.top_k"),
    "--min-p": ("sampling.min_p", "rollouts.sampling.min_p"),
    "--repetition-penalty": ("sampling.repetition_penalty", "rollouts.sampling.repetition_penalty"),
    "--stop": ("sampling.stop_texts", "rollouts.sampling.stop_texts"),
    "--max-tokens": ("sampling.max_tokens", "rollouts.sampling.max_tokens"),
    "--segmentation": ("sampling.segmentation", "rollouts.sampling.segmentation"),
    "--reduction": ("reduction.reduction",),
    "--neutral": ("reduction.neutral",),
    "--training-seeds": ("training_seeds",),
    "--step-alternatives": ("labelling.alternatives",),
    "--rollouts-per-step": ("rollouts.rollouts_per_step",),
}
Config = TypeVar("Config", ScoringConfig, VerifierLabelsConfig)
_SETS_SMALL_SCALE = {
    "--temperature": ("small_scale.sampling.temperature",),
    "--top-p": ("small_scale.sampling.top_p",),
    "--top-k": ("small_scale.sampling.top_k",),
    "--min-p": ("small_scale.sampling.min_p",),
    "--repetition-penalty": ("small_scale.sampling.repetition_penalty",),
    "--stop": ("small_scale.sampling.stop_texts",),
    "--max-tokens": ("small_scale.sampling.max_tokens",),
    "--training-seeds": ("small_scale.training_seeds",),
    "--labeller": ("small_scale.labeller",),
}
_NOT_IN_SMALL_SCALE: dict[str, object] = {
    "--graded-solutions": [],
    "--ood-problems": None,
    "--prm": None,
    "--generator": None,
    "--reward-base": None,
    "--verifier": [],
    "--paper-band": False,
}


def preset_of(options: argparse.Namespace, notes: list[str]) -> tuple[Preset, Preset]:
    """Return the preset with all that the command line changes, and the named one that it started from.

    notes: what was done that nobody asked for is added.
    """
    named = PRESETS.get(options.preset)
    if named is None:
        raise InputError(f"--preset {options.preset}: there is no such preset; use one of {', '.join(PRESETS)}")
    preset = with_config(named, options.config) if options.config is not None else named
    preset = _with_samples(preset, options.samples_per_problem)
    preset = _with_engine(preset, options, notes)
    preset = _with_options(preset, options, _SETS)
    preset = dataclasses.replace(
        preset,
        scoring=_with_style(preset.scoring, options.prm_style),
        verifier_labels=_with_style(preset.verifier_labels, options.labelling_prm_style),
    )
    preset = _with_learning_rates(preset, options)
    preset = dataclasses.replace(preset, judge=_judge(preset, named, options))
    if hasattr(options, "solutions_per_problem"):
        preset = _with_small_scale_options(preset, options)
    if options.seed is not None:
        if options.seed < 0:
            raise InputError(f"--seed {options.seed}: must be 0 or more")
        preset = reseeded(preset, options.seed)
    if options.paper_band:
        band = preset.estimation.band or BandConfig(seed=preset.estimation.votes.seed)
        preset = dataclasses.replace(preset, estimation=dataclasses.replace(preset.estimation, band=band))
    return _with_set(preset, options.set), PRESETS.get(preset.name, named)


def _with_set(preset: Preset, texts: list[str]) -> Preset:
    """Return the preset with the settings of --set."""
    parsed: dict[str, tuple[str, object]] = {}  # path → the text that sets it, and its value
    for text in texts:
        try:
            path, value = parse_setting(text)
        except SettingError as error:
            raise InputError(f"--set {text}: {error}") from error
        parsed[path] = text, value
    try:
        return with_settings(preset, ((path, value) for path, (_, value) in parsed.items()))
    except SettingError as error:
        raise InputError(f"--set {parsed[error.path][0]}: {error}") from error


def with_config(preset: Preset, given: str) -> Preset:
    """Return the preset of --config FILE.py:NAME, or the given preset changed by FILE.toml. Raises InputError."""
    file, _, name = given.rpartition(":")
    if file.lower().endswith(".py") and name:
        return _from_python(given, Path(file), name)
    if not given.lower().endswith(".toml"):
        raise InputError(f"--config {given}: FILE.py:NAME or FILE.toml is wanted")
    try:
        table = tomllib.loads(Path(given).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"--config {given}: cannot be read: {error}") from error
    settings = dict(flattened(table, preset))
    try:
        return with_settings(preset, settings.items())
    except SettingError as error:
        raise InputError(f"--config {given}: {error.path} = {settings[error.path]!r}: {error}") from error


def _from_python(given: str, file: Path, name: str) -> Preset:
    """Run a Python file, which is the user's own code, and return the preset that it has under a name."""
    try:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module  # dataclasses look there
        sys.path.insert(0, str(file.resolve().parent))  # as if the file were run by itself
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.pop(0)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a user's file does
        message = " ".join((first_line(error) if isinstance(error, ValueError) else str(error)).split())
        raise InputError(f"--config {given}: {file} cannot be run: {type(error).__name__}: {message}") from error
    if not hasattr(module, name):
        has = ", ".join(key for key, value in vars(module).items() if isinstance(value, Preset)) or "no preset"
        raise InputError(f"--config {given}: {file} has no {name}; it has {has}")
    preset = getattr(module, name)
    if not isinstance(preset, Preset):
        raise InputError(
            f"--config {given}: {name} is a {type(preset).__name__}, not a Preset; make one by dataclasses.replace of "
            f"one of {PRESETS_MODULE}.PRESETS"
        )
    return preset


def _with_options(preset: Preset, options: argparse.Namespace, sets: Mapping[str, tuple[str, ...]]) -> Preset:
    for flag, paths in sets.items():
        value = getattr(options, flag.removeprefix("--").replace("-", "_"))
        value = tuple(value) if isinstance(value, list) else value
        for path in paths if value is not None else ():
            try:
                preset = replaced(preset, path, value)
            except SettingError as error:
                raise InputError(f"{flag} {value}: {error}") from error
    return preset


def _with_style(config: Config, given: str | None) -> Config:
    """Return a config with the style of a PRM: one of ours by its name, a user's by all that its file says."""
    try:
        return config if given is None else dataclasses.replace(config, **style_settings(given))
    except ValueError as error:
        raise InputError(str(error)) from error


def _with_samples(preset: Preset, given: list[str]) -> Preset:
    counts = dict(preset.sampling.samples_per_problem)
    for text in given:
        split, _, number = text.rpartition("=")
        if split and split not in counts:
            raise InputError(f"--samples-per-problem {text}: split {split} is not one of {', '.join(counts)}")
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"--samples-per-problem {text}: {number} is not a whole number of 1 or more")
        counts |= {split: int(number)} if split else dict.fromkeys(counts, int(number))
    return dataclasses.replace(preset, sampling=dataclasses.replace(preset.sampling, samples_per_problem=counts))


def _with_engine(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with all sampling by the engine that is asked for, else by one that is installed."""
    if options.engine is not None:
        try:
            engine_distribution(options.engine)
        except ValueError as error:
            raise InputError(f"--engine: {error}") from error
    for path in SAMPLING_PATHS:
        config = operator.attrgetter(path)(preset)
        engine = options.engine or (config.engine if _is_installed(config.engine) else installed_engine())
        if engine != config.engine and path == "sampling" and not is_endpoint(options.generator):
            notes.append(f"solutions are sampled by {engine}, not by {config.engine}")
        preset = replaced(preset, f"{path}.engine", engine)
    return preset


def _is_installed(engine: str) -> bool:
    try:
        engine_distribution(engine)
    except ValueError:
        return False
    return True


def _with_learning_rates(preset: Preset, options: argparse.Namespace) -> Preset:
    """Set one rate for both reward models, or several for a sweep that keeps the best of each."""
    rates = tuple(dict.fromkeys(options.learning_rates or ()))
    try:
        if len(rates) == 1:
            for model in ("orm", "prm"):
                preset = replaced(preset, f"{model}.training.learning_rate", rates[0])
            return dataclasses.replace(preset, learning_rates=())
        return replaced(preset, "learning_rates", rates) if rates else preset
    except SettingError as error:
        raise InputError(f"--learning-rates {' '.join(f'{rate:g}' for rate in rates)}: {error}") from error


def _with_small_scale_options(preset: Preset, options: argparse.Namespace) -> Preset:
    """Return the preset with the changes of the small-scale study's own options."""
    for flag, kept in _NOT_IN_SMALL_SCALE.items():
        if getattr(options, flag.removeprefix("--").replace("-", "_")) != kept:
            raise InputError(f"{flag}: the small-scale study has no use for it; see flows/full_study.py")
    small = preset.small_scale
    sizes = tuple(options.solutions_per_problem or small.sizes)
    counts = dict(small.sampling.samples_per_problem)
    for flag, split, value in (("--pool", "train", options.pool), ("--best-of", "test", options.best_of)):
        if value is not None and value < 1:
            raise InputError(f"{flag} {value}: must be 1 or more")
        counts[split] = value or counts[split]
    try:
        small = dataclasses.replace(
            small,
            sampling=dataclasses.replace(small.sampling, samples_per_problem=counts),
            sizes=sizes,
            round_sizes=sizes[1:] if options.solutions_per_problem else _above(small.round_sizes, sizes[0]),
            policies=small.policies if options.policies is None else tuple(dict.fromkeys(options.policies)),
        )
    except ValueError as error:
        raise InputError(f"--solutions-per-problem {' '.join(map(str, sizes))}: {first_line(error)}") from error
    return _with_options(dataclasses.replace(preset, small_scale=small), options, _SETS_SMALL_SCALE)


def _above(sizes: tuple[int, ...], least: int) -> tuple[int, ...]:
    return tuple(size for size in sizes if size > least)


def _judge(preset: Preset, named: Preset, options: argparse.Namespace) -> JudgeConfig:
    """Return the judge's config: with --judge an instruction model's, else the preset's."""
    config = preset.judge
    sampling, prompt = config.sampling, config.prompt
    if options.judge is not None and not preset.needs_files:
        # What a file of --config says of the judge is kept.
        lengths = (sampling.max_tokens, sampling.max_model_length)
        if lengths == (named.judge.sampling.max_tokens, named.judge.sampling.max_model_length):
            sampling = dataclasses.replace(sampling, max_tokens=1024, max_model_length=4096)
        prompt = PROMPT.read_text(encoding="utf-8") if prompt == named.judge.prompt else prompt
    if options.judge_prompt is not None:
        try:
            prompt = options.judge_prompt.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"--judge-prompt {options.judge_prompt}: cannot be read: {error}") from error
    if options.judge_structured and sampling.engine == "transformers":
        raise InputError("--judge-structured needs vLLM, which is not the engine here: leave it out")
    if options.judge_structured:
        sampling = dataclasses.replace(sampling, regex=VERDICT, max_tokens=64)
    try:
        return dataclasses.replace(config, sampling=sampling, prompt=prompt)
    except ValueError as error:
        raise InputError(f"--judge-prompt {options.judge_prompt}: {first_line(error)}") from error
