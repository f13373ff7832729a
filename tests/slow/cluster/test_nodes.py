"""A head dies, a new cluster goes on from the store, there a node dies and one is drained: nothing is lost. Every kind
of node, killed during every stage: `python -m tests.slow.cluster.nodes`."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.dataflow.runner import Runner
from components.dataflow.store import Store
from tests.conftest import Counted
from tests.faults.fake import serial_stream
from tests.slow.cluster.nodes import Nodes, check, ended, roots, start, strike_down, study, under_way

pytestmark = pytest.mark.slow


def test_the_head_and_nodes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, counted: Counted) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("tests.slow.cluster.nodes.SECONDS", 0)
        undisturbed = study(Runner(Store(tmp_path), stream=serial_stream), "graded")
    with roots("s3") as new_root:
        root = new_root()
        nodes = Nodes()
        driver = start(nodes, root, "graded")
        under_way(root, "samples", driver)
        nodes.cluster.remove_node(nodes.cluster.head_node, allow_graceful=False)
        driver.kill()
        driver.communicate()
        nodes.end()

        nodes = Nodes()
        driver = start(nodes, root, "graded")
        under_way(root, "samples", driver)
        strike_down(nodes, "gpu_generate", Nodes.kill)
        strike_down(nodes, "cpu_grade", Nodes.drain)
        rows = check(root, ended(driver), undisturbed)
        nodes.end()
    counted(f"1 head killed, 1 node killed, 1 drained on S3, {rows} rows: 0 lost, doubled or changed")
