"""The models that a command line names, checked before any work. Raises InputError."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path

from components.dataflow.errors import InputError, StoreError
from components.dataflow.model_files import ADAPTER, folder_digest
from components.dataflow.records import MANIFEST, manifest_of, unseal
from components.dataflow.stage import Model
from components.dataflow.store import model_path
from components.models.chat_template import TOO_SLOW, template_is_too_slow
from components.models.hub import HUB, HubModel, hub_model, is_hub_name
from components.models.model_folder import read_config, read_tokenizer_config
from components.sampling.endpoint import is_endpoint
from components.verifiers.folder_checks import check_language_model_folder, check_verifier_folder, verifier_kind
from components.verifiers.style import OURS, Style, process_styles
from flows.presets.preset import CHAT_INSTRUCTION, Preset

_BY_OPTION = {  # models that may be named on the hub
    "generator": "--generator",
    "reward_base": "--reward-base",
    "base_model": "--base-model",
    "small_base_model": "--small-base-model",
    "prm": "--prm",
    "judge": "--judge",
    "labelling_prm": "--labelling-prm",
}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")  # as weights come that are no safetensors


def fetch_hub_models(options: argparse.Namespace, notes: list[str]) -> dict[str, str]:
    """Put the folders of models that options name as hub:ORG/NAME in place of these names.

    Return option → hub:ORG/NAME@COMMIT, for the record. notes: which commit each is. A plan fetches nothing: a model
    that is not in the hub's cache keeps its name then. Raises InputError.
    """
    origins = {}
    for name, flag in _BY_OPTION.items():
        source = getattr(options, name, None)
        if source is None or not is_hub_name(source):
            continue
        model = _from_hub(flag, source, cached=options.command != "run")
        if model is None:
            notes.append(
                f"{flag} {source} is not on this machine, and a plan fetches nothing: its size is assumed, and its "
                "prompts and the keys of what it makes are not known before a run fetches it"
            )
            continue
        setattr(options, name, model.folder)
        origins[flag] = f"{HUB}{model.name}@{model.commit}"
        by_cache = "" if model.is_confirmed else " by the hub's cache: the hub was not asked, or did not answer"
        notes.append(f"{flag} {source} is commit {model.commit}{by_cache}")
    return origins


def hub_or_folder(flag: str, source: str, cached: bool) -> tuple[Path, str]:
    """Return the folder of a model that is named by folder or on the hub, and its hub:ORG/NAME@COMMIT ("": a folder).

    cached: fetch nothing. Raises InputError.
    """
    if not is_hub_name(source):
        return Path(source), ""
    model = _from_hub(flag, source, cached)
    if model is None:
        raise InputError(f"{flag}: {source} is not on this machine, and a plan fetches nothing: hf download it first")
    return model.folder, f"{HUB}{model.name}@{model.commit}"


def _from_hub(flag: str, source: str | Path, cached: bool) -> HubModel | None:
    try:
        return hub_model(str(source), cached)
    except ValueError as error:
        raise InputError(f"{flag} {error}") from error


def model_folder(flag: str, folder: Path | None) -> Model | None:
    """Return the model of a Hugging Face folder, checked without loading it; None for no folder.

    flag: the option that names it, for messages. A stage's folder of models in a store stands for the model that its
    manifest names. A name on the hub, which only a plan leaves, gives a model without a digest. Raises InputError.
    """
    if folder is None:
        return None
    if is_hub_name(folder):
        return Model(flag, None)
    folder = _published(flag, folder)
    if not (folder / "config.json").is_file():
        if (folder / ADAPTER).is_file():
            raise InputError(
                f"{flag} {folder}: it holds an adapter without its base model; merge the two with peft "
                "(merge_and_unload, save_pretrained) and give that folder"
            )
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


def verifier_folder(flag: str, folder: Path) -> Model:
    """Return the model of a verifier's folder, which may be an adapter's: then its base model's has the config.

    Raises InputError.
    """
    if not (folder / ADAPTER).is_file():
        model = model_folder(flag, folder)
        assert model is not None
        return model
    try:
        value, files = folder_digest(folder, may_be_adapter=True)
    except StoreError as error:
        raise InputError(f"{flag} {error}") from error
    return Model(str(folder.absolute()), value, files)


def language_model(flag: str, folder: Path, packed: bool) -> Model:
    """Return the model of a folder that must hold a causal language model, its head and chat template checked.

    packed: as of `check_language_model_folder`. Raises InputError.
    """
    model = model_folder(flag, folder)
    assert model is not None
    check_chat_template(flag, Path(model.path))
    try:
        check_language_model_folder(Path(model.path), packed)
    except (ValueError, OSError) as error:
        raise InputError(f"{flag}: {error}") from error
    return model


def check_verifier(flag: str, style: Style | str, folders: Mapping[str, Path]) -> str:
    """Check that a folder holds a verifier of a style; return whether it rates steps (process) or solutions (outcome).

    folders: "verifier", and maybe "base" and "reference". Weights are not read, but for their headers. Raises
    InputError.
    """
    folder = _published(flag, folders["verifier"])
    try:
        check_verifier_folder(style, folder, folders.get("base"), folders.get("reference"))
        return verifier_kind(style, folder)
    except (ValueError, OSError) as error:
        raise InputError(f"{flag}: {error}") from error


def judge(options: argparse.Namespace) -> Model | None:
    """Return the model of --judge, its chat template checked before a run; None for one behind an address too.

    Raises InputError.
    """
    if is_endpoint(options.judge):
        if options.judge_structured:
            raise InputError("--judge-structured is for a judge in a folder or on the hub: leave it out")
        return None
    model = model_folder("--judge", options.judge)
    if options.command == "run":
        check_chat_template("--judge", options.judge)
    return model


def labelling_prm(options: argparse.Namespace) -> Model | None:
    """Return the model of --labelling-prm. Raises InputError."""
    return prm_folder("--labelling-prm", options.labelling_prm, options.labelling_prm_style)


def published_prm(options: argparse.Namespace) -> Model | None:
    """Return the model of --prm, whose style must be given too. Raises InputError."""
    if (options.prm is None) != (options.prm_style is None):
        names = ", ".join((OURS, *process_styles()))
        raise InputError(f"--prm FOLDER and --prm-style ({names}) go together: give both")
    if options.prm is not None and options.labelled_solutions:
        raise InputError("--labelled-solutions trains a PRM, and --prm is one: give one of them")
    return prm_folder("--prm", options.prm, options.prm_style)


def prm_folder(flag: str, folder: Path | None, style: str) -> Model | None:
    """Return the model of a PRM's folder, checked as far as possible without its weights; None for no folder.

    style: "stepverify", a style's name, or the path of its file. Raises InputError.
    """
    model = model_folder(flag, folder)
    if model is None or model.digest is None:
        return model
    check_chat_template(flag, Path(model.path))
    try:
        check_verifier_folder(style, Path(model.path))
        kind = verifier_kind(style, Path(model.path))
    except (ValueError, OSError) as error:
        raise InputError(f"{flag} {error}") from error
    if kind == "outcome":
        raise InputError(f"{flag} {folder}: an ORM, which scores no steps; a PRM is wanted")
    return model


def with_few_shot_prompt(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with the chat instruction for few-shot samples, where --few-shot-prompt and the model want it.

    notes: a choice that nobody asked for is added. Raises InputError.
    """
    base: Path | None = options.base_model
    if base is not None and is_hub_name(base):
        return preset
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
