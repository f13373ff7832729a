"""The sampling of solutions: N samples per problem, each with a seed of its own, by vLLM on GPU and CPU alike.

A sample's seed is a hash of (recipe seed, problem, sample index), so sample 17 of a problem is the same whatever shard,
batch, worker or run it comes from; a study that grows from 64 samples to 128 keeps its first 64. Departs from the paper
in nothing: a sample without an answer stays in its slot of N (paper §3.1).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model, seed_for
from components.models.model_folder import open_tokenizer
from components.sampling.engines import Request, Sample, SamplingConfig, engine_distribution
from components.sampling.open_engine import open_engine
from components.sampling.prompts import sampling_prompts
from components.sampling.thinking import Thinker, Thought, steps_by
from components.text.rendering import end_of_turn_ids, split_steps
from components.text.segmentation import NEWLINE, steps
from schemas.tables import SOLUTIONS, THOUGHT_SOLUTIONS


def generate(config: SamplingConfig, generator: Model, *, name: str = "solutions") -> MapStage:
    """The stage problems → solutions. An item is a block of sample indices; a shard's rows are problem by problem."""
    return MapStage(
        name=name,
        version=1,
        config=config,
        schema=THOUGHT_SOLUTIONS if config.thinks else SOLUTIONS,
        make_worker=Generate,
        place="engines",
        models={"generator": generator},
        engines=(engine_distribution(config.engine), "torch", "transformers"),
        items=sample_blocks,
        expected_rows=lambda item, rows: rows * item["sample_count"],
        # How many samples are wanted says which items there are, and nothing about any one of them.
        not_in_key=("samples_per_problem",),
    )


def sample_blocks(config: Any, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    """Return the blocks [start, start + count) that make up a split's samples; only the last can be short.

    config: with samples_per_problem and sample_block.
    """
    total = config.samples_per_problem.get(attributes["split"], 0)
    step = config.sample_block
    return [{"sample_start": at, "sample_count": min(step, total - at)} for at in range(0, total, step)]


def before(stops: Sequence[str], text: str) -> tuple[str, bool]:
    """Return a text up to the first of these that is in it, and whether one is."""
    at = min((place for stop in stops if (place := text.find(stop)) >= 0), default=-1)
    return (text, False) if at < 0 else (text[:at], True)


def cut_into_steps(text: str, rule: str) -> list[str]:
    """Return the steps of a text by a rule of `segmentation.py`; newline is that of generators finetuned here."""
    return split_steps(text) if rule == NEWLINE else steps(text, rule)


class Generate:
    """The actor of the generation stage: one engine, fed a shard of problems at a time."""

    def __init__(self, config: SamplingConfig, models: dict[str, Path], options: Mapping[str, Any] = {}) -> None:
        self.config = config
        self.tokenizer = open_tokenizer(models["generator"])
        self.ends = end_of_turn_ids(self.tokenizer) if config.chat_instruction or config.prompt else ()
        self.tokenizing = threading.Lock()  # shards in flight are threads here, and tokenizers are not for threads
        self.engine = open_engine(models["generator"], config, options)
        self.thinker = Thinker(self.engine, self.tokenizer, config) if config.thinks else None

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per problem and sample of the block. A prompt that does not fit becomes an error of its rows."""
        rows: list[dict[str, Any]] = []
        requests: list[tuple[int, Request]] = []
        problems = table.to_pylist()
        with self.tokenizing:
            prompts = sampling_prompts(self.tokenizer, self.config, [problem["problem"] for problem in problems])
        for problem, prompt_ids in zip(problems, prompts, strict=True):
            error = problem["error"]
            if error is None and len(prompt_ids) + self.config.max_tokens > self.config.max_model_length:
                error = (
                    f"the prompt's {len(prompt_ids)} tokens and {self.config.max_tokens} new ones do not fit into "
                    f"{self.config.max_model_length}"
                )
            for index in range(item["sample_start"], item["sample_start"] + item["sample_count"]):
                seed = seed_for(self.config.seed, problem["problem_id"], index)
                if error is None:
                    requests.append((len(rows), Request(prompt_ids, seed, ends=self.ends)))
                rows.append(
                    {name: problem[name] for name in ("problem_id", "split", "problem", "ground_truth_answer")}
                    | {"sample_index": index, "seed": seed, "error": error}
                    | {"text": "", "steps": [], "finish_reason": None, "num_tokens": 0}
                    | ({"thinking": "", "num_thinking_tokens": 0} if self.thinker is not None else {})
                )
        written = self._written([request for _, request in requests])
        for (row, _), one in zip(requests, written, strict=True):
            rows[row] |= one
        return pa.Table.from_pylist(rows, schema=SOLUTIONS if self.thinker is None else THOUGHT_SOLUTIONS)

    def _written(self, requests: list[Request]) -> list[dict[str, Any]]:
        """Sample one solution per request. Return their columns, or the error alone of one that the engine refused."""
        if self.thinker is not None:
            return [self._columns_of_thought(thought) for thought in self.thinker.sample(requests, self.tokenizing)]
        samples = self.engine.generate(requests)
        with self.tokenizing:
            texts = [self._text(sample.ids) for sample in samples]
        return [self._columns(sample, text) for sample, text in zip(samples, texts, strict=True)]

    def _columns(self, sample: Sample, text: str) -> dict[str, Any]:
        if sample.error is not None:
            return {"error": sample.error}
        text, stopped = before(self.config.stops, text)
        return {
            "text": text,
            "steps": cut_into_steps(text, self.config.segmentation),
            "finish_reason": "stop" if stopped else sample.finish_reason,
            "num_tokens": len(sample.ids),
        }

    def _columns_of_thought(self, thought: Thought) -> dict[str, Any]:
        if thought.error is not None:
            return {"error": thought.error}
        text, stopped = before(self.config.stops, thought.parts.text)
        cut = functools.partial(cut_into_steps, rule=self.config.segmentation)
        return {
            "text": text,
            "thinking": thought.parts.thinking,
            "steps": steps_by(self.config.steps_of, thought.parts.thinking, text, cut),
            "finish_reason": "stop" if stopped else thought.finish_reason,
            "num_tokens": thought.num_tokens,
            "num_thinking_tokens": thought.num_thinking_tokens,
        }

    def _text(self, ids: list[int]) -> str:
        """Return the sampled text, without the token that ended it."""
        written = ids[:-1] if ids and ids[-1] in self.ends else ids
        return str(self.tokenizer.decode(written, skip_special_tokens=True))
