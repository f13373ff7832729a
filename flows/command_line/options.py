"""The options that every flow shares, and the help that teaches them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from components.data.problem_files import ANSWER_FORMATS
from components.dataflow.plain_text import printable
from components.labels.active_learning import POLICIES
from components.statistics.score_reduction import NEUTRALS, REDUCTIONS
from components.text.segmentation import RULES
from components.verifiers.published import OURS, STYLES
from flows.presets.presets import PRESETS, SEED
from flows.studies.label_source_names import SOURCES

COMMANDS = {
    "run": "compute what is not there, and write the results (the default)",
    "plan": "say what is reused, what would be computed, and which field made it so; nothing runs",
    "status": "what is there of each stage, since when, and whether its code changed since",
    "explain": "with a STAGE: its recipe, its inputs, and what differs from the nearest earlier one",
    "verify": "check every record, shard and model of the store; --deep every byte, --repair puts what is bad aside",
    "gc": "list what no kept run needs (--delete removes it)",
}

_EXAMPLES = """\
examples:
  python flows/full_study.py                                   the embedded study
  python flows/full_study.py plan                              what would be computed, and what is there already
  python flows/full_study.py explain solutions --temperature 1 why that would be computed
  python flows/full_study.py verify --deep --root s3://bucket/studies
  python flows/full_study.py --samples-per-problem test=128    keeps the first 64 of each problem, adds 64
  python flows/full_study.py --seed 7 --study laptop-seed7     the whole study once more, everything fresh
  python flows/full_study.py --training-seeds 3                three ORMs and PRMs: the noise of training, apart
  python flows/full_study.py --preset label_sources            who should rate the steps?
  python flows/full_study.py --train-problems train.jsonl.gz --test-problems test.parquet --samples-per-problem 4
"""


_SMALL_SCALE_EXAMPLES = """\
examples:
  python flows/small_scale.py                            the embedded study: figure 4 of the paper, on a laptop
  python flows/small_scale.py plan                       what the main study's store already has of it
  python flows/small_scale.py --labeller rule            the exact rule labels, in place of the large PRM
  python flows/small_scale.py --policies active --solutions-per-problem 1 4 16 --training-seeds 5
  python flows/export.py --study laptop_small_scale --format labelling_queue --out queue.jsonl
"""


class Parser(argparse.ArgumentParser):
    """What every flow parses its command line with."""

    def error(self, message: str) -> NoReturn:
        """One line and status 2, like every other refusal."""
        self.exit(2, f"error: {printable(message)}; see --help\n")


MoreOptions = Callable[[argparse.ArgumentParser], None]


def parse(argv: Sequence[str] | None, description: str, more: MoreOptions | None = None) -> argparse.Namespace:
    """The options. more: adds those of one flow alone. Exits with status 2 and one line on a wrong one."""
    parser = Parser(description=description, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    presets = "; ".join(f"{preset.name}: {preset.about}" for preset in PRESETS.values())
    commands = ". ".join(f"{name}: {about}" for name, about in COMMANDS.items())
    parser.add_argument("command", nargs="?", default="run", choices=COMMANDS, metavar="COMMAND", help=commands)
    parser.add_argument("stage", nargs="?", metavar="STAGE", help="for explain")
    parser.add_argument("--preset", default="laptop", help=f"which numbers to use (default: laptop). {presets}")
    parser.add_argument(
        "--root",
        help="the store, shared by all studies: a folder (default: outputs) or a URL (s3://bucket/prefix, with the "
        "extra `s3` installed; credentials and AWS_ENDPOINT_URL from the environment)",
    )
    parser.add_argument(
        "--study", metavar="NAME", help="folder under ROOT/studies for the results (default: the preset)"
    )
    parser.add_argument("--plan", action="store_true", help="the same as the command plan")
    parser.add_argument("--only", metavar="STAGE", help="compute this stage alone, from what is there")
    parser.add_argument(
        "--max-error-rate",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="share of a stage's rows that may have errors; more stop the study (default: 0.01); they are kept",
    )
    parser.add_argument("--seed", type=int, help=f"of problems, samples and training alike (default: {SEED})")
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
    parser.add_argument(
        "--segmentation",
        choices=RULES,
        help="how samples are cut into steps: by lines (default, as the generator learns to write them), blank lines, "
        "sentences, or auto: whatever the text shows; for a generator that was not finetuned here",
    )
    parser.add_argument("--engine", choices=["vllm", "transformers"], help="default: vllm where it is installed")
    parser.add_argument("--verbose", action="store_true", help="show what Ray, vLLM and training workers print")
    verifiers = parser.add_argument_group("reward models")
    verifiers.add_argument(
        "--training-seeds",
        type=int,
        metavar="K",
        help="train K ORMs and PRMs on the same solutions; results are means over them, with their spread "
        "(default: the preset's)",
    )
    verifiers.add_argument(
        "--learning-rates",
        type=float,
        nargs="+",
        metavar="RATE",
        help="try each rate for both reward models, and go on with the one that does best on held-out train problems",
    )
    verifiers.add_argument(
        "--step-alternatives",
        type=int,
        metavar="K",
        help="train the PRM also on K alternatives to each solution's right steps, a digit changed, rated by the "
        "embedded world's rule (default: the preset's; 0: the same solutions as the ORM and no more)",
    )
    verifiers.add_argument("--reduction", choices=REDUCTIONS, help="of step probabilities to prm_score (product)")
    verifiers.add_argument("--neutral", choices=NEUTRALS, help="how prm_score counts a neutral step (positive)")
    verifiers.add_argument(
        "--paper-band",
        action="store_true",
        help="compute best-of-N by the released evaluation's 400 shuffles too, with the band of figure 3",
    )
    verifiers.add_argument(
        "--prm", type=Path, metavar="FOLDER", help="a published PRM to compare with, in place of training one"
    )
    verifiers.add_argument("--prm-style", choices=STYLES, help="whose conventions FOLDER follows")
    _add_label_sources(parser)
    placement = parser.add_argument_group("where the work runs (it never changes what is computed, or its key)")
    placement.add_argument(
        "--placement",
        default="auto",
        metavar="auto|FILE",
        help="how many engines, graders, scorers and training workers, and what each holds: auto (default) goes by "
        "what the cluster has, and says what it chose; or a TOML file with tables [engines], [graders], [scorers] and "
        "[training] (see README: On a cluster)",
    )
    placement.add_argument(
        "--sharding",
        choices=["ddp", "fsdp"],
        help="how training workers share a model: each holds all of it, or a part (FSDP2); equal to rounding (default: "
        "the placement's, of auto ddp)",
    )
    upkeep = parser.add_argument_group("upkeep of the store (verify, gc)")
    upkeep.add_argument("--deep", action="store_true", help="verify: read and hash every byte")
    upkeep.add_argument("--repair", action="store_true", help="verify: move what is bad to quarantine/")
    upkeep.add_argument("--delete", action="store_true", help="gc: remove what is listed, for good")
    upkeep.add_argument(
        "--grace-days", type=float, default=7, metavar="D", help="gc: keep all that is younger (default: 7)"
    )
    upkeep.add_argument(
        "--keep-runs", type=int, default=1, metavar="K", help="gc: finished runs to keep of each study (default: 1)"
    )
    upkeep.add_argument(
        "--delete-everything",
        action="store_true",
        help="gc: go on in a store without any record of a run, where nothing says what is needed",
    )
    _add_files(parser)
    if more is not None:
        more(parser)
    options = parser.parse_args(argv)
    if options.plan:
        options.command = "plan"
    if (options.command == "explain") != (options.stage is not None):
        parser.error("explain takes the name of a STAGE, and nothing else does")
    return options


def add_small_scale(parser: argparse.ArgumentParser) -> None:
    """The options of the small-scale study, and its own examples."""
    parser.epilog = _SMALL_SCALE_EXAMPLES
    group = parser.add_argument_group(
        "the small-scale study",
        "The labeller is the main study's PRM, trained by the same stages (all options above are of these), or "
        "--labelling-prm FOLDER, or the embedded world's exact rule.",
    )
    group.add_argument("--labeller", choices=["prm", "rule"], help="who labels the small generator's solutions (prm)")
    group.add_argument(
        "--solutions-per-problem",
        type=int,
        nargs="+",
        metavar="N",
        help="the sizes: so many solutions per problem are labelled (default: the preset's)",
    )
    group.add_argument(
        "--policies",
        nargs="*",
        choices=[*(name for name in POLICIES if name != "uniform"), "iterated"],
        metavar="POLICY",
        help="ways to choose what to label, besides the first solutions of each problem: "
        + "; ".join(f"{name}: {about}" for name, about in POLICIES.items() if name != "uniform")
        + "; iterated: active, in rounds, with the selector trained anew after each (default: all; none: no names)",
    )
    group.add_argument("--pool", type=int, metavar="N", help="solutions per train problem to choose from")
    group.add_argument("--best-of", type=int, metavar="N", help="samples per test problem")
    group.add_argument(
        "--small-base-model",
        type=Path,
        metavar="FOLDER",
        help="what the small generator is finetuned from; without it a tiny one is trained on the embedded world",
    )


def _add_label_sources(parser: argparse.ArgumentParser) -> None:
    sources = parser.add_argument_group("where step labels come from")
    sources.add_argument(
        "--label-sources",
        nargs="+",
        choices=SOURCES,
        metavar="SOURCE",
        help="one or several, each with a PRM of its own, the first one's called prm: "
        + "; ".join(f"{name}: {about}" for name, about in SOURCES.items())
        + " (default: the preset's; of files of problems, human where there are labelled solutions, else none)",
    )
    sources.add_argument("--rollouts-per-step", type=int, metavar="K", help="continuations of each step (default: 8)")
    sources.add_argument("--labelling-prm", type=Path, metavar="FOLDER", help="the PRM of the source prm")
    sources.add_argument(
        "--labelling-prm-style", choices=[OURS, *STYLES], default=OURS, help="whose conventions it follows"
    )
    sources.add_argument("--judge", type=Path, metavar="FOLDER", help="the instruction model of the source judge")
    sources.add_argument(
        "--judge-prompt", type=Path, metavar="FILE", help="its prompt, with {problem} and {steps} (default: ours)"
    )
    sources.add_argument(
        "--judge-structured",
        action="store_true",
        help="hold its whole answer to the form of a verdict (it cannot think before it then)",
    )


def _add_files(parser: argparse.ArgumentParser) -> None:
    files = parser.add_argument_group(
        "your own problems and solutions",
        "A FILE is JSON Lines (also .gz), Parquet, the folder of MATH as it was released, s3://bucket/file, or "
        "hub:DATASET[:CONFIG]:SPLIT.",
    )
    files.add_argument("--train-problems", metavar="FILE", help="problems whose solutions train the ORM")
    files.add_argument("--test-problems", metavar="FILE", help="problems of the curves")
    files.add_argument(
        "--ood-problems",
        metavar="FILE",
        help="problems unlike those (out of distribution, table 1): results stand apart, by the column `source`",
    )
    files.add_argument("--problem-column", metavar="NAME", help="default: problem, or else question")
    files.add_argument("--answer-column", metavar="NAME", help="default: answer, or else solution")
    files.add_argument(
        "--answer-format",
        choices=ANSWER_FORMATS,
        help="where in the answer column the answer is: "
        + "; ".join(f"{name}: {about}" for name, about in ANSWER_FORMATS.items())
        + " (default: found out from the first row)",
    )
    files.add_argument("--max-problems", type=int, metavar="N", help="only the first N rows of each file")
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
        help="solutions whose steps are rated, to train the PRM on: PRM800K's own files, or rows of problem and steps "
        "[{text, rating: -1, 0 or 1}]; without it files of problems train the ORM alone",
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
        metavar="FOLDER",
        help="Hugging Face folder of a causal language model to finetune as the generator; without one the tiny "
        "generator is trained on the embedded world",
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
