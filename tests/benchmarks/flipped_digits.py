"""Does a PRM read what is written? One digit of a right step is changed, and the step's score should fall.

    python flows/full_study.py                     # the embedded study, whose rule says which steps are right
    python tests/benchmarks/flipped_digits.py      # --study FOLDER, --trials N, --seed S

Right steps of test samples, at random; a digit of each becomes another digit such that the rule calls the step wrong.
The score is P(neutral) + P(positive) of that step. Ends with the share of trials in which it fell.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import pandas as pd

from components.verifiers.verifier import Verifier
from components.worlds.worked_steps import change_digit, rate_steps


def trial(rng: random.Random, row: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The solution through one of its right steps, before and after a digit of that step was changed."""
    steps = list(row["steps"])
    right = [at for at, rating in enumerate(rate_steps(row["problem"], steps) or []) if rating >= 0]
    if not right:
        return None
    at = rng.choice(right)
    flipped = change_digit(rng, steps[at])
    if flipped is None or (rate_steps(row["problem"], [*steps[:at], flipped]) or [1])[-1] != -1:
        return None  # no digit, or still right
    ends = row["finish_reason"] if at == len(steps) - 1 else "length"
    about = {"problem": row["problem"], "finish_reason": ends}
    return about | {"steps": steps[: at + 1]}, about | {"steps": [*steps[:at], flipped]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("outputs/studies/laptop"), help="a finished study's folder")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    index = json.loads((options.study / "index.json").read_text())
    frame = pd.read_parquet(index["solutions"])
    rows = frame[(frame["split"] == "test") & frame["error"].isna()].to_dict("records")
    rng = random.Random(options.seed)
    trials: list[tuple[dict[str, Any], dict[str, Any]]] = []
    while len(trials) < options.trials:
        if (made := trial(rng, rng.choice(rows))) is not None:
            trials.append(made)
    verifier = Verifier(Path(index["prm"]))
    before, after = (verifier.step_probabilities([pair[side] for pair in trials]) for side in (0, 1))
    fell = [1 - new[-1, 0] < 1 - old[-1, 0] for old, new in zip(before, after, strict=True)]
    for name, found in (("right", before), ("flipped", after)):
        print(f"{name} steps: mean score {sum(1 - float(one[-1, 0]) for one in found) / len(found):.3f}")
    print(f"the score fell in {sum(fell)} of {len(fell)} trials: {sum(fell) / len(fell):.3f}")


if __name__ == "__main__":
    main()
