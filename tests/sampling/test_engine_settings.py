"""What vLLM is started with, without vLLM: a stand-in takes its place."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.sampling.engines import SamplingConfig
from components.sampling.vllm_engine import open_vllm


def started_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment at the moment that the engine is made."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **_: dict(os.environ)))
    config = SamplingConfig(
        samples_per_problem={"test": 1},
        temperature=1.0,
        max_tokens=8,
        max_model_length=64,
        dtype="float32",
        engine="vllm",
    )
    return open_vllm(tmp_path, config)


def test_no_engine_reports_its_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    environment = started_with(monkeypatch, tmp_path)
    assert environment["VLLM_NO_USAGE_STATS"] == "1"
    assert environment["DO_NOT_TRACK"] == "1"


def test_a_choice_of_the_user_stands(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    assert started_with(monkeypatch, tmp_path)["DO_NOT_TRACK"] == "0"
