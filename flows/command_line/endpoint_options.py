"""Generators and judges behind an address: how they are asked, and within which budget."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import operator
import os
import re
from collections.abc import Iterable
from pathlib import Path

from components.dataflow.errors import InputError
from components.sampling.endpoint import KEY_VARIABLE, EndpointAccess, is_endpoint, read_endpoint
from flows.presets.paths import first_line
from flows.presets.preset import Preset

FOR_JUDGES = "--verifier NAME=judge:http(s)://HOST/v1#MODEL"
FOR_STUDIES = "--generator or --judge http(s)://HOST/v1#MODEL, or --verifier NAME=judge:http(s)://…"
_OF_ENDPOINT = ("--key-variable", "--requests-at-once", "--max-requests", "--max-tokens-total")
# Of a judge's sampling → the value that changes nothing.
_UNSENT = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "stop": "", "stop_texts": (), "regex": ""}


def add_endpoint(parser: argparse._ActionsContainer) -> None:
    """Add the options for models behind an address."""
    parser.add_argument(
        "--key-variable",
        metavar="NAME",
        help=f"the environment variable with the key of models http…#MODEL (default: {KEY_VARIABLE}); it is read "
        "where requests are made, and never written down",
    )
    parser.add_argument(
        "--requests-at-once", type=int, metavar="N", help="requests to each under way at the same time (default: 32)"
    )
    parser.add_argument(
        "--max-requests",
        type=int,
        metavar="N",
        help="requests of this run, retries included, after which the study stops in order; run it again to go on",
    )
    parser.add_argument(
        "--max-tokens-total",
        type=int,
        metavar="N",
        help="likewise: tokens, of prompts and answers, as the server counts them",
    )


def endpoint_access(options: argparse.Namespace, flag: str) -> EndpointAccess | None:
    """Return how the endpoint that an option names is asked; None where that is no endpoint. Raises InputError."""
    source = getattr(options, flag.removeprefix("--"))
    return access_to(options, flag, str(source)) if is_endpoint(source) else None


def access_to(options: argparse.Namespace, flag: str, source: str) -> EndpointAccess:
    """Return how the endpoint http…#MODEL is asked. flag: what names it, for messages. Raises InputError."""
    for budget in _OF_ENDPOINT[1:]:
        if (number := _value(options, budget)) is not None and number < 1:
            raise InputError(f"{budget} {number}: must be 1 or more")
    name = options.key_variable  # not to be repeated in a message: it may be a key
    if name is not None and name not in os.environ and re.fullmatch("[A-Z_][A-Z0-9_]*", name) is None:
        raise InputError(
            "--key-variable: the name of an environment variable is wanted, not the key itself (one that is not set "
            "here is written in capitals)"
        )
    try:
        endpoint = read_endpoint(source)
    except ValueError as error:
        raise InputError(f"{flag} {error}") from error
    if importlib.util.find_spec("openai") is None:
        raise InputError(f"{flag} http…: the client openai is not installed; pip install openai")
    return EndpointAccess(
        endpoint,
        key_variable=name or KEY_VARIABLE,
        at_once=options.requests_at_once or 32,
        max_requests=options.max_requests,
        max_tokens=options.max_tokens_total,
    )


def refuse_without_endpoint(options: argparse.Namespace, accesses: Iterable[EndpointAccess | None], give: str) -> None:
    """Raise InputError for options of endpoints where there is none. give: the options that could name one."""
    if any(access is not None for access in accesses):
        return
    for flag in _OF_ENDPOINT:
        if _value(options, flag) is not None:
            raise InputError(f"{flag} is for a model behind an address: give {give}")


def folder_or_address(text: str) -> Path | str:
    """Read the value of an option that takes a folder, a name on the hub, or an address."""
    return text if is_endpoint(text) else Path(text)


def with_endpoint_thinking(preset: Preset, options: argparse.Namespace, notes: list[str]) -> Preset:
    """Return the preset with what was asked of the thinking of a model behind an address. Raises InputError.

    notes: what is done.
    """
    if options.max_thinking_tokens == 0:
        raise InputError("--max-thinking-tokens 0 is for a model in a folder: a server parts thinking from text itself")
    try:
        sampling = dataclasses.replace(
            preset.sampling,
            thinking_markers=tuple(options.thinking_markers or preset.sampling.thinking_markers),
            max_thinking_tokens=options.max_thinking_tokens or preset.sampling.max_thinking_tokens,
            steps_of=options.steps_of or preset.sampling.steps_of,
        )
    except ValueError as error:
        raise InputError(f"--thinking-markers: {first_line(error)}") from error
    notes.append(
        f"a request asks for at most {sampling.max_tokens + sampling.max_thinking_tokens:,} tokens; thinking is kept "
        f"apart where the server says it apart, or by {' '.join(sampling.thinking_markers) or 'markers that are known'}"
    )
    return dataclasses.replace(preset, sampling=sampling)


def refuse_unsent(preset: Preset, options: argparse.Namespace) -> None:
    """Raise InputError for a setting that a model behind an address would never see."""
    unsent = []
    if is_endpoint(options.generator):
        unsent += [("sampling", "regex")]
    if is_endpoint(options.judge):
        unsent += [("judge.sampling", name) for name in _UNSENT]
    for path, name in unsent:
        if getattr(operator.attrgetter(path)(preset), name) != _UNSENT[name]:
            raise InputError(f"{path}.{name}: it is not sent to a model behind an address: leave it out")


def _value(options: argparse.Namespace, flag: str) -> int | None:
    found: int | None = getattr(options, flag.removeprefix("--").replace("-", "_"), None)
    return found
