"""A study on a cluster of four nodes that stand for its pools; nodes are killed, drained and replaced while it works.

python -m tests.slow.cluster.nodes [disk|s3]   every kind of node killed during every stage, on disk and S3 (moto) or on
                                               one; then nodes killed and drained under all stages of one study
python -m tests.slow.cluster.nodes ROOT STAGE  the driver: the study on the cluster of RAY_ADDRESS, up to a stage
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from components.data.problems import teacher
from components.dataflow.maintenance import verify
from components.dataflow.runner import Runner
from components.dataflow.stage import MapStage, Pool, TableStage
from components.dataflow.store import Store
from components.training.config import Architecture, GeneratorConfig, TrainingConfig
from components.training.stages import generator
from components.worlds.worked_arithmetic import WorldConfig
from tests.faults import s3
from tests.faults.fake import ROWS, Config, Multiply, numbers

ROOT = Path(__file__).parents[3]
COUNT = 240  # rows, in shards of 4
SECONDS = 0.2  # that a shard takes: a stage must not be over before a node is struck
KINDS = ("gpu_generate", "cpu_grade", "gpu_train")
STAGES = ("samples", "graded", "generator", "scored")
# Where each stage works: elsewhere, a dying node must not be noticed.
OWN = {"samples": "gpu_generate", "graded": "cpu_grade", "generator": "gpu_train", "scored": "gpu_generate"}
POOLS = {
    "samples": Pool(2, 0.5, resources={"gpu_generate": 1}),
    "graded": Pool(2, 0.5, resources={"cpu_grade": 1}),
    "scored": Pool(2, 0.5, resources={"gpu_generate": 1}),
    "training": Pool(1, 0.5, resources={"gpu_train": 1}),
}


class Slow(Multiply):
    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        time.sleep(SECONDS)
        return super().__call__(table, item)


def study(runner: Runner, until: str) -> dict[str, Any]:
    """What each stage up to `until` made: the digest of its rows, or of its weights."""
    source = runner.table(TableStage("numbers", 1, Config(COUNT), ROWS, numbers, shard_rows=4, shard_by="split"))
    config = dataclasses.replace(Config(), count=0)
    stages = [MapStage(name, 1, config, ROWS, Slow) for name in ("samples", "graded")]
    if until == "samples":
        stages = stages[:1]
    found = {dataset.name: dataset.digest for dataset in runner.map(source, *stages)}
    if STAGES.index(until) >= STAGES.index("generator"):
        solutions = runner.table(teacher(WorldConfig(teacher_solutions=1600)))
        training = TrainingConfig(epochs=3, batch_size=8, learning_rate=1e-3, shuffle=False, max_tokens=256)
        architecture = Architecture(hidden_size=32, layers=1, heads=1, intermediate_size=32)
        model = runner.train(generator(GeneratorConfig(training, architecture), None), solutions=solutions)
        found["generator"] = model.files["model.safetensors"]
        if until == "scored":
            graded = runner.results["graded"]
            stage = MapStage("scored", 1, config, ROWS, Slow, models={"generator": model})
            found["scored"] = runner.map(graded, stage)[0].digest  # type: ignore[arg-type]
    return found


class Nodes:
    """A head and a node of each kind."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        os.environ["RAY_health_check_period_ms"] = "1000"  # noqa: SIM112
        small = {"object_store_memory": 100_000_000}
        self.make = lambda kind: self.cluster.add_node(num_cpus=2, resources={kind: 2}, **small)
        head = {"num_cpus": 2, "include_dashboard": False, **small}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.nodes = {kind: self.make(kind) for kind in KINDS}

    def kill(self, kind: str) -> None:
        """As a machine goes: its raylet and all of its workers at once, without a word."""
        self.cluster.remove_node(self.nodes.pop(kind), allow_graceful=False)

    def drain(self, kind: str, seconds: int = 2) -> None:
        """As a cloud takes a spot machine back: it says so, and a little later the machine is gone."""
        command = [str(Path(sys.executable).parent / "ray"), "drain-node", "--address", self.cluster.address]
        command += ["--node-id", self.nodes[kind].node_id, "--reason", "DRAIN_NODE_REASON_PREEMPTION"]
        command += ["--reason-message", "spot", "--deadline-remaining-seconds", str(seconds)]
        subprocess.run(command, check=True, capture_output=True)
        time.sleep(seconds)
        self.kill(kind)

    def replace(self, kind: str) -> None:
        """What an autoscaler does."""
        self.nodes[kind] = self.make(kind)

    def end(self) -> None:
        self.cluster.shutdown()


def start(nodes: Nodes, root: str, until: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": nodes.cluster.address}
    command = [sys.executable, "-m", "tests.slow.cluster.nodes", root, until]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def ended(driver: subprocess.Popen[str]) -> dict[str, Any]:
    """The study's digests, once the driver is through."""
    out, err = driver.communicate(timeout=240)
    assert driver.returncode == 0, out[-2000:] + err[-4000:]
    [line] = [line for line in out.splitlines() if line.startswith('{"samples"')]  # raylets that end write there too
    return json.loads(line)


def under_way(root: str, stage: str, driver: subprocess.Popen[str]) -> None:
    """Wait until a stage has begun and is not over."""
    files = Store(root).files
    while True:
        assert driver.poll() is None, driver.communicate()
        if stage == "generator":
            if any(one.path.endswith("progress.json") for one in files.find("scratch") if "/generator-" in one.path):
                return
        elif (done := len(list(files.find(f"commits/{stage}")))) >= 6:
            assert done < COUNT // 4, f"{stage} was over before a node could be killed"
            return
        time.sleep(0.1)


def strike_down(nodes: Nodes, kind: str, how: Callable[[Nodes, str], None]) -> None:
    """A node goes, and another comes."""
    how(nodes, kind)
    time.sleep(1)
    nodes.replace(kind)


@contextlib.contextmanager
def roots(where: str) -> Iterator[Callable[[], str]]:
    """Makes roots of stores, in folders or on S3."""
    numbers_ = iter(range(1000))
    if where == "disk":
        folder = tempfile.mkdtemp()
        yield lambda: f"{folder}/{next(numbers_)}"
        shutil.rmtree(folder)
        return
    with s3.serve() as (bucket, _, environment):
        before = {name: os.environ.get(name) for name in environment}
        os.environ.update(environment)
        yield lambda: f"{bucket}/{next(numbers_)}"
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def check(root: str, found: Mapping[str, Any], undisturbed: Mapping[str, Any]) -> int:
    """Raises AssertionError for a row lost, doubled or changed. How many rows there are."""
    assert found == {name: undisturbed[name] for name in found}
    store = Store(root)
    assert verify(store, deep=True).findings == []
    assert not list(store.files.find("scratch/attempts"))
    rows = 0
    for stage in set(found) - {"generator"}:
        assert len(list(store.files.find(f"commits/{stage}"))) == COUNT // 4
        rows += COUNT
    return rows


def matrix(*places: str) -> None:
    kills = rows = 0
    for where in places or ("disk", "s3"):
        with roots(where) as new_root:
            nodes = Nodes()
            undisturbed = ended(start(nodes, new_root(), "scored"))
            for stage in STAGES:
                for kind in KINDS:
                    root = new_root()
                    began = time.monotonic()
                    driver = start(nodes, root, stage)
                    under_way(root, stage, driver)
                    strike_down(nodes, kind, Nodes.kill)
                    rows += check(root, ended(driver), undisturbed)
                    kills += 1
                    print(
                        f"{where}: {kind} killed during {stage}: as undisturbed, {time.monotonic() - began:.0f} s",
                        flush=True,
                    )
            rows += check(root := new_root(), all_in_turn(nodes, root), undisturbed)
            print(f"{where}: a node under each of {len(STAGES)} stages killed or drained in turn: as undisturbed")
            nodes.end()
    print(f"{kills} nodes killed, {rows:,} rows: 0 lost, 0 twice, 0 changed")


def all_in_turn(nodes: Nodes, root: str) -> dict[str, Any]:
    """A whole study, of which each stage loses the node that it works on."""
    driver = start(nodes, root, STAGES[-1])
    for number, stage in enumerate(STAGES):
        under_way(root, stage, driver)
        strike_down(nodes, OWN[stage], Nodes.drain if number % 2 else Nodes.kill)
    return ended(driver)


if __name__ == "__main__":
    if len(sys.argv) < 3:
        matrix(*sys.argv[1:])
    else:
        import ray

        keys = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}  # nodes started without
        ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, runtime_env={"env_vars": keys})
        ray.data.DataContext.get_current().enable_progress_bars = False
        print(json.dumps(study(Runner(Store(sys.argv[1]), study="nodes", pools=POOLS), sys.argv[2])))
