"""Verifiers as a command line names them: NAME=SOURCE, with options behind commas.

prm=outputs/models/prm-1a2b           a model trained here, or with style=STYLE anyone's
rm=models/skywork,style=skywork_reward
qwen=hub:Qwen/Qwen2.5-Math-PRM-7B,style=qwen_prm   a model of the hub, maybe @REVISION
sure=confidence:models/generator      the generator's confidence, with measure=MEASURE
judge=judge:models/instruct,votes=8   a model that writes its verdicts, with prompt=FILE
served=judge:http://HOST/v1#MODEL     likewise, behind an address
short=length   guess=random           what needs no model
safe=min(prm,rm)                      of the scores of verifiers that were named before
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import get_args

from components.dataflow.errors import InputError
from components.dataflow.stage import MapStage
from components.evaluation.compared_samples import LENGTH, RANDOM, ComparedVerifier
from components.evaluation.score_expressions import is_expression, names_in
from components.labels.endpoint_judge import EndpointVotesConfig, ask_for_votes, endpoint_judge_config
from components.labels.judge_labels import PROMPT, JudgeConfig
from components.labels.judge_votes import JudgeVotesConfig, judge_votes, verdict_scores
from components.sampling.endpoint import EndpointAccess, is_endpoint
from components.sampling.engines import SamplingConfig, installed_engine
from components.statistics.confidence import MEASURES
from components.statistics.score_reduction import NEUTRALS, REDUCTIONS
from components.verifiers.confidence import ConfidenceConfig, confidence
from components.verifiers.style import OURS, read_style
from components.verifiers.verifier_scores import VerifierConfig, verifier_scores
from flows.command_line import endpoint_options, model_checks
from flows.study import VerifierSpec
from schemas.results import ENSEMBLES, OTHER_PRMS, REFERENCES
from schemas.settings import Dtype

CONFIDENCE, JUDGE = "confidence:", "judge:"
_NAME = re.compile(r"[A-Za-z_]\w*")
_OTHERS = ("base", "reference")  # models besides: of an adapter, of a log-ratio
_RESERVED = ("majority", "pass", "pass_at_1")
_OPTIONS = {
    "model": ("style", "reduction", "neutral", "dtype", "base", "reference"),
    "confidence": ("measure", "window", "prompt", "dtype"),
    "judge": ("prompt", "votes", "temperature", "max_tokens", "max_model_length", "dtype"),
    "served judge": ("prompt", "votes", "temperature", "max_tokens"),
    "rule": (),
    "expression": (),
}


def verifier_specs(options: argparse.Namespace, given: Collection[str], cached: bool = False) -> list[VerifierSpec]:
    """Read the verifiers of a command line. Raises InputError.

    given: those whose scores the samples have. cached: fetch no model from a hub, as for a plan.
    """
    specs: list[VerifierSpec] = []
    for text in options.verifier:
        names = {*given, *(spec.name for spec in specs)}
        specs.append(_spec(text, names, len(specs), cached, options))
    return specs


def _spec(
    text: str, known: Collection[str], number: int, cached: bool, command_line: argparse.Namespace
) -> VerifierSpec:
    name, equals, source = text.partition("=")
    if not equals or not _NAME.fullmatch(name) or not source:
        example = f", as {text}={text}" if text in (LENGTH, RANDOM) else ""
        raise InputError(f"--verifier {text}: write NAME=SOURCE{example}, where NAME has letters, digits and _")
    if name in _RESERVED or name.endswith("_weighted"):
        raise InputError(f"--verifier {text}: {name} is the name of a vote; choose another")
    if name in (*ENSEMBLES, *REFERENCES, *OTHER_PRMS) and name not in known:
        raise InputError(f"--verifier {text}: {name} is the name of a verifier of studies; choose another")
    if name in known:
        raise InputError(f"--verifier {text}: there is another verifier {name}; each needs a name of its own")
    flag = f"--verifier {name}"
    if is_expression(source, known) and not _is_folder(source):
        try:
            names_in(source, known)
        except ValueError as error:
            raise InputError(
                f"{flag}: {error} (of those that are named before: {', '.join(known) or 'none'})"
            ) from None
        return VerifierSpec(name, None, ComparedVerifier(name, expression=source))
    source, options = _options(flag, source)
    if source in (LENGTH, RANDOM):
        _allow(flag, options, "rule")
        return VerifierSpec(name, None, ComparedVerifier(name, rule=source), is_trained=False)
    if source.startswith(JUDGE) and is_endpoint(address := source.removeprefix(JUDGE)):
        return _served_judge(flag, name, endpoint_options.access_to(command_line, flag, address), options, number)
    make, prefix = next(((made, way) for way, made in _WAYS.items() if source.startswith(way)), (_model, ""))
    names = {"verifier": source.removeprefix(prefix)} | {key: options[key] for key in _OTHERS if key in options}
    found = {key: model_checks.hub_or_folder(flag, place, cached) for key, place in names.items()}
    spec = make(flag, name, {key: folder for key, (folder, _) in found.items()}, options, number)
    return dataclasses.replace(spec, origins=tuple(origin for _, origin in found.values() if origin))


def _is_folder(source: str) -> bool:
    """Tell whether a source that may be an expression is a folder's name: a+b, or confidence:a+b,window=4."""
    place = re.split(r",(?=\w+=)", source)[0].removeprefix(CONFIDENCE).removeprefix(JUDGE)
    try:
        return Path(place).exists()
    except OSError:  # longer than a name can be
        return False


def _options(flag: str, source: str) -> tuple[str, dict[str, str]]:
    """Return a source without its options, and these. A comma without NAME= behind it belongs to the folder's name."""
    first, *rest = re.split(r",(?=\w+=)", source)
    options: dict[str, str] = {}
    for part in rest:
        key, _, value = part.partition("=")
        if key in options or not value:
            raise InputError(f"{flag}: {key} {'is given twice' if key in options else 'has no value'}")
        options[key] = value
    return first, options


def _allow(flag: str, options: Collection[str], kind: str) -> None:
    for key in options:
        if key not in _OPTIONS[kind]:
            every = sorted({name for names in _OPTIONS.values() for name in names})
            near = difflib.get_close_matches(key, every, n=1)
            has = f"it has {', '.join(_OPTIONS[kind])}" if _OPTIONS[kind] else "it has none"
            mean = f"; did you mean {near[0]}?" if near and near[0] != key else ""
            raise InputError(f"{flag}: no option {key} of such a verifier ({has}){mean}")


def _one_of(flag: str, key: str, value: str, values: Sequence[str]) -> str:
    if value not in values:
        raise InputError(f"{flag}: {key} {value}: one of {', '.join(values)}")
    return value


def _confidence(flag: str, name: str, folders: dict[str, Path], options: dict[str, str], number: int) -> VerifierSpec:
    _allow(flag, options, "confidence")
    measure = _one_of(flag, "measure", options.pop("measure", MEASURES[0]), MEASURES)
    window = options.pop("window", None)
    if window is not None and not window.isdecimal():
        raise InputError(f"{flag}: window {window}: not a whole number of tokens")
    try:
        config = ConfidenceConfig(**options, **({} if window is None else {"window": int(window)}))  # type: ignore[arg-type]
    except ValueError as error:
        raise InputError(f"{flag}: {_first(error)}") from error
    stage = confidence(config, model_checks.language_model(flag, folders["verifier"], packed=True))
    compared = ComparedVerifier(name, f"scores_{number}", measure)
    return VerifierSpec(name, _shown(stage, f"{name}_scores"), compared, is_trained=False)


def _judge(flag: str, name: str, folders: dict[str, Path], options: dict[str, str], number: int) -> VerifierSpec:
    _allow(flag, options, "judge")
    stage = judge_votes(_votes(flag, options), model_checks.language_model(flag, folders["verifier"], packed=False))
    return _by_votes(name, stage, number)


def _served_judge(flag: str, name: str, access: EndpointAccess, options: dict[str, str], number: int) -> VerifierSpec:
    """Return the verifier without the fingerprint of its key, which has to be asked for."""
    _allow(flag, options, "served judge")
    config = _votes(flag, options)
    asked = EndpointVotesConfig(endpoint_judge_config(config.judge, access.endpoint.model, ""), config.votes)
    return dataclasses.replace(_by_votes(name, ask_for_votes(asked, access), number), access=access)


def _votes(flag: str, options: dict[str, str]) -> JudgeVotesConfig:
    numbers = {"votes": 8, "temperature": 1.0, "max_tokens": 2048, "max_model_length": 8192}
    for key, default in numbers.items():
        try:
            numbers[key] = type(default)(options.get(key, default))
        except ValueError:
            raise InputError(f"{flag}: {key} {options[key]}: not a number") from None
    prompt = Path(options.get("prompt", PROMPT))
    try:
        sampling = SamplingConfig(
            samples_per_problem={},
            temperature=float(numbers["temperature"]),
            max_tokens=int(numbers["max_tokens"]),
            max_model_length=int(numbers["max_model_length"]),
            dtype=options.get("dtype", "float32"),  # type: ignore[arg-type]
            engine=installed_engine(),
        )
        judge = JudgeConfig(sampling, prompt.read_text(encoding="utf-8"))
        return JudgeVotesConfig(judge, votes=int(numbers["votes"]))
    except OSError as error:
        raise InputError(f"{flag}: prompt {prompt}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{flag}: {_first(error)}") from error


def _by_votes(name: str, stage: MapStage, number: int) -> VerifierSpec:
    compared = ComparedVerifier(name, f"scores_{number}", "score")
    reduced = verdict_scores(f"{name}_scores")
    return VerifierSpec(name, _shown(stage, f"{name}_votes"), compared, True, reduced, is_trained=False)


def _model(flag: str, name: str, folders: dict[str, Path], options: dict[str, str], number: int) -> VerifierSpec:
    _allow(flag, options, "model")
    style_name = options.get("style", OURS)
    try:
        style = None if style_name == OURS else read_style(style_name)
    except ValueError as error:
        raise InputError(f"{flag}: {error}") from error
    dtype = _one_of(flag, "dtype", options.get("dtype", "float32"), get_args(Dtype))
    reduction = options.get("reduction", "")
    if reduction:
        _one_of(flag, "reduction", reduction, REDUCTIONS)
    neutral = _one_of(flag, "neutral", options.get("neutral", NEUTRALS[0]), NEUTRALS)
    if "neutral" in options and not reduction:
        raise InputError(f"{flag}: neutral goes with reduction")
    models = {key: model_checks.verifier_folder(flag, folder) for key, folder in folders.items()}
    kind = model_checks.check_verifier(flag, style or OURS, folders)
    if reduction and kind == "outcome":
        raise InputError(f"{flag}: it scores whole solutions, so there is nothing to reduce: leave reduction out")
    stage = verifier_scores(VerifierConfig(style, dtype), models)  # type: ignore[arg-type]
    column = "" if reduction else "score"
    compared = ComparedVerifier(name, f"scores_{number}", column, reduction, neutral)
    # A log-ratio is of all tokens so far: at a step's end it says of the beginning, and not of the step.
    rates_steps = kind == "process" and not (style is not None and style.needs_reference)
    return VerifierSpec(name, _shown(stage, f"{name}_scores"), compared, rates_steps)


_WAYS = {CONFIDENCE: _confidence, JUDGE: _judge}  # how a source begins that is no folder of a verifier


def _shown(stage: MapStage, title: str) -> MapStage:
    """Call a stage by its verifier. Its own name, and so its keys, stay: a verifier by another name is found again."""
    return dataclasses.replace(stage, shown_as=title)


def _first(error: Exception) -> str:
    return str(error).replace("\n", " ")[:200]
