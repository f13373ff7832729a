"""A judge behind an endpoint: one request for a solution, or for each vote on it, and each answer kept as it comes
(`endpoint_asker.py`)."""

from __future__ import annotations

import functools
from concurrent.futures import wait
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from components.dataflow.stage import MapStage
from components.labels.judge_labels import Judge, JudgeConfig, Written
from components.labels.judge_votes import JudgeVotes, blocks_of_votes, refuse_equal_votes
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_asker import EndpointAsker
from schemas.settings import settings
from schemas.tables import JUDGEMENTS
from schemas.verifiers import JUDGE_VOTES


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


@settings
class EndpointVotesConfig:
    """Settings of votes of a judge behind an endpoint, as `JudgeVotesConfig` has them."""

    judge: EndpointJudgeConfig
    votes: PositiveInt = 8
    vote_block: PositiveInt = 4

    def __post_init__(self) -> None:
        refuse_equal_votes(self.votes, self.judge.temperature)


def ask_for_votes(config: EndpointVotesConfig, access: EndpointAccess) -> MapStage:
    """The stage solutions → judge_votes, by an endpoint."""
    return MapStage(
        "judge_votes",
        version=1,
        config=config,
        schema=JUDGE_VOTES,
        make_worker=functools.partial(_open_votes, access=access),
        place="endpoints",
        items=blocks_of_votes,
        not_in_key=("votes",),
        expected_rows=lambda item, rows: rows * item["votes"],
    )


def judge_parameters(config: EndpointJudgeConfig) -> dict[str, Any]:
    """Return the parameters of a request, without its messages and its seed."""
    return {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}


def _open_votes(config: EndpointVotesConfig, models: dict[str, Path], *, access: EndpointAccess) -> JudgeVotes:
    return JudgeVotes(_open_judge(config.judge, models, access=access, stage="judge_votes"))


def _open_judge(
    config: EndpointJudgeConfig, models: dict[str, Path], *, access: EndpointAccess, stage: str = "judgements"
) -> Judge:
    asker = EndpointAsker(access, stage, config.fingerprint)

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
