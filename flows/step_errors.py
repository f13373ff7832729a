#!/usr/bin/env python
"""Does a PRM find the first wrong step? ProcessBench's question (Zheng et al. 2024), of any PRM and rated solutions.

    python flows/step_errors.py --prm outputs/models/prm-… processbench_gsm8k.jsonl.gz

Each row is a solution: {"problem", "steps": [texts], "label": index of the first wrong step or -1}, or steps that are
rated one by one ({"text", "rating"}). F1 is the harmonic mean of two accuracies: the first error found exactly, and
nothing called wrong in a right solution. A step is called wrong from a P(negative) on; every threshold is reported, and
none chosen on the same solutions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data.rated_solutions import describe_rated, file_labels, file_solutions
from components.data.readers import fetch
from components.dataflow.datasets import Dataset
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.evaluation.first_error import StepErrorsConfig, first_errors, step_errors
from components.evaluation.score_quality import step_calibration
from components.report import main_study
from components.report.parts import named_interval, percent
from components.verifiers.published import CHAT_STYLES, OURS, STYLES
from components.verifiers.scoring import ScoringConfig, score
from flows.command_line import checks, cli, model_checks
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.studies.study_folder import errors_of, write_study


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run_and_report_errors(lambda: _parse(argv), evaluate)


def evaluate(options: argparse.Namespace) -> None:
    """Score the rated solutions of files by a PRM, and print how well it finds the first wrong step."""
    checks.error_rate(options.max_error_rate)
    files, paths, reports = describe_rated([fetch(name) for name in options.files], options.max_error_rate)
    for report in reports:
        print(printable(report.line("rated solutions")))
    prm = model_checks.model_folder("--prm", options.prm)
    if options.prm_style in CHAT_STYLES:
        model_checks.check_chat_template("--prm", options.prm)
    name = checks.study_name(options.study)
    store = checks.open_store(checks.store_root(options.root), begins=True)
    run = Runner(store, study=name, max_error_rate=options.max_error_rate)
    run.start_engine = lambda: cli.start_ray(run, options.verbose)

    solutions = run.table(file_solutions(files, paths))
    labels = run.table(file_labels(files, paths))
    [scores] = run.map(solutions, score(ScoringConfig(prm_style=options.prm_style), None, prm))
    config = StepErrorsConfig()
    found = run.table(step_errors(config), held_out_step_labels=labels, scores=scores)
    run.table(first_errors(config), held_out_step_labels=labels, scores=scores)
    run.table(step_calibration(), held_out_step_labels=labels, scores=scores)
    _write(run, found, scores)


def _write(run: Runner, found: Dataset, scores: Dataset) -> None:
    """Print F1 by source and threshold, and write the study's folder."""
    titles = f"{'source':<28}{'P(neg) from':>12}{'with error':>12}{'found %':>9}{'without':>9}{'kept %':>8}"
    lines = [f"{titles}  F1 % (95 % interval over problems)"]
    for row in main_study.records(run.store.read(found).to_pandas()):
        lines.append(
            f"{printable(row['source']):<28}{row['threshold']:>12g}{row['num_wrong']:>12,}{percent(row['accuracy_wrong']):>9}"
            f"{row['num_right']:>9,}{percent(row['accuracy_right']):>8}"
            f"  {named_interval(row, 'f1', 'f1')}"
        )
    causes = errors_of(run, [scores]).get("scores", {})
    notes = [f"{count} solutions have no scores and do not count: {cause}" for cause, count in causes.items()]
    write_study(run, {}, "\n".join(lines), notes=notes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="rated solutions (docs/own_data.md says in which formats)"
    )
    parser.add_argument("--prm", type=Path, required=True, metavar="FOLDER", help="the PRM, a Hugging Face folder")
    parser.add_argument(
        "--prm-style", default=OURS, choices=[OURS, *STYLES], help="whose conventions it follows (default: ours)"
    )
    parser.add_argument(
        "--max-error-rate", type=float, default=1.0, metavar="SHARE", help="of solutions without scores (default: 1)"
    )
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument("--study", default="step_errors", metavar="NAME", help="folder under ROOT/studies")
    parser.add_argument("--verbose", action="store_true", help="show what workers print")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
