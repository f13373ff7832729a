#!/usr/bin/env python
"""A finished study's rows for others' programs: TRL, Math-Shepherd's trainers, ProcessBench's evaluation, PRM800K's.

    # PRM training with TRL, on the study's labelled training solutions
    python flows/export.py --study laptop --format trl_stepwise --out steps.parquet
    # an outcome label per training solution
    python flows/export.py --study laptop --format trl_unpaired --out graded.jsonl.gz
    # where the PRM saw the first wrong step of each held-out solution: the first with P(negative) of 0.5 or more
    python flows/export.py --study laptop --format processbench_predictions --threshold 0.5 --out found.jsonl

    # what a selection chose, for people to label: PRM800K's rows, not rated yet
    python flows/export.py --study small_scale --format labelling_queue --out queue.jsonl

    datasets.load_dataset("parquet", data_files="steps.parquet")

formats, by the tables that they are made of:
  trl_stepwise, math_shepherd, prm800k    labelled_solutions, or else train solutions and their step_labels
  trl_unpaired                            solutions and grades, of the train split or that of --split
  processbench                            held-out solutions, held_out_step_labels and grades
  processbench_predictions                the same and scores: `prediction` and `match` beside each `label`
  labelling_queue                         a selection at its largest size, small_solutions and small_grades
  sample_set                              the graded samples of a split (test) with their scores, as a folder with a
                                          card, for others to compare verifiers on (compare_verifiers.py reads it)

A row that is bad, or that the format cannot hold, is left out and counted by cause; `components/data/export_formats.py`
says what each format loses. FILE is there whole at the end, over one of that name, or not at all.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

if not __package__:  # run as a file, which finds its packages from any folder
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pyarrow as pa

from components.data.export_file import ExportFile
from components.data.export_formats import LeftOut
from components.dataflow.datasets import Dataset
from components.dataflow.errors import InputError, StoreError
from components.dataflow.joined_rows import joined_rows
from components.dataflow.plain_text import printable
from components.dataflow.records import is_name
from components.dataflow.store import Store
from components.evaluation.first_error import StepErrorsConfig
from flows.command_line import checks
from flows.command_line.errors import run_and_report_errors
from flows.command_line.options import Parser
from flows.exporting import export_rows
from flows.exporting.export_rows import Convert, Lost, Row
from flows.exporting.queue_rows import queue_rows
from flows.exporting.sample_set import write_sample_set
from flows.study import StoredStudy, open_study
from schemas import exports
from schemas.tables import SAMPLE_KEY

SAMPLE_SET = "sample_set"


@dataclass
class Tally:
    """Counts of rows by what became of them, and of what the written rows have lost."""

    rows: int = 0
    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    lost: Lost = field(default_factory=Counter)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit status."""
    return run_and_report_errors(lambda: _parse(argv), export, after_failure="run it again")


def export(options: argparse.Namespace) -> None:
    """Write the file, and say what became of every row. Raises InputError, and StoreError for damaged tables."""
    study = open_study(checks.open_store(checks.store_root(options.root)), checks.study_name(options.study))
    if options.format == SAMPLE_SET:
        written = write_sample_set(study, options.split or "test", options.out)
        print(f"{written:,} samples written\n{printable(options.out)}")
        return
    schema, source, convert = _FORMATS[options.format]
    if options.step_labels is not None and source is not _labelled:
        raise InputError(f"--step-labels: {options.format} is not made of them")
    if options.split is not None and source is _labelled:
        raise InputError(f"--split: {options.format} is made of training solutions alone")
    if options.split is not None and source is _queued:
        raise InputError(f"--split: {options.format} is made of a selection, which is of training solutions")
    if options.selection is not None and source is not _queued:
        raise InputError(f"--selection: {options.format} is not made of one")
    if not 0 < options.threshold <= 1:
        raise InputError(f"--threshold {options.threshold:g}: must be over 0 and at most 1")
    shards = source(study, options)
    tally = Tally()
    with ExportFile(options.out, schema) as file:
        for rows in shards:
            file.write([row for row in (_converted(one, convert, options, tally) for one in rows) if row is not None])
        if not tally.written:
            causes = ", ".join(f"{cause} ({count})" for cause, count in tally.left_out.most_common(3))
            raise InputError(f"{options.out}: none of {tally.rows} rows can be written: {causes or 'there are none'}")
    _tell(options.out, tally)


def _converted(row: Row, convert: Convert, options: argparse.Namespace, tally: Tally) -> Row | None:
    """The row in its format, or None; counted either way."""
    tally.rows += 1
    try:
        if row["error"] is not None:
            raise InputError(f"row with an error: {row['error']}")
        if row.get("dropped") is not None:
            raise LeftOut(f"not used in the study: {row['dropped']}")
        made = convert(row, options, tally.lost)
    except (LeftOut, InputError) as error:  # digits are folded, so that like causes are counted together
        tally.left_out[re.sub(r"\d+", "#", str(error))] += 1
        return None
    tally.written += 1
    return made


def _tell(out: Path, tally: Tally) -> None:
    for cause, count in tally.left_out.most_common():
        print(f"- {count:,} rows left out: {printable(cause)}")
    for what, count in (+tally.lost).most_common():
        print(f"- {count:,} {printable(what)}")
    print(f"{tally.rows:,} rows = {tally.written:,} written + {tally.left_out.total():,} left out")
    print(printable(out))


# Rows, shard by shard -----------------------------------------------------------------------------------------------


def _labelled(study: StoredStudy, options: argparse.Namespace) -> Iterator[list[Row]]:
    rated = [name for name in study.index if name.endswith("_labels") and name != "held_out_step_labels"]
    if options.step_labels is not None:
        if options.step_labels not in rated:
            raise InputError(f"--step-labels {options.step_labels}: this study has {', '.join(rated) or 'none'}")
        return _joined(study.store, study.table("solutions").select(split="train"), study.table(options.step_labels))
    if "labelled_solutions" in study.index:
        return _joined(study.store, study.table("labelled_solutions"))
    if "step_labels" not in study.index and rated:
        raise InputError(f"--study {study.name}: say whose ratings with --step-labels: {', '.join(rated)}")
    if "step_labels" not in study.index:
        raise InputError(
            f"--study {study.name}: nobody rated its steps, it has neither labelled_solutions nor step_labels"
        )
    return _joined(study.store, study.table("solutions").select(split="train"), study.table("step_labels"))


def _graded(study: StoredStudy, options: argparse.Namespace) -> Iterator[list[Row]]:
    split = options.split or "train"
    return _joined(study.store, *(study.table(name).select(split=split) for name in ("solutions", "grades")))


def _stage_folder(path: str) -> str:
    """The name of the folder of a model's stage, e.g. generator-0123456789abcdef: its files are in one named by their
    content, or in that folder itself in stores of earlier versions."""
    *_, outer, inner = ["", *path.rstrip("/").split("/")]
    return outer if is_name("content", inner) else inner


def _held_out(study: StoredStudy, options: argparse.Namespace) -> Iterator[list[Row]]:
    names = ["solutions", "held_out_step_labels", "grades"]
    names += ["scores"] if options.format == "processbench_predictions" else []
    tables = [study.table(name).without(split="train") for name in names]
    if options.split is not None:
        tables = [table.select(split=options.split) for table in tables]
    generator = options.generator or _stage_folder(study.index.get("generator", study.name))
    return ([row | {"generator": generator} for row in rows] for rows in _joined(study.store, *tables))


def _queued(study: StoredStudy, options: argparse.Namespace) -> Iterator[list[Row]]:
    there = [name for name in study.index if name.startswith("selection")]
    if not there:
        raise InputError(f"--study {study.name}: it has no selection of solutions, which this format is made of")
    if options.selection not in (None, *there):
        raise InputError(f"--selection {options.selection}: this study has {', '.join(there)}")
    name = options.selection or next((one for one in there if one.startswith("selection_active")), there[0])
    tables = (study.table(one) for one in (name, "small_solutions", "small_grades"))
    return iter([queue_rows(study.store, *tables)])


def _joined(store: Store, *tables: Dataset) -> Iterator[list[Row]]:
    """The rows of one shard after another, with the columns of all tables, whose shards and rows are in the same order;
    `error` is the first that a table has. Raises StoreError where they are not."""
    if len({len(table.shards) for table in tables}) > 1:
        raise StoreError(f"{', '.join(table.name for table in tables)} are not cut alike: run the study to its end")
    for shards in zip(*(table.shards for table in tables), strict=True):
        loaded = {shard.path: store.read_shard(shard) for shard in shards}
        try:
            rows = joined_rows(loaded, SAMPLE_KEY)
        except ValueError as error:
            raise StoreError(str(error)) from error
        yield rows


Source = Callable[[StoredStudy, argparse.Namespace], Iterator[list[Row]]]
_FORMATS: dict[str, tuple[pa.Schema, Source, Convert]] = {
    "trl_stepwise": (exports.TRL_STEPWISE, _labelled, export_rows.trl_stepwise),
    "trl_unpaired": (exports.TRL_UNPAIRED, _graded, export_rows.trl_unpaired),
    "math_shepherd": (exports.MATH_SHEPHERD, _labelled, export_rows.math_shepherd),
    "processbench": (exports.PROCESSBENCH, _held_out, export_rows.processbench),
    "processbench_predictions": (exports.PROCESSBENCH_PREDICTIONS, _held_out, export_rows.processbench_predictions),
    "prm800k": (exports.PRM800K, _labelled, export_rows.prm800k),
    "labelling_queue": (exports.LABELLING_QUEUE, _queued, export_rows.labelling_queue),
}


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", help="the store: a folder (default: outputs) or a URL (s3://bucket/prefix)")
    parser.add_argument("--study", required=True, metavar="NAME", help="folder under ROOT/studies, e.g. laptop")
    parser.add_argument("--format", required=True, choices=[*_FORMATS, SAMPLE_SET], help="whose rows (see above)")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help="ends in .parquet, .jsonl or .jsonl.gz; of sample_set a new folder",
    )
    parser.add_argument(
        "--split", choices=["train", "test", "ood"], help="trl_unpaired: default train; processbench: all held-out"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=StepErrorsConfig().reported,
        metavar="P",
        help="a step is called wrong from this P(negative) on (default: 0.2, as paper §4.1)",
    )
    parser.add_argument(
        "--step-labels",
        metavar="TABLE",
        help="whose ratings, where a study has several sources: rollouts_labels, judge_labels … (default: "
        "labelled_solutions or step_labels)",
    )
    parser.add_argument(
        "--selection",
        metavar="TABLE",
        help="labelling_queue: which selection (default: the first called selection_active…, else selection…)",
    )
    parser.add_argument("--task", default="MATH", metavar="NAME", help="math_shepherd: MATH (default) or GSM8K")
    parser.add_argument(
        "--generator", metavar="NAME", help="processbench: default, the generator's folder in the store"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
