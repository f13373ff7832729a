"""What the dataflow costs: the generation stage (shards streamed by Ray Data, solutions and grades committed) against
raw `vllm.LLM.generate` on the same prompts, seeds and settings. Engine starts excluded; one engine on either side, with
as many threads.

    python tests/benchmarks/generation.py --generator FOLDER [--problems 600] [--samples 16] [--pairs 3] [--threads 1]

FOLDER: a trained generator, e.g. the one that index.json of a study names. Both sides in turn.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pyarrow as pa

from cluster.placements import auto
from components.data.problems import problem_id, world_problems
from components.dataflow.model_files import folder_digest
from components.dataflow.runner import Runner
from components.dataflow.stage import Model, Pool, seed_for
from components.dataflow.store import Store
from components.sampling.engines import Request, SamplingConfig
from components.sampling.generation import Generate, generate
from components.sampling.grading import grade
from components.sampling.vllm_engine import open_vllm, vllm_parameters
from components.text.rendering import render_prompts
from components.worlds.worked_arithmetic import WorldConfig, chains
from flows.presets.laptop import LAPTOP


class TimedGenerate(Generate):
    """Notes when the first shard reached the engine, which is then up."""

    def __call__(self, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        note = Path(tempfile.gettempdir()) / f"stepverify-benchmark-{self.config.seed}"
        if not note.exists():
            note.write_text(str(time.time()))
        return super().__call__(table, item)


def ours(folder: Path, problems: int, config: SamplingConfig, threads: int) -> float:
    """Solution tokens per second of the stage, grading and commits included; threads 0: placed as a study is."""
    import ray

    if not ray.is_initialized():
        ray.init(address="local", num_cpus=2 * (os.cpu_count() or 2), include_dashboard=False, log_to_driver=False)
        ray.data.DataContext.get_current().enable_progress_bars = False
    value, files = folder_digest(folder)
    note = Path(tempfile.gettempdir()) / f"stepverify-benchmark-{config.seed}"
    note.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as root:
        pools = dict(auto(ray.cluster_resources()).pools)
        if threads:  # Ray gives an actor's engine as many threads as it has CPUs
            pools |= {"solutions": Pool(1, threads, shards_at_once=2)}
        runner = Runner(Store(root), say=lambda line: None, pools=pools)
        world = WorldConfig(train_problems=1, test_problems=problems, ood_problems=1)
        source = runner.table(world_problems(world)).without(split="train").without(split="ood")
        stage = dataclasses.replace(generate(config, Model(str(folder), value, files)), make_worker=TimedGenerate)
        solutions, _ = runner.map(source, stage, grade())
        seconds = time.time() - float(note.read_text())
        tokens = sum(Store(root).read(solutions, ["num_tokens"])["num_tokens"].to_pylist())
    return tokens / seconds


def raw(folder: Path, problems: int, config: SamplingConfig) -> float:
    """Solution tokens per second of one call of vllm.LLM.generate, in this process."""
    from transformers import AutoTokenizer

    texts = [chain.problem for chain in chains(WorldConfig(), "test", problems)]
    prompts: list[Any] = []
    parameters = []
    for text, prompt in zip(texts, render_prompts(AutoTokenizer.from_pretrained(folder), texts), strict=True):
        for index in range(config.samples_per_problem["test"]):
            prompts.append({"prompt_token_ids": prompt})
            parameters.append(vllm_parameters(config, Request([], seed_for(config.seed, problem_id(text), index))))
    engine = open_vllm(folder, config)
    began = time.time()
    outputs = engine.generate(prompts, parameters, use_tqdm=False)
    return sum(len(output.outputs[0].token_ids) for output in outputs) / (time.time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=600)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="of each side's one engine; 0: this machine as a study uses it, and raw vLLM with a thread per core",
    )
    parser.add_argument("--side", choices=["raw"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    config = dataclasses.replace(LAPTOP.sampling, samples_per_problem={"test": options.samples})
    if options.side:
        print(json.dumps(raw(options.generator, options.problems, config)))
        return
    ratios = []
    for pair in range(options.pairs):
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads or os.cpu_count())}
        done = subprocess.run(
            [sys.executable, *sys.argv, "--side", "raw"], capture_output=True, text=True, check=True, env=environment
        )
        theirs = json.loads(done.stdout.splitlines()[-1])
        here = ours(options.generator, options.problems, dataclasses.replace(config, seed=pair), options.threads)
        print(f"pair {pair}: the stage {here:,.0f} tokens/s, raw vLLM {theirs:,.0f} tokens/s", flush=True)
        ratios.append(here / theirs)
    print(f"ratio generation {np.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


if __name__ == "__main__":
    main()
