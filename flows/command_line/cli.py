"""The command line of the two studies: from its words to a checked study, its run, and what it prints."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import placements
from components.dataflow.errors import InputError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from flows.command_line import checks, commands, file_checks, model_checks, plan_cost, ray_cluster
from flows.command_line.errors import end_on_sigterm, run_and_report_errors
from flows.command_line.options import MoreOptions, parse
from flows.command_line.preset_options import preset_of
from flows.presets.paths import changes, path_of
from flows.study import Study

_SETTINGS_TOLD = 8  # on the terminal; summary.json has all


def open_study(options: argparse.Namespace) -> Study:
    """Check everything that can be checked before work starts. Raises InputError: what is wrong, where, how to mend."""
    notes: list[str] = []
    checks.limits(options)
    preset, named = preset_of(options, notes)
    small_scale = hasattr(options, "solutions_per_problem")
    root = checks.store_root(options.root)
    name = checks.study_name(options.study or (f"{preset.name}_small_scale" if small_scale else preset.name))
    files, held_out = file_checks.problem_files(options, notes)
    base_model = model_checks.model_folder("--base-model", options.base_model)
    small_base_model = (
        model_checks.model_folder("--small-base-model", options.small_base_model) if small_scale else None
    )
    preset = model_checks.with_few_shot_prompt(preset, options, notes)
    learns_from_solutions = file_checks.learns_from_solutions(options)
    published_prm = model_checks.published_prm(options)
    labelled, labelled_paths = file_checks.labelled_files(options, files, held_out, notes)
    graded, graded_paths = file_checks.graded_files(options, files, held_out, notes)
    judge, labelling_prm = model_checks.judge(options), model_checks.labelling_prm(options)
    sources = checks.label_sources(options, preset, files is not None, labelled is not None)
    if small_scale:
        checks.small_scale_labeller(options, preset, sources, files is not None)
    if labelled is not None and "human" not in sources:
        notes.append("no PRM learns from --labelled-solutions: human is not among --label-sources")
    if preset.needs_files:
        given = {
            "--train-problems FILE --test-problems FILE": files,
            "--base-model FOLDER": base_model,
            "--labelled-solutions FILE": labelled or published_prm or "human" not in sources or None,
        }
        if small_scale:
            given |= {"--small-base-model FOLDER": small_base_model}
            given |= dict.fromkeys(("--base-model FOLDER", "--labelled-solutions FILE"), True) if labelling_prm else {}
        needs = " ".join(flag for flag, value in given.items() if value is None)
        if needs and options.command == "run":
            raise InputError(f"--preset {preset.name} needs {needs}")
        notes += [f"to run it, {preset.name} needs {needs}"] if needs else []
    placement = read_placement(options.placement)
    ray_cluster.check_address()
    if options.command == "run":
        ray_cluster.check_installed()
    plans = options.command in ("plan", "explain")
    store = checks.open_store(root, begins=options.command == "run", may_be_empty=plans)  # last: it may begin one
    runner = Runner(
        store,
        study=name,
        plan_only=options.command != "run",
        only=options.only,
        max_error_rate=options.max_error_rate,
    )
    runner.start_engine = lambda: start_ray(runner, options.verbose, placement, options.sharding)
    return Study(
        preset=preset,
        settings=changes(named, preset),
        name=name,
        files=files,
        problem_paths=file_checks.problem_paths(options),
        held_out=held_out,
        labelled=labelled,
        labelled_paths=labelled_paths,
        graded=graded,
        graded_paths=graded_paths,
        base_model=base_model,
        small_base_model=small_base_model,
        learns_from_solutions=learns_from_solutions,
        published_prm=published_prm,
        label_sources=sources,
        labelling_prm=labelling_prm,
        judge=judge,
        runner=runner,
        notes=tuple(notes),
    )


def read_placement(given: str) -> placements.Placement | None:
    """Return the placement of --placement, None for `auto`. Raises InputError."""
    try:
        return None if given == "auto" else placements.read(Path(given))
    except placements.PlacementError as error:
        raise InputError(f"--placement {error}") from error


def start_ray(
    runner: Runner, verbose: bool, placement: placements.Placement | None = None, sharding: str | None = None
) -> None:
    """Join or start Ray (`ray_cluster.py`), and put back our handler of SIGTERM, which Ray replaces by a silent one."""
    ray_cluster.start_ray(runner, verbose, placement, sharding)
    end_on_sigterm()


def run(main: Any, argv: Sequence[str] | None, description: str, more_options: MoreOptions | None = None) -> int:
    """Run a flow's main(study), or another command of it. Return the exit status, as `run_and_report_errors` says.

    more_options: adds the options of the flow alone.
    """
    return run_and_report_errors(
        lambda: parse(argv, description, more_options), lambda options: _run_command(main, options)
    )


def _run_command(main: Any, options: argparse.Namespace) -> int:
    if options.command == "verify":
        return commands.verify(checks.open_store(checks.store_root(options.root), writes=options.repair), options)
    if options.command == "gc":
        checks.gc_limits(options)
        return commands.gc(checks.open_store(checks.store_root(options.root), writes=options.delete), options)
    study = open_study(options)
    for note in study.notes:
        print(f"note: {printable(note)}")
    if study.settings:
        print(printable(_settings_line(study)))
    main(study)
    name_paths(study)
    return commands.show(study.runner, options, lambda: _cost(study))


def _settings_line(study: Study) -> str:
    """Return a line with the settings that differ from the named preset; of many, the first."""
    told = [f"{path}={value}" for path, value in study.settings.items() if not path.endswith(".engine")]
    more = f" and {len(told) - _SETTINGS_TOLD} more" if len(told) > _SETTINGS_TOLD else ""
    return f"set: {', '.join(told[:_SETTINGS_TOLD])}{more}" if told else "set: the engine alone"


def name_paths(study: Study) -> None:
    """Name what differs in a stage's config by the preset's path, which --set takes."""
    for run in study.runner.runs:
        path = path_of(study.preset, run.stage.config) if run.stage is not None else ""
        if path:
            run.why = tuple(re.sub(r"^config(?=[.:])", path, line) for line in run.why)


def _cost(study: Study) -> tuple[commands.Columns, list[str]]:
    """Return the columns on cost of a plan's table, and the lines below it."""
    work = plan_cost.expected_work(study.runner, study.preset)
    return plan_cost.columns(work, study.preset), plan_cost.footnote(study.runner, work, study.preset)
