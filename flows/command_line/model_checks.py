"""The models that a command line names, checked before any work. Raises InputError."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from components.dataflow.errors import InputError, StoreError
from components.dataflow.model_files import folder_digest
from components.dataflow.records import MANIFEST, manifest_of, unseal
from components.dataflow.stage import Model
from components.dataflow.store import model_path
from components.models.chat_template import TOO_SLOW, template_is_too_slow
from components.models.model_folder import read_config, read_tokenizer_config
from components.verifiers.published import CHAT_STYLES, STYLES
from flows.presets.preset import CHAT_INSTRUCTION, Preset

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")  # as weights come that are no safetensors


def model_folder(flag: str, folder: Path | None) -> Model | None:
    """Return the model of a Hugging Face folder, checked without loading it; None for no folder.

    flag: the option that names it, for messages. A stage's folder of models in a store stands for the model that its
    manifest names. Raises InputError.
    """
    if folder is None:
        return None
    folder = _published(flag, folder)
    if not (folder / "config.json").is_file():
        raise InputError(f"{flag} {folder}: no model is there (a Hugging Face folder with config.json is wanted)")
    try:
        read_config((folder / "config.json").read_bytes(), str(folder / "config.json"))
        read_tokenizer_config(folder)
    except ValueError as error:
        raise InputError(f"{flag} {error}") from error
    if not any(folder.glob("*.safetensors")):
        if any(any(folder.glob(pattern)) for pattern in _PICKLES):
            raise InputError(
                f"{flag} {folder}: its weights are pickles, which can run code; load the model in a place that you "
                "trust and write it with save_pretrained(FOLDER), which makes *.safetensors"
            )
        raise InputError(f"{flag} {folder}: it has no weights (*.safetensors)")
    if not any(folder.glob("tokenizer*")):
        raise InputError(f"{flag} {folder}: it has no tokenizer (tokenizer*)")
    try:
        value, files = folder_digest(folder)
    except StoreError as error:
        raise InputError(f"{flag} {error}") from error
    return Model(str(folder.absolute()), value, files)


def _published(flag: str, folder: Path) -> Path:
    """Return the folder itself; for a stage's folder of models in a store, the folder that its manifest names."""
    manifest = folder / MANIFEST
    if (folder / "config.json").is_file() or not manifest.is_file():
        return folder
    try:
        record = manifest_of(unseal(manifest.read_bytes(), str(manifest)), str(manifest))
        return Path(model_path(str(folder), record))
    except StoreError as error:
        raise InputError(f"{flag} {error}") from error


def judge(options: argparse.Namespace) -> Model | None:
    """Return the model of --judge, its chat template checked before a run. Raises InputError."""
    model = model_folder("--judge", options.judge)
    if options.command == "run":
        check_chat_template("--judge", options.judge)
    return model


def labelling_prm(options: argparse.Namespace) -> Model | None:
    """Return the model of --labelling-prm. Raises InputError."""
    return model_folder("--labelling-prm", options.labelling_prm)


def published_prm(options: argparse.Namespace) -> Model | None:
    """Return the model of --prm, whose style must be given too. Raises InputError."""
    if (options.prm is None) != (options.prm_style is None):
        raise InputError(f"--prm FOLDER and --prm-style ({', '.join(STYLES)}) go together: give both")
    if options.prm is not None and options.labelled_solutions:
        raise InputError("--labelled-solutions trains a PRM, and --prm is one: give one of them")
    model = model_folder("--prm", options.prm)
    if options.command == "run" and options.prm_style in CHAT_STYLES:
        check_chat_template("--prm", options.prm)
    return model


def with_few_shot_prompt(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with the chat instruction for few-shot samples, where --few-shot-prompt and the model want it.

    notes: a choice that nobody asked for is added. Raises InputError.
    """
    base: Path | None = options.base_model
    has_template = base is not None and has_chat_template("--base-model", base)
    if options.few_shot_prompt == "chat" and base is None:
        raise InputError("--few-shot-prompt chat is for a base model: give --base-model FOLDER")
    if options.few_shot_prompt == "chat" and not has_template:
        raise InputError(
            f"--few-shot-prompt chat: the tokenizer of {base} has no chat template (chat_template.jinja or "
            "chat_template in tokenizer_config.json); use plain"
        )
    if options.few_shot_prompt == "plain" or not has_template or options.format_from == "solutions":
        return preset
    if options.command == "run":
        check_chat_template("--base-model", base)
        check_chat_template("--small-base-model", getattr(options, "small_base_model", None))
    if options.few_shot_prompt == "auto":
        notes.append(
            "few-shot samples are asked for by the base model's chat template; for a model that was not taught to chat "
            "give --few-shot-prompt plain"
        )
    return dataclasses.replace(preset, few_shot=dataclasses.replace(preset.few_shot, chat_instruction=CHAT_INSTRUCTION))


def check_chat_template(flag: str, folder: Path | None) -> None:
    """Render a folder's chat template once, where it has one; it takes some seconds. Raises InputError.

    A template without end would otherwise be met only after the work that comes before its use.
    """
    if folder is not None and has_chat_template(flag, folder) and template_is_too_slow(folder):
        raise InputError(f"{flag} {folder}: {TOO_SLOW}; use a model with another template")


def has_chat_template(flag: str, folder: Path) -> bool:
    """Tell whether the tokenizer of a Hugging Face folder has a chat template, without loading the tokenizer."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    try:
        return bool(read_tokenizer_config(folder).get("chat_template"))
    except ValueError as error:
        raise InputError(f"{flag} {error}") from error
