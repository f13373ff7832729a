"""A judge behind an endpoint: one request for a solution, and each answer kept as it comes (`endpoint_asker.py`)."""

from __future__ import annotations

import functools
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from components.dataflow.stage import MapStage
from components.labels.judge_labels import Judge, JudgeConfig, Written
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_asker import EndpointAsker
from schemas.settings import settings
from schemas.tables import JUDGEMENTS


@settings
class EndpointJudgeConfig:
    """Settings of a judge behind an endpoint, as `JudgeConfig` has them."""

    model: str  # as the server names it
    fingerprint: str  # what the server said of its set-up when it was first asked; "": nothing
    prompt: str
    temperature: float
    top_p: float
    max_tokens: int
    seed: int


def endpoint_judge_config(config: JudgeConfig, model: str, fingerprint: str) -> EndpointJudgeConfig:
    """Return a study's settings of its judge for an endpoint."""
    sampling = config.sampling
    return EndpointJudgeConfig(
        model, fingerprint, config.prompt, sampling.temperature, sampling.top_p, sampling.max_tokens, sampling.seed
    )


def ask_for_judgements(config: EndpointJudgeConfig, access: EndpointAccess) -> MapStage:
    """The stage solutions → judgements, by an endpoint."""
    return MapStage(
        "judgements",
        version=1,
        config=config,
        schema=JUDGEMENTS,
        make_worker=functools.partial(_open_judge, access=access),
        place="endpoints",
    )


def judge_parameters(config: EndpointJudgeConfig) -> dict[str, Any]:
    """Return the parameters of a request, without its messages and its seed."""
    return {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}


def _open_judge(config: EndpointJudgeConfig, models: dict[str, Path], *, access: EndpointAccess) -> Judge:
    asker = EndpointAsker(access, "judgements", config.fingerprint)

    def write(prompts: list[str], seeds: list[int]) -> list[Written]:
        sent = judge_parameters(config)
        answers = [
            asker.submit([{"role": "user", "content": prompt}], sent, seed)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        wait(answers)
        found = [answer.result() for answer in answers]
        return [Written(one.text, one.finish_reason, one.num_tokens, one.error) for one in found]

    return Judge(config.prompt, config.seed, write)
