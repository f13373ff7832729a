"""The engine vLLM, on GPU and CPU alike."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from components.dataflow import prometheus
from components.models.model_folder import VLLM
from components.sampling import engine_options
from components.sampling.engines import Request, Sample, SamplingConfig
from components.sampling.watchdog import Watchdog

_SECONDS_BETWEEN_METRICS = 5


class VllmEngine:
    """The engine vLLM, in this process: on a GPU where there is one, else on the CPU.

    It runs on a thread of its own. Shards that are in flight at once share its batches, so that it does not run empty
    at the end of each. The first of them goes first: shards that were worked on in equal parts would end together.
    """

    def __init__(self, folder: Path, config: SamplingConfig, options: Mapping[str, Any] = {}) -> None:
        self.folder, self.config, self.options = folder, config, options
        self.requests: SimpleQueue[list[tuple[Request, Future[Sample]]]] = SimpleQueue()
        ready: Future[None] = Future()
        threading.Thread(target=self._serve, args=(ready,), daemon=True).start()
        ready.result()

    def generate(self, requests: Sequence[Request]) -> list[Sample]:
        """Sample one continuation per request; waits for all of them."""
        samples: list[Future[Sample]] = [Future() for _ in requests]
        self.requests.put(list(zip(requests, samples, strict=True)))
        wait(samples)  # wakes once: a thread that wakes at each sample takes Python's lock from the engine as often
        return [sample.result() for sample in samples]

    def _serve(self, ready: Future[None]) -> None:
        """Run the engine's thread: take requests from the queue, and step while any is under way."""
        try:
            llm = open_vllm(self.folder, self.config, self.options)
        except BaseException as error:
            ready.set_exception(error)
            return
        ready.set_result(None)
        engine = llm.llm_engine
        under_way: dict[str, Future[Sample]] = {}
        metrics_at, watchdog = 0.0, Watchdog("vLLM")
        names = itertools.count()
        while True:
            if not under_way or not self.requests.empty():
                if not under_way:
                    watchdog.rest()
                for request, sample in self.requests.get():
                    if self._is_taken(engine, name := str(next(names)), request, sample):
                        under_way[name] = sample
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

    def _is_taken(self, engine: Any, name: str, request: Request, sample: Future[Sample]) -> bool:
        """Give a request to the engine. One that the engine refuses is an error of its sample."""
        from vllm.exceptions import VLLMValidationError

        prompt: Any = {"type": "token", "prompt_token_ids": request.prompt_ids}
        try:
            engine.add_request(name, prompt, vllm_parameters(self.config, request))
        except (ValueError, VLLMValidationError) as error:
            sample.set_result(Sample([], "error", f"the engine refused it: {error}"))
        except Exception as error:
            sample.set_exception(error)
        return not sample.done()


def _set_cache_metric(llm: Any) -> None:
    """Set the metric of how full the engine's cache is."""
    for metric in llm.get_metrics():
        if metric.name == "vllm:kv_cache_usage_perc":
            prometheus.set_kv_cache_usage(float(metric.value))


def open_vllm(folder: Path, config: SamplingConfig, options: Mapping[str, Any] = {}) -> Any:
    """Open a `vllm.LLM` with the settings of a study. options: vLLM's own, of the placement.

    On GPUs vLLM chooses the number of sequences in a batch by their memory.
    """
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

    # Of an engine that is spread over nodes this process has none: vLLM takes them where they are.
    is_spread = "tensor_parallel_size" in options
    gpus = len(ray.get_gpu_ids()) if ray.is_initialized() else 1  # those that the placement gave this engine
    tensor_parallel = gpus // options.get("pipeline_parallel_size", 1)
    several: dict[str, Any] = {}
    if gpus > 1:
        several = {"tensor_parallel_size": tensor_parallel, "distributed_executor_backend": "mp"}
    cpu: dict[str, Any] = {
        # vLLM 0.32 on CPU refuses a seed in a prompt that is prefilled in parts.
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(8192, config.longest),
        "enforce_eager": True,
        "block_size": 32,
        "max_num_seqs": 256,
    }
    arguments: dict[str, Any] = {
        "enable_prefix_caching": True,
        **(several if torch.cuda.is_available() or is_spread else cpu),
        **engine_options.of_placement(options),
        **engine_options.arguments(config.engine_options),
    }
    return LLM(
        model=str(folder),
        dtype=config.dtype,
        max_model_len=config.longest,
        seed=0,
        disable_log_stats=not (
            torch.cuda.is_available() or is_spread
        ),  # a tiny model's steps are as short as the stats' own
        **VLLM,
        **arguments,
    )


def vllm_parameters(config: SamplingConfig, request: Request) -> Any:
    """Return the `vllm.SamplingParams` of one sample."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    stops = config.stops if request.stops is None else request.stops
    return SamplingParams(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
        max_tokens=request.max_tokens or config.max_tokens,
        seed=request.seed,
        stop=list(stops) or None,
        stop_token_ids=list(request.ends) or None,
        detokenize=bool(stops),
        skip_special_tokens=request.stops is None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        structured_outputs=StructuredOutputsParams(regex=config.regex) if config.regex else None,
    )
