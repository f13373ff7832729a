#!/usr/bin/env python
"""The evaluation alone, of anyone's scored samples: exact best-of-N for every N, votes, intervals over problems, a
verdict in words, and report.html.

    python flows/evaluate.py samples.jsonl.gz

Each row is a sample: {"problem", "answer", "is_correct", and a number per verifier in columns that end in _score}, in
JSON Lines, CSV, Parquet and more. Rows that hold all samples of a problem (search-and-learn, Qwen, RLHFlow) are
unfolded, and answers are extracted from texts where there are none. The paper's released `scored-test-samples.jsonl` is
such a file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from components.data.readers import fetch
from components.data.scored_columns import ScoredFile
from components.data.scored_description import describe_scored
from components.data.scored_samples_file import file_samples, scored_file_attributes, scored_file_samples
from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.evaluation.answer_clusters import CandidatesConfig, candidates
from components.evaluation.curves import BandConfig, EstimationConfig
from components.evaluation.distinct_samples import distinct_samples
from components.report import main_study
from components.report.verdicts import verdicts as verdicts_in_words
from components.sampling.grading import GRADER_VERSION
from flows.command_line import checks
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.studies import report_file, results, study_folder, summary
from flows.studies.file_notes import notes_of_samples
from flows.studies.study_folder import as_json, errors_of, write_study


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run_and_report_errors(lambda: _parse(argv), evaluate)


def evaluate(options: argparse.Namespace) -> None:
    """Compute the tables of results of a file of scored samples, and write the study's folder."""
    columns = {"problem": options.problem_column, "answer": options.answer_column, "correct": options.correct_column}
    checks.error_rate(options.max_error_rate)
    path = fetch(options.file)
    place = options.file if ":" in options.file else str(path.resolve())
    file, report = describe_scored(
        path, columns, options.scores, options.samples_per_problem, GRADER_VERSION, options.max_error_rate
    )
    given_name = None if options.study is None else checks.study_name(options.study)
    store = checks.open_store(checks.store_root(options.root), begins=True)
    name = given_name or study_folder.name_of_file(store, place)
    print(printable(report.line))
    run = Runner(store, study=name, max_error_rate=options.max_error_rate)

    samples = run.table(file_samples(file, path))
    answers = run.table(candidates(CandidatesConfig(GRADER_VERSION)), grades=samples)
    scored = run.table(scored_file_samples(file), file_samples=samples, candidates=answers)
    attributes = run.table(scored_file_attributes(file), file_samples=samples)
    config = EstimationConfig(band=BandConfig() if options.paper_band else None)
    results.compute(run, config, scored, attributes)
    run.table(distinct_samples(), solutions=samples, grades=samples)
    _write(run, samples, file, place, report.notes)


def _write(run: Runner, samples: Dataset, file: ScoredFile, place: str, notes: list[str]) -> None:
    """Print the results and write the study's folder. Raises StudyError where no sample can be used.

    place: the file's path or URL. notes: on the file as a whole.
    """
    frames = report_file.frames(run, report_file.RESULTS)
    curves = frames["best_of_n"]
    if curves.empty:
        raise StudyError("no problem has a sample that can be used; see the errors of file_samples in the store")
    num_problems = int(curves["num_problems"].max())
    verdicts = verdicts_in_words(frames["comparisons"], num_problems) if file.slots > 1 else []
    notes = [*notes, *notes_of_samples(run, samples, file)]
    details = dict.fromkeys(("problems", "solutions", "grades", "scores"), samples)
    content = {
        "study": run.study,
        "file": place,
        "num_test_problems": num_problems,
        "verdicts": verdicts,
        "notes": notes,
    }
    content |= summary.of_results(frames) | {"errors": errors_of(run, {samples.name: samples})}
    files = {
        "report.html": report_file.results_page(run, frames, verdicts, notes, [], 0, details),
        "summary.json": as_json(content),
        "best_of_n.png": main_study.picture(curves, f"{run.study}: {num_problems} problems"),
    }
    shown = main_study.table(curves, "test", frames["distinct_samples"])
    text = f"% of problems solved by the pick out of N samples\n{shown}"
    write_study(run, files, text, verdicts, notes)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "file",
        metavar="FILE",
        help="scored samples: JSON Lines, JSON, CSV, Parquet or Arrow, also compressed, a folder or a glob of them, "
        "s3:// or hub:",
    )
    parser.add_argument(
        "--scores",
        nargs="+",
        default=[],
        metavar="COLUMN",
        help="columns of scores (default: all that end in _score, and score)",
    )
    parser.add_argument("--problem-column", metavar="NAME", help="default: problem")
    parser.add_argument(
        "--answer-column",
        metavar="NAME",
        help="the samples' answers (default: answer, or else given_answer, prediction and the like; where the file has "
        "none, they are extracted from its texts); none: leave voting out",
    )
    parser.add_argument(
        "--correct-column",
        metavar="NAME",
        help="default: is_correct; where the file has none, answers are graded against ground_truth_answer",
    )
    parser.add_argument(
        "--samples-per-problem",
        type=int,
        metavar="M",
        help="slots of each problem, those that the file leaves out being empty (default: the most that a problem has)",
    )
    parser.add_argument("--paper-band", action="store_true", help="the released evaluation's 400 shuffles too")
    parser.add_argument("--max-error-rate", type=float, default=0.01, metavar="SHARE", help="default: 0.01")
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument("--study", metavar="NAME", help="folder under ROOT/studies (default: the file's name)")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
