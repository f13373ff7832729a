"""Many small trainings: all at once, in queues, against two by two, each with processes of its own.

    python tests/benchmarks/side_by_side.py [--models 8] [--pairs 3]

Prints the seconds of each and, last, `ratio side_by_side <median> <min> <max>`: theirs over ours, above 1 is better.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from components.data.problems import teacher
from components.dataflow.runner import Runner
from components.dataflow.stage import ModelStage
from components.dataflow.store import Store
from components.training.config import GeneratorConfig, TrainingConfig
from components.training.stages import generator
from components.worlds.worked_arithmetic import WorldConfig
from flows.command_line.cli import start_ray
from flows.presets.presets import PRESETS


def stages(models: int) -> list[ModelStage]:
    """So many tiny generators that differ in their seed; each trains for a second or so."""
    architecture = PRESETS["smoke"].generator.architecture
    configs = (
        GeneratorConfig(TrainingConfig(1, 16, 1e-3, max_tokens=256, seed=seed), architecture) for seed in range(models)
    )
    return [generator(config, None, f"generator_{number}") for number, config in enumerate(configs)]


def seconds(models: int, at_once: int) -> float:
    """To train them all, so many asked for at once."""
    with tempfile.TemporaryDirectory() as root:
        runner = Runner(Store(root), say=lambda line: None)
        runner.start_engine = lambda: start_ray(runner, False)
        solutions = runner.table(teacher(dataclasses.replace(WorldConfig(), teacher_solutions=400)))
        runner.start_engine()
        asked = stages(models)
        began = time.perf_counter()
        for at in range(0, models, at_once):
            runner.train_concurrently(*((stage, {"solutions": solutions}) for stage in asked[at : at + at_once]))
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    ratios = []
    for number in range(options.pairs):
        sides = [options.models, 2] if number % 2 == 0 else [2, options.models]
        found = {side: seconds(options.models, side) for side in sides}
        print(f"{options.models} models: {found[options.models]:.1f} s in queues, {found[2]:.1f} s two by two")
        ratios.append(found[2] / found[options.models])
    print(f"ratio side_by_side {statistics.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


if __name__ == "__main__":
    main()
