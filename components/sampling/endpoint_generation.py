"""The sampling of solutions by an endpoint: N samples of a problem are N requests, each with a seed of its own.

Departs from `generation.py` where a server does: it may ignore seeds, and may be another model tomorrow. So the key has
what it said of itself first, its fingerprint, each row has that of its own answer, and every answer is kept as it
comes. The address is no part of the key.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, field_added_later, seed_for
from components.dataflow.storage import Files
from components.sampling.endpoint import EndpointAccess
from components.sampling.endpoint_answers import Answer
from components.sampling.endpoint_asker import EndpointAsker
from components.sampling.endpoint_client import PROBE, PROBE_TOKENS, EndpointClient
from components.sampling.engines import SamplingConfig, StepsOf
from components.sampling.generation import before, cut_into_steps, sample_blocks
from components.sampling.kept_answers import Spending
from components.sampling.thinking import KNOWN_MARKERS, parts, steps_by
from components.text.rendering import chat_turns
from schemas.settings import settings
from schemas.tables import ENDPOINT_SOLUTIONS

_NEUTRAL = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}  # sent only where they are not this


@settings
class EndpointConfig:
    """Settings of sampling by an endpoint, as `SamplingConfig` has them."""

    model: str  # as the server names it
    fingerprint: str  # what the server said of its set-up when it was first asked; "": nothing
    samples_per_problem: Mapping[str, int]
    sample_block: int
    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    stop_texts: tuple[str, ...]
    max_tokens: int  # of thinking and text together: that is what a server can be held to
    prompt: str
    system_prompt: str
    thinking_markers: tuple[str, ...]  # where the server does not part thinking from text itself; (): any that is known
    steps_of: StepsOf
    segmentation: str
    seed: int
    # Thinking is expected: its markers, or tokens for it, were asked for. So a cut text without a marker is thinking.
    expects_thinking: bool = field_added_later(False, value_before=False)


def endpoint_config(sampling: SamplingConfig, model: str, fingerprint: str) -> EndpointConfig:
    """Return the settings of a study's sampling for an endpoint."""
    names = [field.name for field in dataclasses.fields(EndpointConfig)][2:-1]
    values = {name: getattr(sampling, name) for name in names}
    values["expects_thinking"] = bool(sampling.thinking_markers) or sampling.max_thinking_tokens > 0
    values["max_tokens"] = sampling.max_tokens + sampling.max_thinking_tokens
    values["stop_texts"] = sampling.stops
    return EndpointConfig(model, fingerprint, **values)


def ask_for_solutions(config: EndpointConfig, access: EndpointAccess, name: str = "solutions") -> MapStage:
    """The stage problems → solutions, by an endpoint."""
    return MapStage(
        name=name,
        version=1,
        config=config,
        schema=ENDPOINT_SOLUTIONS,
        make_worker=functools.partial(AskForSolutions, access=access),
        place="endpoints",
        items=sample_blocks,
        expected_rows=lambda item, rows: rows * item["sample_count"],
        not_in_key=("samples_per_problem",),
    )


def parameters(config: EndpointConfig) -> dict[str, Any]:
    """Return the parameters of a request, without its messages and its seed."""
    sent: dict[str, Any] = {"temperature": config.temperature, "top_p": config.top_p, "max_tokens": config.max_tokens}
    sent |= {name: getattr(config, name) for name, value in _NEUTRAL.items() if getattr(config, name) != value}
    return sent | ({"stop": list(config.stop_texts)} if config.stop_texts else {})


class AskForSolutions:
    """The actor of the stage: it asks for a shard's samples, many at a time, and keeps each answer."""

    def __init__(self, config: EndpointConfig, models: dict[str, Path], *, access: EndpointAccess) -> None:
        self.config = config
        # Also of a first look under another name: its answers are used.
        self.asker = EndpointAsker(access, "solutions", config.fingerprint)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per problem and sample of the block. Raises EndpointStopped, when all that was asked is kept."""
        rows: list[dict[str, Any]] = []
        answers: dict[int, Future[Answer]] = {}
        for problem in table.to_pylist():
            for index in range(item["sample_start"], item["sample_start"] + item["sample_count"]):
                seed = seed_for(self.config.seed, problem["problem_id"], index)
                if problem["error"] is None:
                    messages = chat_turns(self.config.prompt, self.config.system_prompt, problem["problem"])
                    answers[len(rows)] = self.asker.submit(messages, parameters(self.config), seed)
                rows.append(
                    {name: problem[name] for name in ("problem_id", "split", "problem", "ground_truth_answer", "error")}
                    | {"sample_index": index, "seed": seed, "text": "", "steps": [], "finish_reason": None}
                    | {"num_tokens": 0, "thinking": "", "num_thinking_tokens": 0, "fingerprint": "", "seed_sent": False}
                )
        wait(answers.values())
        for row, answer in answers.items():
            rows[row] |= self._columns(answer.result())
        return pa.Table.from_pylist(rows, schema=ENDPOINT_SOLUTIONS)

    def _columns(self, answer: Answer) -> dict[str, Any]:
        if answer.error is not None:
            return {"error": answer.error, "seed_sent": answer.seed_sent}
        thinking, text = answer.thinking, answer.text
        known = [self.config.thinking_markers] if self.config.thinking_markers else KNOWN_MARKERS
        markers = next((each for each in known if each[0] in text or each[1] in text), None)
        if not thinking and markers is not None:
            found = parts(text, (markers[0], markers[1]))
            thinking, text = found.thinking, found.text
        elif not thinking and self.config.expects_thinking and (answer.finish_reason == "length" or answer.met_stop):
            thinking, text = text, ""  # a template may open the thinking itself: no marker is in what was cut
        text, stopped = before(self.config.stop_texts, text.strip())
        cut = functools.partial(cut_into_steps, rule=self.config.segmentation)
        return {
            "text": text,
            "thinking": thinking.strip(),
            "steps": steps_by(self.config.steps_of, thinking.strip(), text, cut),
            "finish_reason": "stop" if stopped else answer.finish_reason,
            "num_tokens": answer.num_tokens,
            "num_thinking_tokens": answer.num_thinking_tokens,
            "fingerprint": answer.fingerprint,
            "seed_sent": answer.seed_sent,
        }


def first_fingerprint(access: EndpointAccess, sent: Mapping[str, Any]) -> str:
    """Ask an endpoint one short question, and return what the server says of its set-up; "" for nothing.

    So that a wrong key, model or setting is found before any work. sent: the parameters that it will be asked with.
    Raises EndpointStopped, or ValueError where the server refuses them.
    """
    client = EndpointClient(access, Spending(Files(access.root), access.run))
    short = {**sent, "max_tokens": min(sent["max_tokens"], PROBE_TOKENS)}
    answer = client.ask([{"role": "user", "content": PROBE}], short, seed=0)
    if answer.error is not None:
        raise ValueError(f"{access.endpoint.source}: {answer.error}")
    return answer.fingerprint
