"""The sampling of solutions: N samples per problem, each with a seed of its own, by vLLM on GPU and CPU alike.

A sample's seed is a hash of (recipe seed, problem, sample index), so sample 17 of a problem is the same whatever shard,
batch, worker or run it comes from; a study that grows from 64 samples to 128 keeps its first 64. Departs from the paper
in nothing: a sample without an answer stays in its slot of N (paper §3.1).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.dataflow.stage import MapStage, Model, seed_for
from components.models.model_folder import open_tokenizer
from components.sampling.engines import Request, SamplingConfig, engine_distribution
from components.sampling.open_engine import open_engine
from components.text.rendering import end_of_turn_ids, render_chat_prompts, render_prompts, split_steps
from components.text.segmentation import NEWLINE, steps
from schemas.tables import SOLUTIONS


def generate(config: SamplingConfig, generator: Model, *, name: str = "solutions") -> MapStage:
    """The stage problems → solutions. An item is a block of sample indices; a shard's rows are problem by problem."""
    return MapStage(
        name=name,
        version=1,
        config=config,
        schema=SOLUTIONS,
        make_worker=Generate,
        place="engines",
        models={"generator": generator},
        engines=(engine_distribution(config.engine), "torch", "transformers"),
        items=sample_blocks,
        expected_rows=lambda item, rows: rows * item["sample_count"],
        # How many samples are wanted says which items there are, and nothing about any one of them.
        not_in_key=("samples_per_problem",),
    )


def sample_blocks(config: SamplingConfig, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    """Return the blocks [start, start + count) that make up a split's samples; only the last can be short."""
    total = config.samples_per_problem.get(attributes["split"], 0)
    step = config.sample_block
    return [{"sample_start": at, "sample_count": min(step, total - at)} for at in range(0, total, step)]


class Generate:
    """The actor of the generation stage: one engine, fed a shard of problems at a time."""

    def __init__(self, config: SamplingConfig, models: dict[str, Path]) -> None:
        self.config = config
        self.tokenizer = open_tokenizer(models["generator"])
        self.ends = end_of_turn_ids(self.tokenizer) if config.chat_instruction else ()
        self.tokenizing = threading.Lock()  # shards in flight are threads here, and tokenizers are not for threads
        self.engine = open_engine(models["generator"], config)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return a row per problem and sample of the block. A prompt that does not fit becomes an error of its rows."""
        rows: list[dict[str, Any]] = []
        requests: list[tuple[int, Request]] = []
        problems = table.to_pylist()
        with self.tokenizing:
            texts = [self.config.few_shot + problem["problem"] for problem in problems]
            if self.config.chat_instruction:
                prompts = render_chat_prompts(self.tokenizer, self.config.chat_instruction, texts)
            else:
                prompts = render_prompts(self.tokenizer, texts)
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
                )
        samples = self.engine.generate([request for _, request in requests])
        with self.tokenizing:
            texts = [self._text(sample.ids) for sample in samples]
        for (row, _), sample, text in zip(requests, samples, texts, strict=True):
            if sample.error is not None:
                rows[row]["error"] = sample.error
                continue
            stopped = bool(self.config.stop) and self.config.stop in text
            text = text.partition(self.config.stop)[0] if stopped else text
            rows[row] |= {
                "text": text,
                "steps": self._steps(text),
                "finish_reason": "stop" if stopped else sample.finish_reason,
                "num_tokens": len(sample.ids),
            }
        return pa.Table.from_pylist(rows, schema=SOLUTIONS)

    def _steps(self, text: str) -> list[str]:
        return split_steps(text) if self.config.segmentation == NEWLINE else steps(text, self.config.segmentation)

    def _text(self, ids: list[int]) -> str:
        """Return the sampled text, without the token that ended it."""
        written = ids[:-1] if ids and ids[-1] in self.ends else ids
        return str(self.tokenizer.decode(written, skip_special_tokens=True))
