"""Does a PRM read the problem? A right step is changed so that only the problem says it is wrong.

    python flows/full_study.py                     # the embedded study, whose rule says which steps are right
    python tests/benchmarks/misread_steps.py       # --study FOLDER, --trials N, --seed S

Right steps of test samples, at random; each becomes one with another operand, another operation, the turn after it, or
another name, whose arithmetic is right all the same. flipped_digits.py cannot see whether a PRM finds these: a changed
digit is wrong in itself. The score is P(neutral) + P(positive) of the step. Ends with, by change, the share of trials
in which it fell, and the AUC of right against changed steps (0.5: the PRM does not read it).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd

from components.verifiers.verifier import Verifier
from components.worlds.worked_arithmetic import NAMES, OPERANDS, Chain, Operation
from components.worlds.worked_steps import rate_steps

Change = Callable[[random.Random, Chain, int], Operation | None]


def operand(rng: random.Random, chain: Chain, turn: int) -> Operation | None:
    own = chain.operations[turn]
    others = [other for other in OPERANDS[own.symbol] if other != own.operand]
    return dataclasses.replace(own, operand=rng.choice(others)) if others else None


def operation(rng: random.Random, chain: Chain, turn: int) -> Operation | None:
    own = chain.operations[turn]
    return dataclasses.replace(own, symbol="-" if own.symbol == "+" else "+") if own.symbol in "+-" else None


def order(rng: random.Random, chain: Chain, turn: int) -> Operation | None:
    return chain.operations[turn + 1] if turn + 1 < len(chain.operations) else None


def name(rng: random.Random, chain: Chain, turn: int) -> Operation | None:
    own = chain.operations[turn]
    return dataclasses.replace(own, name=rng.choice([other for other in NAMES if other != own.name]))


CHANGES: dict[str, Change] = {"operand": operand, "operation": operation, "order": order, "name": name}


def trial(rng: random.Random, row: dict[str, Any], change: Change) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The solution through one of its right turns, before and after that turn was changed; None: it cannot be."""
    steps, chain = list(row["steps"]), Chain.parse(row["problem"])
    ratings = rate_steps(row["problem"], steps) or []
    turns = [at for at, rating in enumerate(ratings) if rating > 0 and " = " in steps[at]]
    if chain is None or not turns:
        return None
    turn = rng.randrange(len(turns))
    at = turns[turn]
    changed = change(rng, chain, turn)
    if changed is None:
        return None
    value = int(steps[at].split()[1])
    text = changed.write(value, changed.apply(value))
    if (rate_steps(row["problem"], [*steps[:at], text]) or [1])[-1] != -1:
        return None  # still right
    about = {"problem": row["problem"], "finish_reason": "length"}
    return about | {"steps": steps[: at + 1]}, about | {"steps": [*steps[:at], text]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("outputs/studies/laptop"), help="a finished study's folder")
    parser.add_argument("--trials", type=int, default=500, help="of each change")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    index = json.loads((options.study / "index.json").read_text())
    frame = pd.read_parquet(index["solutions"])
    rows = frame[(frame["split"] == "test") & frame["error"].isna()].to_dict("records")
    verifier = Verifier(Path(index["prm"]))
    for about, change in CHANGES.items():
        rng = random.Random(f"{about} {options.seed}")
        trials: list[tuple[dict[str, Any], dict[str, Any]]] = []
        while len(trials) < options.trials:
            if (made := trial(rng, rng.choice(rows), change)) is not None:
                trials.append(made)
        right, changed = (
            np.array([1 - float(one[-1, 0]) for one in verifier.step_probabilities([pair[side] for pair in trials])])
            for side in (0, 1)
        )
        fell = float((changed < right).mean())
        auc = float((right[:, None] > changed).mean() + (right[:, None] == changed).mean() / 2)
        print(f"{about}: the score fell in {100 * fell:.1f} % of {len(trials)} trials, AUC {auc:.3f}")


if __name__ == "__main__":
    main()
