"""Checks before any work of what a command line asks for: limits, the store, the study's name, sources of labels.

Everything here raises InputError in one line: what is wrong, where, and how to mend it.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import os
from pathlib import Path

from components.dataflow import store_marker
from components.dataflow.errors import InputError, StoreError
from components.dataflow.store import Store
from components.verifiers.style import OURS
from flows.presets.preset import Preset

_LONGEST_NAME = 200  # bytes of a study's name: a file system takes 255, and some files' names have more to them


def small_scale_labeller(options: argparse.Namespace, preset: Preset, sources: tuple[str, ...], files: bool) -> None:
    """Check that the labeller of the small-scale study can rate these problems. Raises InputError."""
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
    """Return the store's folder or URL.

    A job of Ray's works in a temporary copy of the folder, so a relative root would be lost: it is refused there.
    """
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
    """Return the store of a root, checked before any work.

    begins: make a store of a root that is none. writes: check that it is writable and can create files exclusively.
    may_be_empty: accept a root where nothing is yet, for a plan. Raises InputError.
    """
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


def limits(options: argparse.Namespace) -> None:
    """Check the limits of a run: errors per stage, and rows per file of problems. Raises InputError."""
    error_rate(options.max_error_rate)
    if options.max_problems and options.train_problems is None:
        raise InputError("--max-problems cuts files of problems; give --train-problems and --test-problems too")


def error_rate(value: float) -> None:
    """Check the largest share of rows that may have an error. Raises InputError."""
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"--max-error-rate {value}: must be 0 or more")


def gc_limits(options: argparse.Namespace) -> None:
    """Check what `gc` is to keep. Raises InputError for a number below its least."""
    for flag, value, least in (("--grace-days", options.grace_days, 0), ("--keep-runs", options.keep_runs, 1)):
        if not (math.isfinite(value) and value >= least):
            raise InputError(f"{flag} {value}: must be {least} or more")


def study_name(name: str) -> str:
    """Return the name of a study, checked as a folder's name. Raises InputError."""
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise InputError(f"--study {name}: use letters, digits, '-', '_' and '.'")
    if (length := len(os.fsencode(name))) > _LONGEST_NAME:
        raise InputError(f"--study {name[:40]}…: has {length} bytes, more than {_LONGEST_NAME}; give a shorter one")
    return name


def label_sources(options: argparse.Namespace, preset: Preset, files: bool, labelled: bool) -> tuple[str, ...]:
    """Return the sources of step labels, checked against the problems and the options.

    files, labelled: whether the study has files of problems, and labelled solutions. Raises InputError.
    """
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
    """Raise InputError for an option that no chosen source uses."""
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
