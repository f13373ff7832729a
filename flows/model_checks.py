"""The models that a command line names, checked before any work. Raises InputError."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path

from components.input_files import InputError
from components.published_verifiers import STYLES
from components.stage import Model
from components.store import folder_digest
from flows.presets import CHAT_INSTRUCTION, Preset


def model_folder(flag: str, folder: Path | None) -> Model | None:
    if folder is None:
        return None
    if not (folder / "config.json").is_file():
        raise InputError(f"{flag} {folder}: no model is there (a Hugging Face folder with config.json is wanted)")
    for what, patterns in {"weights": ("*.safetensors", "*.bin"), "tokenizer": ("tokenizer*",)}.items():
        if not any(list(folder.glob(pattern)) for pattern in patterns):
            raise InputError(f"{flag} {folder}: it has no {what} ({' or '.join(patterns)})")
    value, files = folder_digest(folder)
    return Model(str(folder.absolute()), value, files)


def labelling_prm(options: argparse.Namespace) -> Model | None:
    return model_folder("--labelling-prm", options.labelling_prm)


def published_prm(options: argparse.Namespace) -> Model | None:
    if (options.prm is None) != (options.prm_style is None):
        raise InputError(f"--prm FOLDER and --prm-style ({', '.join(STYLES)}) go together: give both")
    if options.prm is not None and options.labelled_solutions:
        raise InputError("--labelled-solutions trains a PRM, and --prm is one: give one of them")
    return model_folder("--prm", options.prm)


def with_few_shot_prompt(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """The preset, asking for few-shot samples by the base model's chat template where that is wanted."""
    base: Path | None = options.base_model
    has_template = base is not None and has_chat_template(base)
    if options.few_shot_prompt == "chat" and base is None:
        raise InputError("--few-shot-prompt chat is for a base model: give --base-model FOLDER")
    if options.few_shot_prompt == "chat" and not has_template:
        raise InputError(
            f"--few-shot-prompt chat: the tokenizer of {base} has no chat template (chat_template.jinja or "
            "chat_template in tokenizer_config.json); use plain"
        )
    if options.few_shot_prompt == "plain" or not has_template or options.format_from == "solutions":
        return preset
    if options.few_shot_prompt == "auto":
        notes.append(
            "few-shot samples are asked for by the base model's chat template; for a model that was not taught to chat "
            "give --few-shot-prompt plain"
        )
    return dataclasses.replace(preset, few_shot=dataclasses.replace(preset.few_shot, chat_instruction=CHAT_INSTRUCTION))


def has_chat_template(folder: Path) -> bool:
    """Whether a Hugging Face folder's tokenizer has one, told without loading it."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        about = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError as error:
        raise InputError(f"--base-model {folder}: tokenizer_config.json is not JSON: {error}") from error
    return isinstance(about, dict) and bool(about.get("chat_template"))
