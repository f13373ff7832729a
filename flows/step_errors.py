#!/usr/bin/env python
"""Does a PRM find the first wrong step? ProcessBench's question (Zheng et al. 2024), of any PRM and rated solutions.

    python flows/step_errors.py --prm outputs/models/prm-… processbench_gsm8k.jsonl.gz
    python flows/step_errors.py processbench_gsm8k.jsonl.gz --verifier qwen=models/Qwen2.5-Math-PRM-7B,style=qwen_prm \\
        --verifier judge=judge:models/instruct,votes=8

Each row is a solution: {"problem", "steps": [texts], "label": index of the first wrong step or -1}, or steps that are
rated one by one ({"text", "rating"}). F1 is the harmonic mean of two accuracies: the first error found exactly, and
nothing called wrong in a right solution. A step is called wrong from a P(negative) on; every threshold is reported, and
none chosen on the same solutions. Of each --verifier the likeliest first error is called too: of a judge's verdicts
that of the most.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data.rated_solutions import describe_rated, file_labels, file_solutions
from components.data.readers import fetch
from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.evaluation.first_error import StepErrorsConfig, first_errors, step_errors
from components.evaluation.score_quality import step_calibration
from components.verifiers.scoring import ScoringConfig, score
from components.verifiers.style import OURS, style_settings
from flows.command_line import checks, cli, endpoint_options, model_checks, verifier_options
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.command_line.verifier_specs import verifier_specs
from flows.studies import comparison, endpoints
from flows.studies.study_folder import errors_of, write_study
from flows.study import VerifierSpec


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run_and_report_errors(lambda: _parse(argv), evaluate)


def evaluate(options: argparse.Namespace) -> None:
    """Score the rated solutions of files by PRMs and judges, and print how well each finds the first wrong step."""
    checks.error_rate(options.max_error_rate)
    specs: Sequence[VerifierSpec] = verifier_specs(options, ())
    endpoint_options.refuse_without_endpoint(options, [spec.access for spec in specs], endpoint_options.FOR_JUDGES)
    comparison.tell_origins(specs)
    if options.prm is not None:
        options.prm, _ = model_checks.hub_or_folder("--prm", str(options.prm), cached=False)
    if options.prm is None and not specs:
        raise InputError("give --prm FOLDER, or --verifier NAME=SOURCE, once for each verifier")
    for spec in specs:
        if not spec.rates_steps:
            raise InputError(
                f"--verifier {spec.name}: it calls no step wrong: it scores whole solutions, or all tokens so far"
            )
    files, paths, reports = describe_rated([fetch(name) for name in options.files], options.max_error_rate)
    for report in reports:
        print(printable(report.line("rated solutions")))
    prm = None if options.prm is None else model_checks.prm_folder("--prm", options.prm, options.prm_style)
    name = checks.study_name(options.study)
    store = checks.open_store(checks.store_root(options.root), begins=True)
    run = Runner(store, study=name, max_error_rate=options.max_error_rate)
    run.start_engine = lambda: cli.start_ray(run, options.verbose)
    specs = endpoints.with_fingerprints(run, specs)

    solutions = run.table(file_solutions(files, paths))
    labels = run.table(file_labels(files, paths))
    scored: dict[str, Dataset] = {}
    lines = []
    if prm is not None:
        scoring = dataclasses.replace(ScoringConfig(), **style_settings(options.prm_style))
        [scores] = run.map(solutions, score(scoring, None, prm))
        config = StepErrorsConfig()
        found = run.table(step_errors(config), held_out_step_labels=labels, scores=scores)
        run.table(first_errors(config), held_out_step_labels=labels, scores=scores)
        run.table(step_calibration(), held_out_step_labels=labels, scores=scores)
        scored["prm"] = scores
        lines.append(comparison.first_errors_found(run.store.read(found).to_pandas().assign(verifier="prm")))
    if specs:
        tables = comparison.read_samples(run, solutions, specs)
        by_verifier = comparison.look_at_steps(run, specs, tables, labels, {})
        scored |= tables
        lines.append(comparison.first_errors_found(run.store.read(by_verifier).to_pandas()))
    notes = [
        f"{name}: {count} solutions have no scores and do not count: {cause}"
        for name, causes in errors_of(run, scored).items()
        for cause, count in causes.items()
    ]
    write_study(run, {}, "\n\n".join(lines), notes=notes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="rated solutions (docs/own_data.md says in which formats)"
    )
    parser.add_argument("--prm", type=Path, metavar="FOLDER", help="a PRM, a Hugging Face folder")
    verifier_options.add_style(parser, "--prm-style", OURS)
    verifier_options.add_verifier(parser)
    endpoint_options.add_endpoint(parser)
    parser.add_argument(
        "--max-error-rate", type=float, default=1.0, metavar="SHARE", help="of solutions without scores (default: 1)"
    )
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument("--study", default="step_errors", metavar="NAME", help="folder under ROOT/studies")
    parser.add_argument("--verbose", action="store_true", help="show what workers print")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
