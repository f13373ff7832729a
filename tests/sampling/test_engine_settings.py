"""Settings of sampling, without vLLM: what it is started with (a stand-in takes its place), and the nucleus."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from components.dataflow.stage import canonical_json
from components.sampling.engines import SamplingConfig
from components.sampling.transformers_engine import TransformersEngine
from components.sampling.vllm_engine import open_vllm

CONFIG = SamplingConfig(
    samples_per_problem={"test": 1},
    temperature=1.0,
    max_tokens=8,
    max_model_length=64,
    dtype="float32",
    engine="vllm",
)


def started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment at the moment that the engine is made."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **_: dict(os.environ)))
    return open_vllm(tmp_path, CONFIG)


def test_no_engine_reports_its_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    environment = started_with(monkeypatch, tmp_path)
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["DO_NOT_TRACK"] == "1"


def test_a_choice_of_the_user_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    assert started_with(monkeypatch, tmp_path)["DO_NOT_TRACK"] == "0"


def test_a_nucleus_keeps_the_likeliest_tokens_and_no_others() -> None:
    engine = TransformersEngine.__new__(TransformersEngine)  # without a model: its probabilities alone
    logits_BV = torch.tensor([[0.05, 0.6, 0.05, 0.3], [0.25, 0.25, 0.25, 0.25]]).log()

    def kept(top_p: float) -> list[list[float]]:
        engine.config = dataclasses.replace(CONFIG, top_p=top_p)
        return [[round(value, 6) for value in row] for row in engine._probabilities(logits_BV).tolist()]

    assert kept(1.0)[0] == [0.05, 0.6, 0.05, 0.3]
    assert kept(0.8)[0] == [0, 0.6, 0, 0.3]  # 0.6 alone is not enough
    assert kept(0.5)[0] == [0, 0.6, 0, 0]
    assert kept(0.5)[1] == [0.25, 0.25, 0, 0]


@pytest.mark.parametrize("top_p", [0.0, 1.5, -0.1])
def test_a_nucleus_without_tokens_is_refused(top_p: float) -> None:
    with pytest.raises(ValueError, match="top_p"):
        dataclasses.replace(CONFIG, top_p=top_p)


def test_a_nucleus_of_all_tokens_moves_no_key() -> None:
    assert "top_p" not in canonical_json(CONFIG)
    assert '"top_p":0.9' in canonical_json(dataclasses.replace(CONFIG, top_p=0.9))
