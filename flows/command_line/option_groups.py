"""The groups of options that commands share, each added to a parser by one function."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.labels.active_learning import SELECTION_RULES
from components.report.trackers import TRACKERS
from components.text.segmentation import RULES
from components.verifiers.style import OURS
from flows.command_line.endpoint_options import folder_or_address
from flows.command_line.verifier_options import add_style
from flows.presets.label_source_names import SOURCES
from flows.presets.presets import PRESETS, SEED
from schemas.small_scale import POLICIES


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the study, its preset and its limits."""
    presets = "; ".join(f"{preset.name}: {preset.about}" for preset in PRESETS.values())
    parser.add_argument("--preset", default="laptop", help=f"which numbers to use (default: laptop). {presets}")
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
        help="share of the rows of a file or a stage that may have errors; more stop the study (default: 0.01); they "
        "are kept",
    )
    parser.add_argument(
        "--track",
        choices=[*TRACKERS],
        help="tell an experiment tracker too: curves of trainings, stages, tables and the report (off by default; the "
        "tracker's own environment variables say where that goes)",
    )
    parser.add_argument(
        "--track-project", default="stepverify", metavar="NAME", help="its project (default: stepverify)"
    )
    parser.add_argument("--verbose", action="store_true", help="show what Ray, vLLM and training workers print")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add --set and --config, and the options for the numbers that are set most often."""
    numbers = parser.add_argument_group(
        "numbers",
        "Every number of a preset has a path, which plan and explain name (docs/configuration.md lists all).",
    )
    numbers.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="set one number, as often as wanted, e.g. --set prm.training.epochs=2; VALUE as in TOML, or none",
    )
    numbers.add_argument(
        "--config",
        metavar="FILE",
        help="FILE.toml: tables of the same paths; or FILE.py:NAME: a Preset that a Python file makes by "
        "dataclasses.replace",
    )
    numbers.add_argument("--seed", type=int, help=f"of problems, samples and training alike (default: {SEED})")
    numbers.add_argument(
        "--samples-per-problem",
        nargs="+",
        metavar="[SPLIT=]N",
        default=[],
        help="samples per problem, for all splits or for train, test or ood alone; raising it keeps every full block "
        "(of 16) that is there",
    )
    numbers.add_argument("--temperature", type=float, help="the temperature of sampling (default: the preset's)")
    numbers.add_argument(
        "--top-p", type=float, help="sample among the likeliest tokens with this probability (default: the preset's)"
    )
    numbers.add_argument("--top-k", type=int, help="sample among the K likeliest tokens (default: the preset's)")
    numbers.add_argument(
        "--min-p", type=float, help="and among those with this share of the likeliest one's probability"
    )
    numbers.add_argument(
        "--repetition-penalty", type=float, help="of tokens that the prompt or the sample has already (1: none)"
    )
    numbers.add_argument("--stop", nargs="+", metavar="TEXT", help="texts before which a sample ends")
    numbers.add_argument("--max-tokens", type=int, help="the most tokens of a solution (default: the preset's)")
    numbers.add_argument(
        "--segmentation",
        choices=RULES,
        help="how samples are cut into steps: by lines (default, as the generator learns to write them), blank lines, "
        "sentences, or auto: whatever the text shows; for a generator that was not finetuned here",
    )
    numbers.add_argument("--engine", choices=["vllm", "transformers"], help="default: vllm where it is installed")


def add_placement(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the work runs."""
    placement = parser.add_argument_group("where the work runs (it never changes what is computed, or its key)")
    placement.add_argument(
        "--placement",
        default="auto",
        metavar="auto|FILE",
        help="how many engines, graders, scorers and training workers, and what each holds: auto (default) goes by "
        "what the cluster has, and says what it chose; or a TOML file with tables [engines], [graders], [scorers] and "
        "[training] (docs/cluster.md)",
    )
    placement.add_argument(
        "--sharding",
        choices=["ddp", "fsdp"],
        help="how training workers share a model: each holds all of it, or a part (FSDP2); equal to rounding (default: "
        "the placement's, of auto ddp)",
    )


def add_upkeep(parser: argparse.ArgumentParser, command: str) -> None:
    """Add the options of `verify` or `gc`."""
    if command == "verify":
        parser.add_argument("--deep", action="store_true", help="read and hash every byte")
        parser.add_argument("--repair", action="store_true", help="move what is bad to quarantine/")
        return
    parser.add_argument("--delete", action="store_true", help="remove what is listed, for good")
    parser.add_argument(
        "--grace-days", type=float, default=7, metavar="D", help="keep all that is younger (default: 7)"
    )
    parser.add_argument(
        "--keep-runs", type=int, default=1, metavar="K", help="finished runs to keep of each study (default: 1)"
    )
    parser.add_argument(
        "--delete-everything",
        action="store_true",
        help="go on in a store without any record of a run, where nothing says what is needed",
    )


def add_small_scale(parser: argparse.ArgumentParser) -> None:
    """Add the options of the small-scale study."""
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
        choices=POLICIES,
        metavar="POLICY",
        help="ways to choose what to label, besides the first solutions of each problem: "
        + "; ".join(f"{name}: {about}" for name, about in SELECTION_RULES.items() if name in POLICIES)
        + "; iterated: active, in rounds, with the selector trained anew after each (default: all; none: no names)",
    )
    group.add_argument("--pool", type=int, metavar="N", help="solutions per train problem to choose from")
    group.add_argument("--best-of", type=int, metavar="N", help="samples per test problem")
    group.add_argument(
        "--small-base-model",
        type=Path,
        metavar="MODEL",
        help="what the small generator is finetuned from, a folder or hub:ORG/NAME; without it a tiny one is trained "
        "on the embedded world",
    )


def add_label_sources(parser: argparse.ArgumentParser) -> None:
    """Add the options of sources of step labels."""
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
    sources.add_argument(
        "--labelling-prm", type=Path, metavar="MODEL", help="the PRM of the source prm: a folder or hub:ORG/NAME"
    )
    add_style(sources, "--labelling-prm-style", OURS)
    sources.add_argument(
        "--judge",
        type=folder_or_address,
        metavar="MODEL",
        help="the instruction model of the source judge: a folder, hub:ORG/NAME, or http(s)://HOST/v1#MODEL",
    )
    sources.add_argument(
        "--judge-prompt", type=Path, metavar="FILE", help="its prompt, with {problem} and {steps} (default: ours)"
    )
    sources.add_argument(
        "--judge-structured",
        action="store_true",
        help="hold its whole answer to the form of a verdict (it cannot think before it then)",
    )
