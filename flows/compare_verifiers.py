#!/usr/bin/env python
"""Which verifier ranks these samples better? Any verifiers on the very same samples: exact best-of-N for every N,
votes, paired differences with intervals, and a verdict in words.

    python flows/compare_verifiers.py samples.jsonl --verifier prm=outputs/models/prm-1a2b \\
        --verifier qwen=models/Qwen2.5-Math-PRM-7B,style=qwen_prm --verifier short=length

SAMPLES is a file of samples, scored or not, or the folder of a finished study. Each verifier reads each sample once:
one more verifier, more samples of a study, or more problems at the end of a file, compute what is new.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.dataflow.errors import InputError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.evaluation.curves import EstimationConfig
from components.evaluation.distinct_samples import distinct_samples
from components.text.segmentation import AUTO, RULES
from flows.command_line import checks, cli, endpoint_options, ray_cluster, sample_checks, verifier_options
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.command_line.verifier_specs import verifier_specs
from flows.studies import compared_sources, comparison, endpoints, results, study_folder
from flows.studies.file_notes import notes_of_samples
from flows.study import VerifierSpec


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run_and_report_errors(lambda: _parse(argv), compare_verifiers)


def compare_verifiers(options: argparse.Namespace) -> None:
    """Score the samples by every verifier, compute the tables of results, and write the study's folder."""
    checks.error_rate(options.max_error_rate)
    ray_cluster.check_installed()

    # The samples: of a finished study, or of a file. Everything is checked before any work.
    study = sample_checks.study_of(options.samples, options.root)
    file = sample_checks.describe_file(options) if study is None else None
    given = file.verifiers if file is not None else ()
    if study is not None:
        given = compared_sources.verifiers_of_study(study)
    specs: Sequence[VerifierSpec] = verifier_specs(options, given)
    endpoint_options.refuse_without_endpoint(options, [spec.access for spec in specs], endpoint_options.FOR_JUDGES)
    comparison.tell_origins(specs)
    if not specs and not given:
        raise InputError("there is nothing to compare: give --verifier NAME=SOURCE, once for each verifier")
    store = study.store if study is not None else checks.open_store(checks.store_root(options.root), begins=True)
    place = file.place if file is not None else store.files.url(f"studies/{study.name}") if study else ""
    name = checks.study_name(options.study or study_folder.name_of_file(store, place, "_verifiers"))
    run = Runner(store, study=name, max_error_rate=options.max_error_rate)
    run.start_engine = lambda: cli.start_ray(run, options.verbose)
    specs = endpoints.with_fingerprints(run, specs)
    if file is not None:
        print(printable(file.report.line))
        samples = compared_sources.of_file(run, file)
    elif study is not None:
        samples = compared_sources.of_study(study)

    # Each verifier reads each solution once. Then all scores stand side by side.
    tables = comparison.read_samples(run, samples.solutions, specs)
    joined = comparison.side_by_side(run, given, specs, samples.graded, samples.solutions, tables)

    # Best-of-N, exactly, with intervals over problems, and what is behind it.
    results.compute(run, EstimationConfig(), joined, samples.attributes)
    run.table(distinct_samples(), solutions=samples.solutions, grades=samples.grades)
    if samples.labels is not None:
        comparison.look_at_steps(run, specs, tables, samples.labels, samples.read)
    notes = [*file.report.notes, *notes_of_samples(run, samples.grades, file.file)] if file is not None else []
    comparison.write(run, place, specs, tables, samples, notes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "samples",
        metavar="SAMPLES",
        help="a file of samples (as of evaluate.py, scored or not), s3:// or hub:, or a finished study's folder",
    )
    verifier_options.add_verifier(parser)
    endpoint_options.add_endpoint(parser)
    parser.add_argument("--segmentation", default=AUTO, choices=RULES, help="how texts are cut into steps (auto)")
    parser.add_argument(
        "--scores", nargs="+", default=[], metavar="COLUMN", help="columns of scores in SAMPLES (default: all …_score)"
    )
    parser.add_argument("--problem-column", metavar="NAME", help="default: problem")
    parser.add_argument("--answer-column", metavar="NAME", help="default: answer, or what evaluate.py would take")
    parser.add_argument("--correct-column", metavar="NAME", help="default: is_correct; else answers are graded here")
    parser.add_argument("--samples-per-problem", type=int, metavar="M", help="slots of each problem")
    parser.add_argument(
        "--max-error-rate", type=float, default=0.01, metavar="SHARE", help="of samples without a score (0.01)"
    )
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument(
        "--study", metavar="NAME", help="folder under ROOT/studies (default: SAMPLES' name, _verifiers)"
    )
    parser.add_argument("--verbose", action="store_true", help="show what workers print")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
