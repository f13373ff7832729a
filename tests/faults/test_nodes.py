"""Nodes of a cluster die and are drained during each stage, and the head too: nothing is lost. All combinations, twice:
`python -m tests.faults.nodes`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Counted
from tests.faults.nodes import OWN, STAGES, Nodes, check, ended, roots, start, under_way

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    found = Nodes()
    yield found
    found.end()


@pytest.fixture(scope="module")
def undisturbed(nodes: Nodes) -> Iterator[dict[str, Any]]:
    with roots("disk") as new_root:
        yield ended(start(nodes, new_root(), STAGES[-1]))


def test_every_stage_loses_the_node_that_it_works_on(
    nodes: Nodes, undisturbed: dict[str, Any], counted: Counted
) -> None:
    with roots("s3") as new_root:
        root = new_root()
        driver = start(nodes, root, STAGES[-1])
        for number, stage in enumerate(STAGES):
            under_way(root, stage, driver)
            (Nodes.drain if number % 2 else Nodes.kill)(nodes, OWN[stage])
            time.sleep(1)
            nodes.replace(OWN[stage])
        rows = check(root, ended(driver), undisturbed)
    counted(f"4 of 4 nodes killed or drained under 4 stages on S3, {rows} rows: 0 lost, doubled or changed")


def test_a_new_cluster_resumes_what_a_killed_one_left(undisturbed: dict[str, Any], counted: Counted) -> None:
    """The last test here: Ray keeps one cluster per process, whose head this ends."""
    with roots("disk") as new_root:
        root = new_root()
        nodes = Nodes()
        driver = start(nodes, root, STAGES[-1])
        under_way(root, "graded", driver)
        nodes.cluster.remove_node(nodes.cluster.head_node, allow_graceful=False)
        driver.kill()
        driver.communicate()
        nodes.end()
        nodes = Nodes()
        rows = check(root, ended(start(nodes, root, STAGES[-1])), undisturbed)
        nodes.end()
    counted(f"1 head killed; a new cluster went on, {rows} rows: 0 lost, doubled or changed")
