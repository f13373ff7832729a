"""Settings of sampling, without vLLM: what it is started with (a stand-in takes its place), and the nucleus."""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch

from components.dataflow.stage import canonical_json
from components.sampling import engine_options
from components.sampling.engines import Request, SamplingConfig
from components.sampling.transformers_engine import TransformersEngine
from components.sampling.vllm_engine import open_vllm, vllm_parameters

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


def kept(**settings: Any) -> list[list[float]]:
    """The probabilities that are left of two rows, by the engine transformers; what a row has already is token 1."""
    engine = TransformersEngine.__new__(TransformersEngine)  # without a model: its probabilities alone
    logits_BV = torch.tensor([[0.05, 0.6, 0.05, 0.3], [0.25, 0.25, 0.25, 0.25]]).log()
    engine.config = dataclasses.replace(CONFIG, **settings)
    return [[round(value, 6) for value in row] for row in engine._probabilities(logits_BV, [[1], [1]]).tolist()]


def test_a_nucleus_keeps_the_likeliest_tokens_and_no_others() -> None:
    assert kept(top_p=1.0)[0] == [0.05, 0.6, 0.05, 0.3]
    assert kept(top_p=0.8)[0] == [0, 0.6, 0, 0.3]  # 0.6 alone is not enough
    assert kept(top_p=0.5)[0] == [0, 0.6, 0, 0]
    assert kept(top_p=0.5)[1] == [0.25, 0.25, 0, 0]


def test_the_other_ways_to_leave_tokens_out() -> None:
    assert kept(top_k=2)[0] == [0, pytest.approx(2 / 3, abs=1e-5), 0, pytest.approx(1 / 3, abs=1e-5)]
    assert kept(min_p=0.4)[0] == [0, pytest.approx(2 / 3, abs=1e-5), 0, pytest.approx(1 / 3, abs=1e-5)]
    assert kept(min_p=0.6)[0] == [0, 1, 0, 0]
    assert kept(top_k=4, min_p=0.01) == kept()
    # Token 1 is there already: its logarithm, below 0, is doubled, so that 0.6 counts as 0.36.
    total = 0.05 + 0.36 + 0.05 + 0.3
    assert kept(repetition_penalty=2.0)[0] == [pytest.approx(p / total, abs=1e-5) for p in (0.05, 0.36, 0.05, 0.3)]


def test_vllm_is_asked_for_the_same() -> None:
    pytest.importorskip("vllm")
    config = dataclasses.replace(
        CONFIG, top_k=5, min_p=0.1, repetition_penalty=1.2, top_p=0.9, stop="\n---", stop_texts=("END",)
    )
    asked = vllm_parameters(config, Request([1], 7))
    assert (asked.top_k, asked.min_p, asked.repetition_penalty, asked.top_p) == (5, 0.1, 1.2, 0.9)
    assert (asked.stop, asked.detokenize, asked.seed) == (["\n---", "END"], True, 7)
    asked = vllm_parameters(CONFIG, Request([1], 7))
    assert (asked.top_k, asked.min_p, asked.repetition_penalty, asked.stop, asked.detokenize) == (0, 0, 1, [], False)


@pytest.mark.parametrize("top_p", [0.0, 1.5, -0.1])
def test_a_nucleus_without_tokens_is_refused(top_p: float) -> None:
    with pytest.raises(ValueError, match="top_p"):
        dataclasses.replace(CONFIG, top_p=top_p)


def test_a_nucleus_of_all_tokens_moves_no_key() -> None:
    assert "top_p" not in canonical_json(CONFIG)
    assert '"top_p":0.9' in canonical_json(dataclasses.replace(CONFIG, top_p=0.9))


def arguments_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpu: bool, **options: Any) -> dict[str, Any]:
    """What `vllm.LLM` is made with."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **arguments: arguments))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    config = dataclasses.replace(CONFIG, engine_options=engine_options.of_key(options))
    return open_vllm(tmp_path, config, options)


def test_options_of_a_placement_reach_vllm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    speculative = {"method": "ngram", "num_speculative_tokens": 3}
    given = {"max_num_seqs": 1024, "kv_cache_dtype": "fp8", "speculative_config": speculative, "block_size": 16}
    for gpu in (True, False):
        assert arguments_of(monkeypatch, tmp_path, gpu, **given).items() >= given.items()


def test_a_stage_whose_key_has_no_option_that_changes_tokens_is_opened_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a verifier that is a judge: the options of a placement reach its engine too."""
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=lambda **arguments: arguments))
    asked = open_vllm(tmp_path, CONFIG, {"max_num_seqs": 7, "quantization": "fp8"})
    assert asked["max_num_seqs"] == 7
    assert "quantization" not in asked


@pytest.mark.parametrize(("gpus", "parts", "tensor_parallel"), [(1, None, None), (4, None, 4), (8, 2, 4), (2, 2, 1)])
def test_parts_of_the_layers_share_an_engines_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: int, parts: int | None, tensor_parallel: int | None
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", lambda: list(range(gpus)))
    options = {} if parts is None else {"pipeline_parallel_size": parts}
    engine_options.check(options, gpus)
    asked = arguments_of(monkeypatch, tmp_path, gpu=True, **options)
    assert (asked.get("tensor_parallel_size"), asked.get("pipeline_parallel_size")) == (tensor_parallel, parts)


def test_an_engine_over_nodes_has_a_part_of_the_layers_on_each(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its actor holds no GPU, so CUDA is not there; vLLM takes the GPUs through Ray. Not run: that needs two nodes."""
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "get_gpu_ids", list)
    engine_options.check({"max_num_seqs": 7}, 8, nodes=2)
    asked = arguments_of(monkeypatch, tmp_path, gpu=False, **engine_options.over_nodes({"max_num_seqs": 7}, 8, 2))
    several = {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "distributed_executor_backend": "ray"}
    assert asked.items() >= {"max_num_seqs": 7, **several}.items()
    assert not {"enforce_eager", "max_num_batched_tokens"} & asked.keys()  # of CPUs
    with pytest.raises(ValueError, match="pipeline_parallel_size follows from nodes = 2"):
        engine_options.check({"pipeline_parallel_size": 2}, 8, nodes=2)


@pytest.mark.parametrize(("gpus", "parts"), [(1, 2), (8, 3), (8, 0), (8, "2"), (8, True), (0.5, 2)])
def test_parts_that_do_not_divide_the_gpus_are_refused(gpus: float, parts: Any) -> None:
    with pytest.raises(ValueError, match=rf"pipeline_parallel_size is {parts!r}, and an engine has {gpus:g} GPUs"):
        engine_options.check({"pipeline_parallel_size": parts}, gpus)


def test_vllm_chooses_its_batch_by_the_memory_of_a_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "max_num_seqs" not in arguments_of(monkeypatch, tmp_path, gpu=True)
    assert arguments_of(monkeypatch, tmp_path, gpu=False)["max_num_seqs"] == 256


def test_options_that_can_change_tokens_are_a_part_of_the_key_and_no_others() -> None:
    assert "engine_options" not in canonical_json(CONFIG)
    options = {"max_num_seqs": 7, "quantization": "fp8", "hf_overrides": {"b": 1, "a": 2}}
    assert engine_options.of_key(options) == (("hf_overrides", '{"a": 2, "b": 1}'), ("quantization", '"fp8"'))
    assert not engine_options.CHANGE_TOKENS.keys() & engine_options.KEEP_TOKENS.keys()
    with pytest.raises(ValueError, match="no option 'seed'"):
        engine_options.check({"seed": 1}, gpus=1)


def test_the_names_of_the_options_are_vllms() -> None:
    arg_utils = pytest.importorskip("vllm.engine.arg_utils")
    known = {field.name for field in dataclasses.fields(arg_utils.EngineArgs)}
    assert {*engine_options.CHANGE_TOKENS, *engine_options.KEEP_TOKENS} <= known
