"""The command line that every flow shares: options, checks before any work, Ray, and the closing summary."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from cluster import placements
from components.generation import SamplingConfig, engine_distribution, installed_engine
from components.labelled_solutions import LabelledFile, describe_labelled, read_labelled
from components.problems import InputError, ProblemFiles, check_disjoint, describe_file, read_problems
from components.runner import Runner
from components.stage import Model
from components.store import Store, StoreError, folder_digest
from flows.presets import PRESETS, Preset

_EXAMPLES = """\
examples:
  python flows/full_study.py                                   the embedded study
  python flows/full_study.py --plan                            what would be computed, and what is there already
  python flows/full_study.py --samples-per-problem test=128    keeps the first 64 of each problem, adds 64
  python flows/full_study.py --seed 7 --study laptop-seed7     the whole study once more, everything fresh
  python flows/full_study.py --train-problems train.jsonl.gz --test-problems test.parquet --samples-per-problem 4
"""


@dataclass(frozen=True)
class Study:
    """A checked command line: everything that a flow needs."""

    preset: Preset
    name: str
    files: ProblemFiles | None
    train_problems: Path
    test_problems: Path
    labelled: LabelledFile | None
    labelled_solutions: Path
    base_model: Model | None
    runner: Runner
    notes: tuple[str, ...]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and status 2, like every other refusal."""
        self.exit(2, f"error: {message}; see --help\n")


def parse(argv: Sequence[str] | None, description: str) -> argparse.Namespace:
    """The options; exits with status 2 and one line on a wrong one."""
    parser = _Parser(description=description, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = "; ".join(f"{preset.name}: {preset.about}" for preset in PRESETS.values())
    parser.add_argument("--preset", default="laptop", help=f"which numbers to use (default: laptop). {presets}")
    parser.add_argument(
        "--root", help="folder of the store, shared by all studies (default: outputs); delete it to forget everything"
    )
    parser.add_argument(
        "--study", metavar="NAME", help="folder under ROOT/studies for the results (default: the preset)"
    )
    parser.add_argument("--plan", action="store_true", help="say what is reused and what would be computed, then stop")
    parser.add_argument("--seed", type=int, help="of problems, samples and training alike (default: the preset's, 0)")
    parser.add_argument(
        "--samples-per-problem",
        nargs="+",
        metavar="[SPLIT=]N",
        default=[],
        help="samples per problem, for all splits or for train, test or ood alone; raising it keeps every full block "
        "(of 16) that is there",
    )
    parser.add_argument("--temperature", type=float, help="of sampling (default: the preset's)")
    parser.add_argument("--max-tokens", type=int, help="cap of a solution's tokens (default: the preset's)")
    parser.add_argument("--engine", choices=["vllm", "transformers"], help="default: vllm where it is installed")
    parser.add_argument("--verbose", action="store_true", help="show what Ray, vLLM and training workers print")
    files = parser.add_argument_group("your own problems (JSON Lines, also .gz, or Parquet)")
    files.add_argument("--train-problems", type=Path, metavar="FILE", help="problems whose solutions train the ORM")
    files.add_argument("--test-problems", type=Path, metavar="FILE", help="problems of the curves")
    files.add_argument("--problem-column", default="problem", metavar="NAME", help="default: problem")
    files.add_argument("--answer-column", default="answer", metavar="NAME", help="default: answer")
    files.add_argument("--max-problems", type=int, metavar="N", help="only the first N rows of each file")
    files.add_argument(
        "--labelled-solutions",
        type=Path,
        metavar="FILE",
        help="solutions whose steps are rated, to train the PRM on: rows of problem and steps "
        "[{text, rating: -1, 0 or 1}]; without it files of problems train the ORM alone",
    )
    files.add_argument(
        "--base-model",
        type=Path,
        metavar="FOLDER",
        help="Hugging Face folder of a causal language model to finetune as the generator; without one the tiny "
        "generator is trained on the embedded world",
    )
    return parser.parse_args(argv)


def open_study(options: argparse.Namespace) -> Study:
    """Check everything that can be checked before work starts. Raises InputError: what is wrong, where, how to mend."""
    notes: list[str] = []
    preset = PRESETS.get(options.preset)
    if preset is None:
        raise InputError(f"--preset {options.preset}: there is no such preset; use one of {', '.join(PRESETS)}")
    preset = _with_options(preset, options, notes)
    store = Store(_root(options.root))
    name = options.study or preset.name
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise InputError(f"--study {name}: use letters, digits, '-', '_' and '.'")
    if not options.plan:
        try:
            store.check_writable()
        except OSError as error:
            raise InputError(
                f"--root {store.root}: cannot be used: {error}; give a folder that can be written"
            ) from error
    files = _files(options)
    base_model = _base_model(options.base_model)
    labelled = _labelled(options, files)
    if preset.needs_files:
        given = {
            "--train-problems FILE --test-problems FILE": files,
            "--base-model FOLDER": base_model,
            "--labelled-solutions FILE": labelled,
        }
        needs = " ".join(flag for flag, value in given.items() if value is None)
        if needs and not options.plan:
            raise InputError(f"--preset {preset.name} needs {needs}")
        notes += [f"to run it, {preset.name} needs {needs}"] if needs else []
    runner = Runner(store, plan_only=options.plan)
    runner.start_engine = lambda: start_ray(runner, options.verbose)
    return Study(
        preset=preset,
        name=name,
        files=files,
        train_problems=options.train_problems,
        test_problems=options.test_problems,
        labelled=labelled,
        labelled_solutions=options.labelled_solutions,
        base_model=base_model,
        runner=runner,
        notes=tuple(notes),
    )


def _with_options(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
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
    preset = dataclasses.replace(preset, sampling=changed, few_shot=dataclasses.replace(preset.few_shot, engine=engine))
    return preset if options.seed is None else _reseeded(preset, options.seed)


def _reseeded(config: Any, seed: int) -> Any:
    """A copy of nested configs with every field named `seed` set."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name == "seed":
            changes["seed"] = seed
        elif dataclasses.is_dataclass(value):
            changes[field.name] = _reseeded(value, seed)
    return dataclasses.replace(config, **changes)


def _root(given: str | None) -> Path:
    """The store's folder. A job's working directory is a temporary copy: a relative root would be lost with it."""
    in_job_copy = "runtime_resources" in Path.cwd().parts
    if given is None:
        return Path.home() / "stepverify" / "outputs" if in_job_copy else Path("outputs")
    if "://" in given:
        raise InputError(f"--root {given}: only folders can hold a store in this version")
    if in_job_copy and not Path(given).is_absolute():
        raise InputError(f"--root {given}: inside a Ray job give an absolute folder; the job's own is thrown away")
    return Path(given)


def _files(options: argparse.Namespace) -> ProblemFiles | None:
    train, test = options.train_problems, options.test_problems
    if train is None and test is None:
        return None
    if train is None or test is None:
        raise InputError("--train-problems and --test-problems go together: give both")
    columns = (options.problem_column, options.answer_column, options.max_problems)
    files = ProblemFiles(describe_file(train, *columns), describe_file(test, *columns))
    check_disjoint(read_problems(train, files.train, "train"), read_problems(test, files.test, "test"))
    return files


def _labelled(options: argparse.Namespace, files: ProblemFiles | None) -> LabelledFile | None:
    path: Path | None = options.labelled_solutions
    if path is None:
        return None
    if files is None:
        raise InputError("--labelled-solutions goes with files of problems; the embedded problems have an exact rule")
    labelled = describe_labelled(path)
    known = {row["problem"] for row in read_problems(options.test_problems, files.test, "test")}
    for row in read_labelled(path):
        if row["problem"] in known:
            raise InputError(
                f"{path}: row {row['source_row']} labels a test problem; remove such rows, or the curves would "
                "measure memory"
            )
    return labelled


def _base_model(folder: Path | None) -> Model | None:
    if folder is None:
        return None
    if not (folder / "config.json").is_file():
        raise InputError(f"--base-model {folder}: no model is there (a Hugging Face folder with config.json is wanted)")
    for what, patterns in {"weights": ("*.safetensors", "*.bin"), "tokenizer": ("tokenizer*",)}.items():
        if not any(list(folder.glob(pattern)) for pattern in patterns):
            raise InputError(f"--base-model {folder}: it has no {what} ({' or '.join(patterns)})")
    return Model(folder.absolute(), folder_digest(folder)[0])


def start_ray(runner: Runner, verbose: bool) -> None:
    """Join the cluster that RAY_ADDRESS names (a job's is set by Ray), else start Ray on this machine."""
    import ray
    import ray.data

    if ray.is_initialized():
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    if os.environ.get("RAY_ADDRESS"):
        ray.init(address="auto", logging_level=logging.WARNING, log_to_driver=verbose)
    else:
        ray.init(
            address="local",
            num_cpus=max(2, os.cpu_count() or 2),
            include_dashboard=False,
            logging_level=logging.WARNING,
            log_to_driver=verbose,
        )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = 0
    context.print_on_execution_start = False
    runner.pools = placements.auto(ray.cluster_resources())


def run(main: Any, argv: Sequence[str] | None, description: str) -> int:
    """Run a flow's main(study); exit status 2 and one line for input that cannot be used."""
    try:
        study = open_study(parse(argv, description))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for note in study.notes:
        print(f"note: {note}")
    try:
        main(study)
    except (InputError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def sampling_engine(config: SamplingConfig) -> dict[str, str]:
    """Engine name and version, for the summary."""
    from importlib.metadata import version

    distribution = engine_distribution(config.engine)
    return {"name": config.engine, "distribution": distribution, "version": version(distribution)}


def write_json(store: Store, path: Path, value: object) -> None:
    store.put(path, (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
