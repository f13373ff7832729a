"""Options of reward models: how they are trained and read, and verifiers beside them."""

from __future__ import annotations

import argparse
from pathlib import Path

from components.statistics.score_reduction import NEUTRALS, REDUCTIONS
from components.verifiers.style import BUILTIN, OURS, process_styles, read_style


def add_reward_models(parser: argparse.ArgumentParser) -> None:
    """Add the options of both reward models and of how they pick."""
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
        help="one: the rate of both reward models; several: try each, and go on with the one that does best on "
        "held-out train problems",
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
        "--prm",
        type=Path,
        metavar="MODEL",
        help="a PRM from elsewhere to compare with, in place of training one: a folder or hub:ORG/NAME",
    )
    add_style(verifiers, "--prm-style", None)
    add_verifier(verifiers)


def add_verifier(parser: argparse._ActionsContainer) -> None:
    """Add the option for verifiers that read the samples beside others."""
    parser.add_argument(
        "--verifier",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="a verifier that reads the held-out samples too, any number of times: the folder of a model trained here, "
        "or hub:ORG/NAME; of anyone's with ,style=STYLE; confidence:FOLDER of a generator; judge:FOLDER, or "
        "judge:http(s)://HOST/v1#MODEL, of a model that writes its verdicts; length; random; or an expression of those "
        "before, as min(a,b) (docs/verifiers.md)",
    )


def add_style(parser: argparse._ActionsContainer, flag: str, default: str | None) -> None:
    """Add an option for the style of a PRM: a name, or the path of a user's own file."""
    parser.add_argument(
        flag,
        type=_style,
        default=default,
        metavar="STYLE",
        help=f"how it is read (docs/verifiers.md): {', '.join((OURS, *_styles()))}, or FILE.toml, a style of your own",
    )


def _styles() -> list[str]:
    return [name for name in process_styles() if not read_style(name).needs_reference]


def _style(given: str) -> str:
    """Return the name of a PRM's style, or the path of a file, which is read later. Raises ArgumentTypeError."""
    if given in (OURS, *_styles()) or (given.endswith(".toml") and given not in BUILTIN):
        return given
    what = f"is no style: {', '.join((OURS, *_styles()))}, or FILE.toml"
    if given in BUILTIN:
        is_outcome = read_style(given).kind == "outcome"
        what = "is an outcome style, which scores no steps" if is_outcome else "needs a reference model"
    raise argparse.ArgumentTypeError(f"{given} {what}")
