"""What a command line asks for, checked before any work: a preset with its changes, files, folders.

Everything here raises InputError in one line: what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import math
from pathlib import Path

from components.estimation import BandConfig
from components.input_files import InputError
from components.labelled_solutions import LabelledFile, describe_labelled, read_labelled
from components.problems import ProblemFiles, check_disjoint, describe_file, read_problems
from components.published_verifiers import STYLES
from components.reference_solutions import ReferenceFile, describe_reference
from components.sampling import engine_distribution, installed_engine
from components.stage import Model
from components.store import Store, folder_digest
from flows.presets import CHAT_INSTRUCTION, Preset, reseeded


def with_options(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """The preset with the command line's changes."""
    sampling = preset.sampling
    counts = dict(sampling.samples_per_problem)
    for text in options.samples_per_problem:
        split, _, number = text.rpartition("=")
        if split and split not in counts:
            raise InputError(f"--samples-per-problem {text}: split {split} is not one of {', '.join(counts)}")
        if not number.isdecimal() or int(number) < 1:
            raise InputError(f"--samples-per-problem {text}: {number} is not a whole number of 1 or more")
        counts |= {split: int(number)} if split else dict.fromkeys(counts, int(number))
    for flag, value, least in (
        ("--max-tokens", options.max_tokens, 1),
        ("--max-problems", options.max_problems, 1),
        ("--temperature", options.temperature, 0.01),
        ("--seed", options.seed, 0),
        ("--max-error-rate", options.max_error_rate, 0),
        ("--grace-days", options.grace_days, 0),
        ("--keep-runs", options.keep_runs, 1),
        ("--training-seeds", options.training_seeds, 1),
        ("--step-alternatives", options.step_alternatives, 0),
        *(("--learning-rates", rate, 1e-12) for rate in options.learning_rates or ()),
    ):
        if value is not None and not (math.isfinite(value) and value >= least):
            raise InputError(f"{flag} {value}: must be {least} or more")
    if options.max_tokens is not None and options.max_tokens > sampling.max_model_length // 2:
        raise InputError(
            f"--max-tokens {options.max_tokens}: at most {sampling.max_model_length // 2}, half of the model's length: "
            "the prompt needs room too"
        )
    if options.max_problems is not None and options.train_problems is None:
        raise InputError("--max-problems cuts files of problems; give --train-problems and --test-problems too")
    engine = options.engine or installed_engine()
    try:
        engine_distribution(engine)
    except ValueError as error:
        raise InputError(f"--engine: {error}") from error
    if engine != sampling.engine:
        notes.append(f"solutions are sampled by {engine}, not by {sampling.engine}")
    changed = dataclasses.replace(
        sampling,
        samples_per_problem=counts,
        engine=engine,
        temperature=options.temperature or sampling.temperature,
        max_tokens=options.max_tokens or sampling.max_tokens,
    )
    preset = dataclasses.replace(
        preset,
        sampling=changed,
        few_shot=dataclasses.replace(preset.few_shot, engine=engine),
        reduction=dataclasses.replace(
            preset.reduction,
            reduction=options.reduction or preset.reduction.reduction,
            neutral=options.neutral or preset.reduction.neutral,
        ),
        estimation=dataclasses.replace(preset.estimation, band=BandConfig() if options.paper_band else None),
        scoring=dataclasses.replace(preset.scoring, prm_style=options.prm_style or preset.scoring.prm_style),
        labelling=dataclasses.replace(
            preset.labelling,
            alternatives=preset.labelling.alternatives
            if options.step_alternatives is None
            else options.step_alternatives,
        ),
        training_seeds=options.training_seeds or preset.training_seeds,
        learning_rates=tuple(dict.fromkeys(options.learning_rates or preset.learning_rates)),
    )
    return preset if options.seed is None else reseeded(preset, options.seed)


def store_root(given: str | None) -> str:
    """The store's folder or URL. A job works in a temporary copy: a relative root would be lost with it."""
    in_job_copy = "runtime_resources" in Path.cwd().parts
    if given is None:
        return str(Path.home() / "stepverify" / "outputs") if in_job_copy else "outputs"
    if "://" in given:
        protocol = given.partition("://")[0]
        if protocol != "s3":
            raise InputError(f"--root {given}: {protocol} is not known here; give a folder, or s3://bucket/prefix")
        if importlib.util.find_spec("s3fs") is None:
            raise InputError(f"--root {given}: needs the package s3fs (the extra `s3`)")
        return given
    if in_job_copy and not Path(given).is_absolute():
        raise InputError(f"--root {given}: inside a Ray job give an absolute folder; the job's own is thrown away")
    return given


def open_store(root: str, writes: bool) -> Store:
    """The store, found usable before any work: writable, and able to create files exclusively."""
    store = Store(root)
    try:
        if writes:
            store.files.check()
        else:
            store.files.size("studies")  # an answer of any kind will do
    except Exception as error:  # each storage library has its own
        raise InputError(f"--root {store.root}: cannot be used: {error}; give a folder that can be written") from error
    return store


def study_name(name: str) -> str:
    """The name, found fit for a folder."""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise InputError(f"--study {name}: use letters, digits, '-', '_' and '.'")
    return name


def problem_paths(options: argparse.Namespace) -> dict[str, Path]:
    """Split → its file, of those that are given."""
    paths = {"train": options.train_problems, "test": options.test_problems, "ood": options.ood_problems}
    return {split: path for split, path in paths.items() if path is not None}


def problem_files(options: argparse.Namespace) -> ProblemFiles | None:
    paths = problem_paths(options)
    if not paths:
        return None
    if not {"train", "test"} <= set(paths):
        raise InputError("--train-problems and --test-problems go together: give both")
    columns = (options.problem_column, options.answer_column, options.max_problems)
    files = ProblemFiles(**{split: describe_file(path, *columns) for split, path in paths.items()})
    rows = {split: read_problems(path, getattr(files, split), split) for split, path in paths.items()}
    for split in set(rows) - {"train"}:
        check_disjoint(rows["train"], rows[split])
    check_disjoint(rows["test"], rows.get("ood", []))
    return files


def labelled_file(options: argparse.Namespace, files: ProblemFiles | None) -> LabelledFile | None:
    path: Path | None = options.labelled_solutions
    if path is None:
        return None
    if files is None:
        raise InputError("--labelled-solutions goes with files of problems; the embedded problems have an exact rule")
    labelled = describe_labelled(path)
    held_out = {split: file for split, file in problem_paths(options).items() if split != "train"}
    known = {
        row["problem"]: split
        for split, at in held_out.items()
        for row in read_problems(at, getattr(files, split), split)
    }
    for row in read_labelled(path):
        if row["problem"] in known:
            raise InputError(
                f"{path}: row {row['source_row']} labels a held-out problem ({known[row['problem']]}); remove such "
                "rows, or the curves would measure memory"
            )
    return labelled


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


def reference_file(options: argparse.Namespace) -> ReferenceFile | None:
    """The train problems' own solutions, where the format is to be learned from them."""
    if options.format_from != "solutions":
        return None
    if options.base_model is None and options.command == "run":
        raise InputError("--format-from solutions is for a base model: give --base-model FOLDER")
    if options.train_problems is None:
        raise InputError("--format-from solutions reads them from --train-problems; give --train-problems FILE")
    columns = (options.problem_column, options.answer_column, options.max_problems)
    return describe_reference(options.train_problems, *columns)


def published_prm(options: argparse.Namespace) -> Model | None:
    if (options.prm is None) != (options.prm_style is None):
        raise InputError(f"--prm FOLDER and --prm-style ({', '.join(STYLES)}) go together: give both")
    if options.prm is not None and options.labelled_solutions is not None:
        raise InputError("--labelled-solutions trains a PRM, and --prm is one: give one of them")
    return model_folder("--prm", options.prm)


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
