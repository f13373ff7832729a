"""Layers on several devices: the same numbers, and each layer's inputs where the layer is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from components.models import layers_on_gpus
from components.models.layers_on_gpus import needed, on_devices, spread
from components.training.packed_attention import PackedRow, pack
from components.training.prefix_tree import prefix_tree
from components.verifiers.verifier import Verifier
from tests.verifiers.style_models import make, solutions

ROWS = [{"problem": problem, "steps": steps, "finish_reason": "stop"} for problem, steps in solutions()[:6]]


@pytest.mark.parametrize(
    ("size", "free", "gpus"),
    [
        (8, [10, 10], [0]),
        (8, [9, 12], [1]),
        (8.1, [10, 10], [0, 1]),
        (16, [10, 2, 12], [2, 0]),
    ],
)
def test_as_few_gpus_are_taken_as_hold_the_weights(size: float, free: list[float], gpus: list[int]) -> None:
    assert needed(size, free) == gpus


def test_weights_that_no_number_of_gpus_holds_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights of 20\.0 GB do not fit, .* on each of 2 GPUs \(10\.0, 10\.0 GB\)"):
        needed(20e9, [10e9, 10e9])
    with pytest.raises(ValueError, match="do not fit"):
        needed(17, [10, 2, 10])  # a third of it is more than the small one has


@pytest.mark.parametrize("style", ["qwen_prm", "trl", "versaprm", "armorm"])
def test_a_verifier_whose_layers_are_apart_reads_the_same(style: str, tmp_path: Path) -> None:
    """Of two layers each is on a device of its own; both are the CPU here, which changes no number."""
    make(style, tmp_path / "model")
    whole, apart = (Verifier(tmp_path / "model", style) for _ in range(2))
    spread(apart.logits, apart.logits.model, [torch.device("cpu")] * 2)
    for one, other in zip(whole.read(ROWS), apart.read(ROWS), strict=True):
        assert not isinstance(one, str)
        assert not isinstance(other, str)
        assert one.score == other.score


def test_what_a_layer_gets_is_where_the_layer_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make("trl", tmp_path / "model")
    verifier = Verifier(tmp_path / "model", "trl")
    moved: list[tuple[str, type]] = []

    def note(value: Any, device: torch.device) -> Any:
        moved.append((str(device), type(value)))
        return value

    layers = verifier.logits.model.base_model.layers
    monkeypatch.setattr(layers, "to", lambda device: layers)  # the second device of this test is not there
    monkeypatch.setattr(layers_on_gpus, "_moved", note)
    monkeypatch.setattr(layers[1], "to", lambda device: layers[1])
    spread(verifier.logits, verifier.logits.model, [torch.device("cpu"), torch.device("cuda", 1)])
    verifier.read(ROWS[:1])
    devices = [device for device, kind in moved if kind is PackedRow]
    assert devices == ["cpu", "cuda:1"]
    assert moved[-1][0] == "cpu"  # what the last layer gives goes back


def test_a_packed_row_is_copied_once_for_each_device() -> None:
    row = pack([prefix_tree([[1, 2, 3], [1, 2, 4]])], torch.device("cpu"))
    assert row.to(torch.device("cpu")) is row
    there = row.to(torch.device("meta"))
    assert there is row.to(torch.device("meta"))
    assert {part.device.type for part in (there.ids_1N, there.positions_1N, there.take_P, there.place_N)} == {"meta"}
    assert {group.mask_T1QK.device.type for group in there.groups if group.mask_T1QK is not None} == {"meta"}


def test_without_a_gpu_a_model_stays_where_it_is() -> None:
    module = torch.nn.Linear(2, 2)
    if not torch.cuda.is_available():
        assert on_devices(module, None) is module
        assert not module.training
