"""The options that every flow shares, and the help that teaches them."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from components.dataflow.plain_text import printable
from flows.command_line import file_options, option_groups, verifier_options
from flows.command_line.plan_memory import add_fits

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
  python flows/full_study.py explain scores --temperature 1    why that would be computed
  python flows/full_study.py verify --deep --root s3://bucket/studies
  python flows/full_study.py --samples-per-problem test=128    keeps the first 64 of each problem, adds 64
  python flows/full_study.py --seed 7 --study laptop-seed7     the whole study once more, everything fresh
  python flows/full_study.py --training-seeds 3                three ORMs and PRMs: the noise of training, apart
  python flows/full_study.py --preset label_sources            who should rate the steps?
  python flows/full_study.py --train-problems train.jsonl.gz --test-problems test.parquet \\
      --samples-per-problem train=4 test=64
"""


_SMALL_SCALE_EXAMPLES = """\
examples:
  python flows/small_scale.py                            the embedded study: figure 4 of the paper, on a laptop
  python flows/small_scale.py plan                       what the main study's store already has of it
  python flows/small_scale.py --labeller rule            the exact rule labels, in place of the large PRM
  python flows/small_scale.py --policies active --solutions-per-problem 1 4 16 --training-seeds 5
  python flows/export.py --study laptop_small_scale --format labelling_queue --out queue.jsonl
"""


class _StoreOnce(argparse._StoreAction):
    """Keep an option's value, and refuse a second one: argparse keeps the last and drops the others unsaid."""

    is_given = False

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if option_string is not None and self.is_given:
            several = " several values follow one option" if self.nargs in ("+", "*") else " it takes one value"
            raise argparse.ArgumentError(self, f"is given twice;{several}")
        self.is_given = True
        super().__call__(parser, namespace, values, option_string)


class Parser(argparse.ArgumentParser):
    """The parser of every flow, made for one parsing: options are given by their whole names, each once, and an error
    is one line."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **{"allow_abbrev": False, **named})
        for name in (None, "store"):
            self.register("action", name, _StoreOnce)

    def error(self, message: str) -> NoReturn:
        """Exit with one line and status 2, like every other refusal."""
        self.exit(2, f"error: {printable(message)}; see --help\n")


MoreOptions = Callable[[argparse.ArgumentParser], None]


def parse(argv: Sequence[str] | None, description: str, more: MoreOptions | None = None) -> argparse.Namespace:
    """Return the options of a command line; without a command it is a run.

    more: adds those of one flow alone. Exits with status 2 and one line on a wrong one.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser(description, more)
    options_of_run = _commands_of(parser)["run"]._option_string_actions
    for at, word in enumerate(given[1:], start=1):
        before = options_of_run.get(given[at - 1])
        if word in COMMANDS and given[0] not in COMMANDS and (before is None or before.nargs == 0):
            given.insert(0, given.pop(at))  # behind other options: sub-parsers want the command first
            break
    first = given[0] if given else ""
    if first not in COMMANDS and first not in ("-h", "--help"):
        if first and not first.startswith("-"):
            near = difflib.get_close_matches(first, COMMANDS, n=1)
            Parser().error(
                f"{first}: there is no such command; "
                + (f"did you mean {near[0]}?" if near else f"commands are {', '.join(COMMANDS)}")
            )
        given.insert(0, "plan" if "--plan" in given else "run")
    options, unknown = parser.parse_known_args(given)
    if unknown:
        parser.error(_what_is_wrong(parser, options.command, unknown[0]))
    if getattr(options, "plan", False):
        options.command = "plan"
    return options


def _what_is_wrong(parser: Parser, command: str, word: str) -> str:
    """Say where a word belongs that a command does not take."""
    if word in COMMANDS:
        return f"{word}: the command comes first: {parser.prog} {word} …"
    name = word.partition("=")[0]
    options = {name: list(sub._option_string_actions) for name, sub in _commands_of(parser).items()}
    others = [other for other, has in options.items() if name in has]
    near = difflib.get_close_matches(name, options[command], n=3)
    if others:
        return f"{name} is an option of {', '.join(others)}, not of {command}"
    return f"{word}: {command} has no such option" + (f"; did you mean {', '.join(near)}?" if near else "")


def _commands_of(parser: Parser) -> dict[str, argparse.ArgumentParser]:
    [choices] = [action.choices for action in parser._subparsers._group_actions] if parser._subparsers else [{}]
    return dict(choices)  # type: ignore[arg-type] # of sub-parsers they are parsers


def make_parser(description: str, more: MoreOptions | None = None) -> Parser:
    """Return a flow's parser: a sub-parser per command, each with the options that belong to it."""
    epilog = _EXAMPLES if more is None else _SMALL_SCALE_EXAMPLES
    parser = Parser(description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, about in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=about,
            description=about[0].upper() + about[1:] + ".",
            epilog=epilog if name == "run" else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument(
            "--root",
            help="the store, shared by all studies: a folder (default: outputs) or a URL (s3://bucket/prefix, with the "
            "extra `s3` installed; credentials and AWS_ENDPOINT_URL from the environment)",
        )
        if name == "explain":
            command.add_argument("stage", metavar="STAGE", help="the stage's name, as plan lists it")
        if name in ("verify", "gc"):
            option_groups.add_upkeep(command, name)
            continue
        option_groups.add_study(command)
        option_groups.add_settings(command)
        verifier_options.add_reward_models(command)
        option_groups.add_label_sources(command)
        file_options.add_files(command)
        file_options.add_generator(command)
        option_groups.add_placement(command)
        add_fits(command)
        if more is not None:
            more(command)
    return parser
