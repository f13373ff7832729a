"""The command line of the two studies: from its words to a checked study, its run, and what it prints."""

from __future__ import annotations

import argparse
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cluster import placements
from components.dataflow.errors import InputError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.report.trackers import is_installed
from components.sampling import engine_options
from components.sampling.endpoint import is_endpoint
from flows.command_line import (
    checks,
    commands,
    endpoint_options,
    file_checks,
    generator_options,
    model_checks,
    plan_cost,
    plan_memory,
    ray_cluster,
)
from flows.command_line.errors import end_on_sigterm, run_and_report_errors
from flows.command_line.options import MoreOptions, parse
from flows.command_line.preset_options import preset_of
from flows.command_line.verifier_specs import verifier_specs
from flows.presets.paths import changes, path_of, replaced
from flows.presets.preset import SAMPLING_PATHS, Preset
from flows.studies import endpoints
from flows.studies.tracking import tracked
from flows.study import Study
from schemas.results import ENSEMBLES, REFERENCES

_SETTINGS_TOLD = 8  # on the terminal; summary.json has all


def open_study(options: argparse.Namespace) -> Study:
    """Check everything that can be checked before work starts. Raises InputError: what is wrong, where, how to mend."""
    notes: list[str] = []
    checks.limits(options)
    if options.fits is not None:
        plan_memory.read_gpus(options.fits)
        if options.command != "plan":
            raise InputError("--fits is for plan")
    if options.track is not None and not is_installed(options.track):
        raise InputError(f"--track {options.track}: it is not installed; pip install {options.track}")
    preset, named = preset_of(options, notes)
    placement = read_placement(options.placement)
    preset = with_engine_options(preset, placement, notes)
    small_scale = hasattr(options, "solutions_per_problem")
    root = checks.store_root(options.root)
    name = checks.study_name(options.study or (f"{preset.name}_small_scale" if small_scale else preset.name))
    files, held_out = file_checks.problem_files(options, notes)
    hub_models = model_checks.fetch_hub_models(options, notes)
    base_model = model_checks.model_folder("--base-model", options.base_model)
    small_base_model = (
        model_checks.model_folder("--small-base-model", options.small_base_model) if small_scale else None
    )
    generator = None if is_endpoint(options.generator) else model_checks.model_folder("--generator", options.generator)
    accesses = {flag: endpoint_options.endpoint_access(options, flag) for flag in ("--generator", "--judge")}
    reward_base = model_checks.model_folder("--reward-base", options.reward_base)
    preset = model_checks.with_few_shot_prompt(preset, options, notes)
    preset = generator_options.with_generator(preset, named, options, notes)
    learns_from_solutions = file_checks.learns_from_solutions(options)
    published_prm = model_checks.published_prm(options)
    labelled, labelled_paths = file_checks.labelled_files(options, files, held_out, notes)
    graded, graded_paths = file_checks.graded_files(options, files, held_out, notes)
    judge, labelling_prm = model_checks.judge(options), model_checks.labelling_prm(options)
    endpoint_options.refuse_unsent(preset, options)
    sources = checks.label_sources(options, preset, files is not None, labelled is not None)
    own = _own_verifiers(preset, sources, embedded=files is None and not preset.needs_files)
    verifiers = tuple(verifier_specs(options, own, cached=options.command != "run"))
    of_verifiers = [spec.access for spec in verifiers]
    endpoint_options.refuse_without_endpoint(options, [*accesses.values(), *of_verifiers], endpoint_options.FOR_STUDIES)
    hub_models |= {f"--verifier {spec.name}": ", ".join(spec.origins) for spec in verifiers if spec.origins}
    if small_scale:
        checks.small_scale_labeller(options, preset, sources, files is not None)
    if labelled is not None and "human" not in sources:
        notes.append("no PRM learns from --labelled-solutions: human is not among --label-sources")
    if preset.needs_files:
        generator_flag = "--base-model FOLDER" if small_scale else "--generator MODEL (or --base-model MODEL)"
        given = {
            "--train-problems FILE --test-problems FILE": files,
            generator_flag: options.generator or base_model,
            "--labelled-solutions FILE": labelled or published_prm or "human" not in sources or None,
        }
        if small_scale:
            given |= {"--small-base-model FOLDER": small_base_model}
            if labelling_prm:
                given |= dict.fromkeys((generator_flag, "--labelled-solutions FILE"), True)
        needs = " ".join(flag for flag, value in given.items() if value is None)
        if needs and options.command == "run":
            raise InputError(f"--preset {preset.name} needs {needs}")
        notes += [f"to run it, {preset.name} needs {needs}"] if needs else []
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
    accesses = {
        flag: access and dataclasses.replace(access, run=runner.run_id, root=store.root)
        for flag, access in accesses.items()
    }
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
        generator=generator,
        endpoint=accesses["--generator"],
        reward_base=reward_base,
        base_model=base_model,
        small_base_model=small_base_model,
        learns_from_solutions=learns_from_solutions,
        published_prm=published_prm,
        verifiers=endpoints.with_fingerprints(runner, verifiers),
        label_sources=sources,
        labelling_prm=labelling_prm,
        judge=accesses["--judge"] or judge,
        hub_models=hub_models,
        runner=runner,
        notes=tuple(notes),
    )


def _own_verifiers(preset: Preset, sources: Sequence[str], embedded: bool) -> tuple[str, ...]:
    """Return the names of the verifiers that a study has by itself."""
    ensembles = ENSEMBLES if preset.training_seeds > 1 else ()
    return ("prm", "orm", *ensembles, *(REFERENCES if embedded else ()), *(f"prm_{source}" for source in sources[1:]))


def read_placement(given: str) -> placements.Placement | None:
    """Return the placement of --placement, None for `auto`. Raises InputError."""
    if given == "auto":
        return None
    try:
        placement = placements.read(Path(given))
    except placements.PlacementError as error:
        raise InputError(f"--placement {error}") from error
    try:
        engines = placement.pools["engines"]
        engine_options.check(engines.options, engines.gpus, engines.nodes)
    except ValueError as error:
        raise InputError(f"--placement {given}: [engines.vllm]: {error}") from error
    options = engine_options.over_nodes(engines.options, engines.gpus, engines.nodes)
    spread = dataclasses.replace(engines, options=options)
    return dataclasses.replace(placement, pools={**placement.pools, "engines": spread})


def with_engine_options(preset: Preset, placement: placements.Placement | None, notes: list[str]) -> Preset:
    """Return the preset with the options of vLLM that a placement has and that can change tokens.

    notes: a line on them is added.
    """
    if placement is None:
        return preset
    engines = placement.pools["engines"]
    if engines.nodes > 1 and preset.sampling.engine != "vllm":
        raise InputError(
            f"--placement: [engines] nodes: vLLM alone runs over nodes, and {preset.sampling.engine} samples"
        )
    wanted = engine_options.of_key(engines.options)
    if not wanted:
        return preset
    if preset.sampling.engine != "vllm":
        raise InputError(
            f"--placement: [engines.vllm] {wanted[0][0]} is for vLLM, and {preset.sampling.engine} samples"
        )
    told = ", ".join(f"{name} = {value}" for name, value in wanted)
    notes.append(f"[engines.vllm] {told} can change tokens, so the keys of what is sampled have it")
    for path in SAMPLING_PATHS:
        preset = replaced(preset, f"{path}.engine_options", wanted)
    return preset


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
    if options.command == "plan" or options.show_prompt:
        for line in generator_options.first_prompt(study):
            print(printable(line, keep="\n"))
    if options.show_prompt:
        return 0
    with tracked(study, options.track if options.command == "run" else None, options.track_project):
        main(study)
    name_paths(study)
    return commands.show(study.runner, options, lambda: _cost(study, options.fits))


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


def _cost(study: Study, fits: str | None) -> tuple[commands.Columns, list[str]]:
    """Return the columns on cost of a plan's table, and the lines below it. fits: of --fits."""
    work = plan_cost.expected_work(study.runner, study.preset)
    columns, lines = plan_cost.columns(work, study.preset), plan_cost.footnote(study.runner, work, study.preset)
    if fits is None:
        return columns, lines
    gpus = plan_memory.read_gpus(fits)
    found = plan_memory.needs(study.runner, study.preset, gpus)
    return {**columns, **plan_memory.column(found)}, [*lines, *plan_memory.lines(found, gpus)]
