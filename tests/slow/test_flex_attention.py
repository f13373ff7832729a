"""The row that a GPU computes, by flex attention compiled for this machine, against the one that a CPU computes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from components.packed_attention import pack
from components.prefix_tree import prefix_tree
from tests.test_training import tiny_model


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="PyTorch compiles with g++")
def test_flex_attention_sees_what_the_plain_kernel_sees() -> None:
    model = tiny_model(3).eval()
    rng = np.random.default_rng(0)
    trees = [
        prefix_tree([[*range(5), *rng.integers(0, 4, rng.integers(1, 7)).tolist()] for _ in range(4)]) for _ in range(6)
    ]
    everywhere = torch.arange(sum(map(len, trees)))
    with torch.no_grad():
        plain, flex = (model(pack(trees, torch.device("cpu"), flex=flex), everywhere) for flex in (False, True))
    torch.testing.assert_close(flex, plain, rtol=0, atol=1e-5)
    assert float(plain.std()) > 0.01
