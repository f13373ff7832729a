"""The options that every flow shares, and the help that teaches them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from flows.presets import PRESETS, SEED

_EXAMPLES = """\
examples:
  python flows/full_study.py                                   the embedded study
  python flows/full_study.py --plan                            what would be computed, and what is there already
  python flows/full_study.py --samples-per-problem test=128    keeps the first 64 of each problem, adds 64
  python flows/full_study.py --seed 7 --study laptop-seed7     the whole study once more, everything fresh
  python flows/full_study.py --train-problems train.jsonl.gz --test-problems test.parquet --samples-per-problem 4
"""


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
