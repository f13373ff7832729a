"""Best-of-N of one reward model on 500 problems × 1860 samples: exact for all N at once, against the shuffle algorithm
of the released evaluation (400 trials for each of 14 N). Both sides in turn, several times; seconds, then the ratio.

    python tests/benchmarks/best_of_n.py
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from components.statistics.best_of_n import best_of_n

PROBLEMS, SLOTS, TRIALS, PAIRS = 500, 1860, 400, 3
SHUFFLE_NS = [1, 2, 5, 10, 25, 50, 100, 200, 300, 500, 750, 1000, 1500, 1860]


def by_shuffling(scores_PM: np.ndarray, right_PM: np.ndarray, trials: int) -> np.ndarray:
    """Mean accuracy per N over trials: shuffle the slots, take N, pick the best score (paper, released evaluation)."""
    rng = np.random.default_rng(0)
    means = []
    for n in SHUFFLE_NS:
        accuracy = []
        for _ in range(trials):
            total = 0.0
            for scores, right in zip(scores_PM, right_PM, strict=True):
                chosen = rng.permutation(SLOTS)[:n]
                total += right[chosen[np.argmax(scores[chosen])]]
            accuracy.append(total / PROBLEMS)
        means.append(np.mean(accuracy))
    return np.array(means)


def main() -> None:
    rng = np.random.default_rng(0)
    right_PM = rng.random((PROBLEMS, SLOTS)) < rng.random((PROBLEMS, 1))
    scores_PM = right_PM + rng.normal(size=(PROBLEMS, SLOTS))
    ratios = []
    for pair in range(PAIRS):
        began = time.perf_counter()
        exact = best_of_n(scores_PM, right_PM, list(range(1, SLOTS + 1)))
        ours = time.perf_counter() - began
        # A twentieth of the trials is timed, and counted twenty times: the whole takes minutes.
        began = time.perf_counter()
        shuffled = by_shuffling(scores_PM, right_PM, TRIALS // 20)
        theirs = (time.perf_counter() - began) * 20
        difference = np.abs(exact.mean(0)[np.array(SHUFFLE_NS) - 1] - shuffled).max()
        print(f"pair {pair}: exact {ours:.2f} s, shuffling {theirs:.1f} s, largest difference {difference:.4f}")
        ratios.append(theirs / ours)
    print(f"ratio best_of_n {np.median(ratios):.1f} {min(ratios):.1f} {max(ratios):.1f}")


if __name__ == "__main__":
    main()
