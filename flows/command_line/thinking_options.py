"""What a --generator thinks before it answers: by which markers it is told apart, its cap, and whose steps count."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from components.dataflow.errors import InputError
from components.models.hub import is_hub_name
from components.models.model_folder import open_tokenizer_without_torch, read_config
from components.sampling.endpoint import is_endpoint
from components.sampling.thinking import markers_of
from flows.command_line.endpoint_options import with_endpoint_thinking
from flows.presets.paths import first_line
from flows.presets.preset import Preset

MOST_THINKING_TOKENS = 16_384  # unless --max-thinking-tokens says another number, or the model reads fewer


def with_thinking(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with the thinking of --generator kept apart, where it thinks. Raises InputError.

    notes: what was chosen is added.
    """
    if options.max_thinking_tokens is not None and options.max_thinking_tokens < 0:
        raise InputError(f"--max-thinking-tokens {options.max_thinking_tokens}: must be 0 or more")
    if is_endpoint(options.generator):
        return with_endpoint_thinking(preset, options, notes)
    if is_hub_name(options.generator):  # of a plan: the model is not here
        notes.append("whether --generator thinks before it answers shows when the model is here")
        return preset
    tokenizer = open_tokenizer_without_torch(options.generator)
    wanted = options.thinking_markers or preset.sampling.thinking_markers or markers_of(tokenizer)
    if not wanted or options.max_thinking_tokens == 0:
        _refuse_without(options, wanted)
        if wanted:
            notes.append(
                f"what it thinks, from {wanted[0]} to {wanted[1]}, stays in its text (--max-thinking-tokens 0)"
            )
        return preset
    if any(text.partition("=")[2].startswith("confidence:") for text in options.verifier):
        raise InputError(
            "--verifier confidence:… reads what is said alone, and --generator thinks before it: leave it out, or take "
            "--max-thinking-tokens 0"
        )
    room = _positions(options.generator) - preset.sampling.max_model_length
    most = options.max_thinking_tokens or preset.sampling.max_thinking_tokens or min(MOST_THINKING_TOKENS, room)
    if most > room or most < 1:
        raise InputError(
            f"--generator {options.generator} reads {_positions(options.generator):,} tokens: beside "
            f"{preset.sampling.max_model_length:,} for the prompt and the answer {max(most, 1):,} of thinking do not "
            "fit; lower --max-thinking-tokens, or --set sampling.max_model_length=…"
        )
    try:
        sampling = dataclasses.replace(
            preset.sampling,
            thinking_markers=tuple(wanted),
            max_thinking_tokens=most,
            steps_of=options.steps_of or preset.sampling.steps_of,
        )
    except ValueError as error:
        raise InputError(f"--thinking-markers {' '.join(wanted)}: {first_line(error)}") from error
    preset = dataclasses.replace(preset, sampling=sampling)
    steps = {"text": "the answer", "thinking": "the thinking", "both": "the thinking and the answer"}
    notes.append(
        f"what it thinks, from {wanted[0]} to {wanted[1]}, is kept apart: at most {most:,} tokens; steps are those of "
        f"{steps[preset.sampling.steps_of]} (--steps-of)"
    )
    return preset


def _refuse_without(options: argparse.Namespace, wanted: object) -> None:
    """Raise InputError for options that ask of a thinking that is not kept apart."""
    why = "--max-thinking-tokens 0 keeps none apart" if wanted else "no markers of thinking are known of it"
    if options.steps_of not in (None, "text"):
        raise InputError(f"--steps-of {options.steps_of}: {why}")
    if options.max_thinking_tokens:
        raise InputError(f"--max-thinking-tokens {options.max_thinking_tokens}: {why}; give --thinking-markers")


def _positions(folder: Path) -> int:
    """Return how many tokens a model reads."""
    path = folder / "config.json"
    try:
        config = read_config(path.read_bytes(), str(path))
    except (OSError, ValueError) as error:
        raise InputError(f"--generator {error}") from error
    config = config.get("text_config", config)
    return int(config.get("max_position_embeddings") or 2**31)
