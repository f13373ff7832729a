"""The options that name a user's files and say how they are read; file_checks.py reads them."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.data.problem_columns import ANSWER_FORMATS
from flows.command_line.endpoint_options import add_endpoint, folder_or_address


def add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options that name files of problems and solutions, and the base model."""
    files = parser.add_argument_group(
        "your own problems and solutions",
        "A FILE is JSON Lines, a JSON array, CSV, Parquet or Arrow, also compressed; a folder or a glob of them; the "
        "folder of MATH as it was released; s3://bucket/file, or hub:DATASET[:CONFIG]:SPLIT. docs/files.md lists the "
        "formats of rows. `plan` says in a line how each file was read.",
    )
    files.add_argument("--train-problems", metavar="FILE", help="problems whose solutions train the ORM")
    files.add_argument("--test-problems", metavar="FILE", help="problems of the curves")
    files.add_argument(
        "--ood-problems",
        metavar="FILE",
        help="problems unlike those (out of distribution, table 1): results stand apart, by the column `source`",
    )
    files.add_argument(
        "--problem-column",
        metavar="[SPLIT=]NAME",
        help="of all files, or of that of train, test or ood alone; a dotted name goes into objects (default: problem, "
        "or else question)",
        nargs="+",
        default=[],
    )
    files.add_argument(
        "--answer-column",
        metavar="[SPLIT=]NAME",
        help="likewise (default: answer, or else expected_answer, final_answer or solution)",
        nargs="+",
        default=[],
    )
    files.add_argument(
        "--answer-format",
        metavar="[SPLIT=]FORMAT",
        help="where in the answer column the answer is: "
        + "; ".join(f"{name}: {about}" for name, about in ANSWER_FORMATS.items())
        + " (default: found out from the rows)",
        nargs="+",
        default=[],
    )
    files.add_argument(
        "--max-problems",
        metavar="[SPLIT=]N",
        help="only the first N rows of each file, or of one",
        nargs="+",
        default=[],
    )
    files.add_argument(
        "--contaminated",
        choices=["stop", "drop"],
        default="stop",
        help="what to do when a train problem, or that of a labelled or graded solution, is an evaluation problem, "
        "spacing and LaTeX aside: stop before any work (default), or leave it out of all training; near ones are "
        "listed either way",
    )
    files.add_argument(
        "--labelled-solutions",
        nargs="+",
        default=[],
        metavar="FILE",
        help="solutions whose steps are rated, to train the PRM on: PRM800K's own files, rows of problem and steps "
        "[{text, rating: -1, 0 or 1}], or those of TRL, Math-Shepherd, OpenRLHF, RLHFlow, ProcessBench and others; "
        "without it files of problems train the ORM alone",
    )
    files.add_argument(
        "--graded-solutions",
        nargs="+",
        default=[],
        metavar="FILE",
        help="solutions with their outcome, to train the ORM on in place of samples of the train problems: rows of "
        "problem, text and is_correct, or TRL's prompt, completion and label",
    )
    files.add_argument(
        "--base-model",
        type=Path,
        metavar="MODEL",
        help="causal language model to finetune as the generator: a Hugging Face folder, or hub:ORG/NAME, maybe with "
        "@REVISION; without one the tiny generator is trained on the embedded world",
    )
    files.add_argument(
        "--format-from",
        choices=["few_shot", "solutions"],
        default="few_shot",
        help="what the base model learns the format from: its own right few-shot samples (the default), or the "
        "train problems' own solutions (a column `solution`, or the text before #### in the answer)",
    )
    files.add_argument(
        "--few-shot-prompt",
        choices=["auto", "chat", "plain"],
        default="auto",
        help="how few-shot samples are asked for: in a turn of the base model's chat template, or as text to continue "
        "(auto: by the template where the tokenizer has one)",
    )


def add_generator(parser: argparse.ArgumentParser) -> None:
    """Add the options for a generator that is sampled as it is."""
    group = parser.add_argument_group(
        "your own generator, sampled as it is",
        "An instruct or a reasoning model that nothing is finetuned of: docs/own_data.md tells the whole.",
    )
    group.add_argument(
        "--generator",
        type=folder_or_address,
        metavar="MODEL",
        help="a model that was taught to chat, sampled as it is by its own chat template, with the temperature and the "
        "like of its generation_config unless they are given: a Hugging Face folder, hub:ORG/NAME, or "
        "http(s)://HOST/v1#MODEL behind a server that speaks OpenAI's interface",
    )
    add_endpoint(group)
    group.add_argument(
        "--reward-base",
        type=Path,
        metavar="MODEL",
        help="what the ORM and the PRM start from, a folder or hub:ORG/NAME (default: --generator itself)",
    )
    group.add_argument(
        "--instruction",
        type=Path,
        metavar="FILE",
        help="what --generator is told in the user's turn, with {problem} (default: the problem, and to reason step by "
        "step and put the final answer in a box)",
    )
    group.add_argument(
        "--system-prompt", type=Path, metavar="FILE", help="the system's turn before it (default: the template's own)"
    )
    group.add_argument(
        "--thinking-markers",
        nargs=2,
        metavar=("OPEN", "CLOSE"),
        help="between what texts --generator thinks before it answers (default: those of its template or tokenizer, as "
        "<think> </think>)",
    )
    group.add_argument(
        "--max-thinking-tokens",
        type=int,
        metavar="N",
        help="the most tokens of its thinking, besides --max-tokens of its answer; a longer one is cut and has no "
        "answer (default: 16384, or as many as the model reads); 0: thinking stays in the text",
    )
    group.add_argument(
        "--steps-of",
        choices=["text", "thinking", "both"],
        help="which steps the reward models see: those of what it says (default), of what it thinks, or both in turn; "
        "its answer is always that of what it says",
    )
    group.add_argument(
        "--show-prompt",
        action="store_true",
        help="print what --generator is told of the first problem, its tokens counted, and end; a plan shows it too",
    )
