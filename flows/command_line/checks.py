"""What a command line asks for, checked before any work: a preset with its changes, the store, sources of labels.

Everything here raises InputError in one line: what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import os
from pathlib import Path
from typing import Literal

from components.dataflow import store_marker
from components.dataflow.errors import InputError, StoreError
from components.dataflow.store import Store
from components.evaluation.curves import BandConfig
from components.labels.judge_labels import PROMPT, VERDICT, JudgeConfig
from components.sampling.engines import engine_distribution, installed_engine
from components.verifiers.published import OURS
from flows.presets.preset import Preset, reseeded, rollouts_like

_LONGEST_NAME = 200  # bytes of a study's name: a file system takes 255, and some files' names have more to them


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
        ("--training-seeds", options.training_seeds, 1),
        ("--rollouts-per-step", options.rollouts_per_step, 1),
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
        segmentation=options.segmentation or sampling.segmentation,
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
        estimation=dataclasses.replace(
            preset.estimation, band=BandConfig(seed=preset.estimation.selection.seed) if options.paper_band else None
        ),
        scoring=dataclasses.replace(preset.scoring, prm_style=options.prm_style or preset.scoring.prm_style),
        labelling=dataclasses.replace(
            preset.labelling,
            alternatives=preset.labelling.alternatives
            if options.step_alternatives is None
            else options.step_alternatives,
        ),
        rollouts=dataclasses.replace(
            rollouts_like(changed),
            search=preset.rollouts.search,
            rollouts_per_step=options.rollouts_per_step or preset.rollouts.rollouts_per_step,
        ),
        verifier_labels=dataclasses.replace(preset.verifier_labels, prm_style=options.labelling_prm_style),
        judge=judge_config(preset, options, engine),
        training_seeds=options.training_seeds or preset.training_seeds,
        learning_rates=tuple(dict.fromkeys(options.learning_rates or preset.learning_rates)),
    )
    return preset if options.seed is None else reseeded(preset, options.seed)


def with_small_scale_options(preset: Preset, options: argparse.Namespace) -> Preset:
    """The preset with the changes of the small-scale study's own options, found to fit each other."""
    for flag, value, kept in (
        ("--learning-rates", options.learning_rates, None),
        ("--graded-solutions", options.graded_solutions, []),
        ("--ood-problems", options.ood_problems, None),
        ("--prm", options.prm, None),
        ("--paper-band", options.paper_band, False),
    ):
        if value != kept:
            raise InputError(f"{flag}: the small-scale study has no use for it; see flows/full_study.py")
    small = preset.small_scale
    sizes = tuple(options.solutions_per_problem or small.sizes)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise InputError(
            f"--solutions-per-problem {' '.join(map(str, sizes))}: each must be larger than the one before"
        )
    counts = dict(small.sampling.samples_per_problem)
    for flag, split, value in (("--pool", "train", options.pool), ("--best-of", "test", options.best_of)):
        if value is not None and value < 1:
            raise InputError(f"{flag} {value}: must be 1 or more")
        counts[split] = value or counts[split]
    if sizes[-1] > counts["train"]:
        raise InputError(
            f"--solutions-per-problem {sizes[-1]}: the pool has {counts['train']} solutions per problem; give --pool "
            "too"
        )
    policies = small.policies if options.policies is None else tuple(dict.fromkeys(options.policies))
    round_sizes = tuple(size for size in small.round_sizes if size > sizes[0])
    if options.solutions_per_problem:
        round_sizes = sizes[1:]
    engine = preset.sampling.engine
    changed = dataclasses.replace(
        small,
        sampling=dataclasses.replace(
            small.sampling,
            samples_per_problem=counts,
            engine=engine,
            temperature=options.temperature or small.sampling.temperature,
            max_tokens=options.max_tokens or small.sampling.max_tokens,
        ),
        sizes=sizes,
        round_sizes=round_sizes,
        policies=policies,
        training_seeds=options.training_seeds or small.training_seeds,
        labeller=options.labeller or small.labeller,
    )
    return dataclasses.replace(preset, small_scale=changed)


def small_scale_labeller(options: argparse.Namespace, preset: Preset, sources: tuple[str, ...], files: bool) -> None:
    """Whoever is to label can."""
    if preset.small_scale.labeller == "rule":
        if files or preset.needs_files:
            raise InputError("--labeller rule needs the embedded problems: other problems have no exact rule")
        if options.labelling_prm is not None:
            raise InputError("--labelling-prm is a labeller, and so is --labeller rule: give one of them")
    elif options.labelling_prm is None and not sources:
        raise InputError(
            "these problems have no rule that rates steps, so no PRM can be trained to label: give --labelling-prm "
            "FOLDER, or ratings to train one on (--labelled-solutions FILE, or --label-sources)"
        )


def store_root(given: str | None) -> str:
    """The store's folder or URL. A job works in a temporary copy: a relative root would be lost with it."""
    if given is not None and not given.strip():
        raise InputError("--root is empty, as an unset shell variable leaves it: give a folder, or s3://bucket/prefix")
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


def open_store(root: str, *, begins: bool = False, writes: bool = False, may_be_empty: bool = False) -> Store:
    """The store, found usable before any work. begins: make one of a root that is none. writes: it must be writable,
    and able to create files exclusively. may_be_empty: a root where nothing is yet will do, for a plan."""
    store = Store(root)
    try:
        if begins:
            store.files.check()
            note = store_marker.begin(store.files)
        else:
            empty = may_be_empty and store_marker.is_empty(store.files)
            note = "" if empty else store_marker.require(store.files, marks=writes)
        if writes:
            store.files.check()
    except store_marker.NoStore as error:
        raise InputError(f"--root {root}: {error}; a first run begins one") from error
    except StoreError as error:
        raise InputError(f"--root {root}: {error}") from error
    except Exception as error:  # each storage library has its own
        raise InputError(f"--root {store.root}: cannot be used: {error}; give a folder that can be written") from error
    if note:
        print(f"note: {note}")
    return store


def gc_limits(options: argparse.Namespace) -> None:
    """What `gc` is to keep, found to be something."""
    for flag, value, least in (("--grace-days", options.grace_days, 0), ("--keep-runs", options.keep_runs, 1)):
        if not (math.isfinite(value) and value >= least):
            raise InputError(f"{flag} {value}: must be {least} or more")


def study_name(name: str) -> str:
    """The name, found fit for a folder."""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise InputError(f"--study {name}: use letters, digits, '-', '_' and '.'")
    if (length := len(os.fsencode(name))) > _LONGEST_NAME:
        raise InputError(f"--study {name[:40]}…: has {length} bytes, more than {_LONGEST_NAME}; give a shorter one")
    return name


def label_sources(options: argparse.Namespace, preset: Preset, files: bool, labelled: bool) -> tuple[str, ...]:
    """The sources of step labels, found fit for the problems and for the options. files, labelled: whether there are
    such."""
    asked = tuple(dict.fromkeys(options.label_sources or ()))
    if options.prm is not None:
        if asked:
            raise InputError("--prm stands in place of a trained PRM: leave --label-sources out")
        return ()
    if not asked and files and not preset.needs_files:
        asked = ("human",) if labelled else ()
    elif not asked:
        asked = preset.label_sources
    plans, embedded = options.command != "run", not files and not preset.needs_files
    needs = {
        "human": (labelled or preset.needs_files, "--labelled-solutions FILE"),
        "rule": (embedded, "the embedded problems: other problems have no exact rule"),
        "judge": (options.judge is not None or embedded or plans, "--judge FOLDER"),
        "prm": (
            options.labelling_prm is not None or asked[:1] != ("prm",),
            "--labelling-prm FOLDER, or another source first",
        ),
    }
    for source in asked:
        met, what = needs.get(source, (True, ""))
        if not met:
            raise InputError(f"--label-sources {source} needs {what}")
    _check_used(options, asked)
    return asked


def _check_used(options: argparse.Namespace, sources: tuple[str, ...]) -> None:
    """No option is given that no source heeds."""
    heeded = {
        "--rollouts-per-step": (options.rollouts_per_step, "rollouts"),
        "--labelling-prm": (None if hasattr(options, "labeller") else options.labelling_prm, "prm"),
        "--judge": (options.judge, "judge"),
        "--judge-prompt": (options.judge_prompt, "judge"),
        "--judge-structured": (options.judge_structured or None, "judge"),
    }
    for flag, (value, source) in heeded.items():
        if value is not None and not any(one.startswith(source) for one in sources):
            raise InputError(f"{flag} is for the source {source}, which is not among --label-sources")
    if options.labelling_prm_style != OURS and options.labelling_prm is None:
        raise InputError("--labelling-prm-style says how --labelling-prm is read: give that too")


def judge_config(preset: Preset, options: argparse.Namespace, engine: Literal["vllm", "transformers"]) -> JudgeConfig:
    """The judge's: the preset's is that of the embedded world's tiny one, or of an instruction model on GPUs."""
    config = preset.judge
    sampling = dataclasses.replace(config.sampling, engine=engine)
    prompt = config.prompt
    if options.judge is not None and not preset.needs_files:
        sampling = dataclasses.replace(sampling, max_tokens=1024, max_model_length=4096)
        prompt = PROMPT.read_text(encoding="utf-8")
    if options.judge_prompt is not None:
        try:
            prompt = options.judge_prompt.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"--judge-prompt {options.judge_prompt}: cannot be read: {error}") from error
        for place in ("{problem}", "{steps}"):
            if place not in prompt:
                raise InputError(f"--judge-prompt {options.judge_prompt}: it has no {place}")
    if options.judge_structured and engine == "transformers":
        raise InputError("--judge-structured needs vLLM, which is not the engine here: leave it out")
    if options.judge_structured:
        sampling = dataclasses.replace(sampling, regex=VERDICT, max_tokens=64)
    return dataclasses.replace(config, sampling=sampling, prompt=prompt)
