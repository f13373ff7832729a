"""Shards in flight at once share the engine's batches, and the first of them is done first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.sampling import vllm_engine
from components.sampling.engines import Request, SamplingConfig

CONFIG = SamplingConfig({}, 0.7, 128, 1024, "float32", "vllm")


class OneAtATime:
    """Stands in for vLLM's engine: a step finishes the request that has waited longest. A prompt of token 9 raises."""

    log_stats = False

    def __init__(self) -> None:
        self.waiting: list[tuple[str, int]] = []
        self.order: list[int] = []
        self.starts = threading.Event()

    def add_request(self, name: str, prompt: Any, parameters: Any) -> None:
        if prompt["prompt_token_ids"] == [9]:
            raise ValueError("too long")
        self.waiting.append((name, prompt["prompt_token_ids"][0]))

    def step(self) -> list[Any]:
        self.starts.wait(10)
        name, token = self.waiting.pop(0)
        self.order.append(token)
        written = SimpleNamespace(token_ids=[token], finish_reason="stop")
        return [SimpleNamespace(request_id=name, finished=True, outputs=[written])]


def opened(monkeypatch: pytest.MonkeyPatch, fake: OneAtATime) -> vllm_engine.VllmEngine:
    monkeypatch.setattr(vllm_engine, "open_vllm", lambda *_: SimpleNamespace(llm_engine=fake))
    return vllm_engine.VllmEngine(Path("folder"), CONFIG)


def test_shards_are_done_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = OneAtATime()
    engine = opened(monkeypatch, fake)
    shards = [[Request([token], 0)] * 500 for token in (1, 2, 3)]
    with ThreadPoolExecutor(3) as threads:
        done = [threads.submit(engine.generate, shard) for shard in shards]
        fake.starts.set()
        written = [{tuple(sample.ids) for sample in shard.result()} for shard in done]
    assert written == [{(1,)}, {(2,)}, {(3,)}]
    changes = sum(one != two for one, two in zip(fake.order, fake.order[1:], strict=False))
    assert len(fake.order) == 1500
    assert changes == 2  # none is interleaved with another


def test_a_refused_request_is_an_error_of_its_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = OneAtATime()
    fake.starts.set()
    engine = opened(monkeypatch, fake)
    samples = engine.generate([Request([1], 0), Request([9], 0), Request([2], 0)])
    assert [sample.error for sample in samples] == [None, "the engine refused it: too long", None]
    assert [sample.ids for sample in samples] == [[1], [], [2]]
    assert engine.generate([]) == []
