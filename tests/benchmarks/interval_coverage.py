"""How often 95 % intervals hold the truth, in per cent of simulated studies: by kind of value, trainings, how far these
differ, and problems. Each cell has the lowest and the highest of six truths (50 to 99.5 %) and, of several trainings,
of three degrees to which they have their problems in common.

    python tests/benchmarks/interval_coverage.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from components.statistics.bootstrap import ACCURACIES, DIFFERENCES, BootstrapConfig, two_way_interval
from tests.statistics.simulated_studies import KINDS, TRUTHS, coverage, values

PROBLEMS, STUDIES = (5, 10, 40, 50, 200), 2000


def cell(kind: str, seeds: int, spread: float, problems: int) -> str:
    bounds = DIFFERENCES if kind == "differences" else ACCURACIES
    found = []
    for shared in (0.5,) if seeds == 1 else (0.0, 0.5, 0.9):
        for truth in TRUTHS:
            rng = np.random.default_rng([seeds, problems, round(1000 * truth)])
            drawn, mean = values(kind, truth, (seeds, problems, STUDIES), spread, shared, rng)
            config = BootstrapConfig(resamples=1000)
            found.append(100 * coverage(two_way_interval(drawn, config, bounds), mean))
    return f"{min(found):.1f} to {max(found):.1f}"


def main() -> None:
    print("| values | trainings | points between trainings |" + "".join(f" {p} problems |" for p in PROBLEMS))
    print("|---|---|---|" + "---|" * len(PROBLEMS))
    for kind in KINDS:
        for seeds in (1, 3, 5):
            for spread in (0.0,) if seeds == 1 else (0.0, 0.03, 0.06):
                cells = "".join(f" {cell(kind, seeds, spread, problems)} |" for problems in PROBLEMS)
                print(f"| {kind} | {seeds} | {100 * spread:.0f} |{cells}", flush=True)


if __name__ == "__main__":
    main()
