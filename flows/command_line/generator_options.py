"""The generator that a command line names to be sampled as it is: its prompt, and the sampling values it came with."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from components.data.problems import file_rows
from components.dataflow.errors import InputError
from components.models.hub import is_hub_name
from components.models.model_folder import open_tokenizer_without_torch, read_config
from components.sampling.endpoint import is_endpoint
from components.sampling.prompts import sampling_prompts
from components.text.rendering import chat_turns, turns_text
from components.text.segmentation import AUTO
from flows.command_line import model_checks
from flows.command_line.thinking_options import with_thinking
from flows.presets.laptop import LAPTOP
from flows.presets.paths import SettingError, changes, first_line, replaced
from flows.presets.preset import GENERATOR_PROMPT, Preset
from flows.study import Study

_OWN_VALUES = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")  # of a generation_config.json
_OF_GENERATOR = (
    "--reward-base",
    "--instruction",
    "--system-prompt",
    "--thinking-markers",
    "--max-thinking-tokens",
    "--steps-of",
)
_OF_THINKING = ("thinking_markers", "max_thinking_tokens", "steps_of")
_ROLLOUTS = ("rollouts", "rollouts_soft", "rollouts_search")


def with_generator(preset: Preset, named: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with the prompt and the sampling values of --generator, where there is one.

    named: the preset before all options; what differs from it was asked for, and stands. notes: the values that are the
    model's own are added. Raises InputError.
    """
    for path in changes(named, preset):
        if path.rpartition(".")[2] in _OF_THINKING and not path.startswith("sampling."):
            raise InputError(f"{path}: thinking is kept apart in the samples of --generator alone (sampling.…)")
    for flag in _OF_GENERATOR:
        if getattr(options, flag.removeprefix("--").replace("-", "_")) is not None and options.generator is None:
            raise InputError(f"{flag} is for a model that is sampled as it is: give --generator MODEL")
    if options.generator is None:
        if options.show_prompt:
            raise InputError("--show-prompt shows what --generator is told: give --generator MODEL")
        for name in _OF_THINKING:
            if f"sampling.{name}" in changes(named, preset):
                raise InputError(f"sampling.{name} is for a model that is sampled as it is: give --generator MODEL")
        return preset
    _check(preset, options)
    prompt = _text("--instruction", options.instruction, GENERATOR_PROMPT)
    system_prompt = _text("--system-prompt", options.system_prompt, "")
    try:
        sampling = dataclasses.replace(preset.sampling, prompt=prompt, system_prompt=system_prompt)
        preset = dataclasses.replace(preset, sampling=sampling)
    except ValueError as error:
        told = "--generator" if options.instruction is None else f"--instruction {options.instruction}"
        raise InputError(f"{told}: {first_line(error)}") from error
    asked = changes(named, preset)
    has_folder = not (is_hub_name(options.generator) or is_endpoint(options.generator))
    own = {"segmentation": AUTO} | (_own_values(options.generator) if has_folder else {})
    for name, value in own.items():
        if f"sampling.{name}" in asked or getattr(options, name, None) is not None:
            continue
        try:
            preset = replaced(preset, f"sampling.{name}", value)
        except SettingError as error:
            raise InputError(f"--generator {options.generator}: generation_config.json: {name}: {error}") from error
    taken = [name for name in _OWN_VALUES if name in own and getattr(preset.sampling, name) == own[name]]
    whose = _whose(taken) if has_folder else ""
    if is_hub_name(options.generator):
        whose = "; the model's own values show when it is here"
    if preset.name == LAPTOP.name:
        notes.append(f"the preset {LAPTOP.name} has a tiny model's numbers; --preset one_gpu is for instruct models")
    notes.append(f"sampled with {_values(preset)}{whose}")
    preset = with_thinking(preset, options, notes)
    preset = _with_rollouts(preset, options, asked)
    if options.command == "run" and has_folder:
        _render_once(options.generator, preset)
    return preset


def _with_rollouts(preset: Preset, options: argparse.Namespace, asked: Collection[str]) -> Preset:
    """Return the preset with rollouts sampled as the solutions are. asked: the settings that stand."""
    rollouts = [name for name in options.label_sources or preset.label_sources if name in _ROLLOUTS]
    if rollouts and preset.sampling.thinks:
        raise InputError(
            f"--label-sources {rollouts[0]} goes on with what is said, and --generator thinks before it: use another "
            "source, or --max-thinking-tokens 0"
        )
    names = [name for name in _OWN_VALUES if f"rollouts.sampling.{name}" not in asked]
    values = {name: getattr(preset.sampling, name) for name in ("prompt", "system_prompt", *names)}
    sampling = dataclasses.replace(preset.rollouts.sampling, **values)
    return dataclasses.replace(preset, rollouts=dataclasses.replace(preset.rollouts, sampling=sampling))


def _values(preset: Preset) -> str:
    """Return the sampling values in words."""
    told = [f"{name} {getattr(preset.sampling, name):g}" for name in _OWN_VALUES]
    return f"{', '.join(told)}, at most {preset.sampling.max_tokens} tokens"


def _whose(own: list[str]) -> str:
    """Return which of the sampling values are the model's, in words; the others are the preset's, or given."""
    return f"; of its generation_config.json: {', '.join(own)}" if own else "; its folder has no values of its own"


def _render_once(folder: Path, preset: Preset) -> None:
    """Raise InputError where the chat template refuses the turns, as some refuse a system's."""
    sampling = preset.sampling
    try:
        turns_text(open_tokenizer_without_torch(folder), sampling.prompt, sampling.system_prompt, "1 + 1?")
    except Exception as error:  # whatever a template raises
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(f"--generator {folder}: its chat template refuses what it is to be told: {line}") from error


def _check(preset: Preset, options: argparse.Namespace) -> None:
    """Raise InputError where --generator does not fit the other options, or has no chat template."""
    if options.base_model is not None:
        raise InputError("--generator is sampled as it is, and --base-model is finetuned first: give one of them")
    if options.train_problems is None and options.command == "run":
        raise InputError("--generator answers problems of files: give --train-problems FILE --test-problems FILE")
    rollouts = [name for name in options.label_sources or preset.label_sources if name in _ROLLOUTS]
    if rollouts and is_endpoint(options.generator):
        raise InputError(
            f"--label-sources {rollouts[0]} goes on from the middle of solutions, which a model behind an address "
            "cannot: use another source"
        )
    if is_endpoint(options.generator):
        if options.reward_base is None:
            raise InputError(
                f"--generator {options.generator}: reward models cannot start from a model behind an address: give "
                "--reward-base MODEL"
            )
        return
    if is_hub_name(options.generator):
        return
    if not model_checks.has_chat_template("--generator", options.generator):
        raise InputError(
            f"--generator {options.generator}: its tokenizer has no chat template, so it was not taught to answer; "
            "--base-model finetunes a model for the format"
        )
    if options.command == "run":
        model_checks.check_chat_template("--generator", options.generator)


def first_prompt(study: Study) -> list[str]:
    """Return the lines that show what --generator is told of the first train problem, as text, its tokens counted.

    No lines without --generator, or where a plan has no model or no file yet.
    """
    has_model = study.generator is not None and study.generator.digest is not None
    if study.files is None or not (has_model or study.endpoint is not None):
        return []
    row = next((row for row in file_rows(study.files, study.problem_paths) if row["error"] is None), None)
    if row is None:
        return []
    sampling = study.preset.sampling
    rule = "-" * 40
    if study.generator is None:
        turns = chat_turns(sampling.prompt, sampling.system_prompt, row["problem"])
        told = "\n\n".join(f"{turn['role']}:\n{turn['content']}" for turn in turns)
        return ["the first request:", rule, told, rule]
    tokenizer = open_tokenizer_without_torch(Path(study.generator.path))
    text = turns_text(tokenizer, sampling.prompt, sampling.system_prompt, row["problem"])
    [ids] = sampling_prompts(tokenizer, sampling, [row["problem"]])
    return [f"the first prompt, {len(ids):,} tokens of {sampling.max_model_length:,}:", rule, text, rule]


def _text(flag: str, file: Path | None, default: str) -> str:
    if file is None:
        return default
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(f"{flag} {file}: cannot be read: {error}") from error
    if not text:
        raise InputError(f"{flag} {file}: it is empty")
    return text


def _own_values(folder: Path) -> dict[str, Any]:
    """Return the sampling values of a folder's generation_config.json, those that there are."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return {}
    try:
        config = read_config(path.read_bytes(), str(path))
    except ValueError as error:
        raise InputError(f"--generator {error}") from error
    return {name: config[name] for name in _OWN_VALUES if config.get(name) is not None}
