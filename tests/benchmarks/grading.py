"""The grader against math-verify and a plain SymPy comparison, on pairs made from MATH's real answers.

    python tests/benchmarks/grading.py --answers FILE.jsonl.gz [--pairs 1500] [--rounds 3] [--grades FOLDER]

FILE: rows with an `answer`. A third of the pairs are the answer in another style, a third the answer with a number one
off, a third another problem's answer. All sides uncached, in turn, each in a process of its own and single-threaded;
pairs per CPU-second, and the time of single pairs. Ours twice: in its contained worker, all processes counted, as a
study uses it, and its rules alone. The line `ratio grading` is ours as a study uses it over math-verify.
FOLDER: the grades of a study (index.json names it), to say what remembering pairs adds there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

SIDES = ("ours", "ours_alone", "math_verify", "sympy")
_SECONDS = 10  # on one pair; the others have no limit of their own that works here


def make_pairs(answers: list[str], count: int, rng: random.Random) -> list[tuple[str, str]]:
    pairs = []
    for number, truth in enumerate(rng.sample(answers, count)):
        digit = re.search(r"\d+", truth)
        if number % 3 == 0:
            other = truth.replace("\\frac", "\\dfrac") if "\\frac" in truth else f" {truth}."
        elif number % 3 == 1 and digit:
            other = f"{truth[: digit.start()]}{int(digit.group()) + 1}{truth[digit.end() :]}"
        else:
            other = rng.choice(answers)
        pairs.append((other, truth))
    return pairs


def comparison(side: str) -> Callable[[str, str], Any]:
    if side == "ours_alone":
        from components.grader.equality import decide

        return decide
    if side == "math_verify":
        from math_verify import parse, verify

        def by_math_verify(answer: str, truth: str) -> bool:
            sides = [parse(f"${text}$", parsing_timeout=None) for text in (truth, answer)]
            return bool(verify(*sides, timeout_seconds=None))

        return by_math_verify
    import sympy
    from latex2sympy2_extended import latex2sympy

    def by_sympy(answer: str, truth: str) -> bool:
        return answer == truth or bool(sympy.simplify(latex2sympy(answer) - latex2sympy(truth)) == 0)

    return by_sympy


def run_side(side: str, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """CPU seconds for all pairs, and the quantiles of single ones in milliseconds."""
    if side == "ours":
        from components.grader.sandbox import GradingSandbox

        pool = GradingSandbox()
        pool.verdicts([("1", "1.0"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\sum_{k=1}^{3} k", "6")])  # imports
        assert pool.worker is not None
        import psutil

        worker = psutil.Process(pool.worker.pid)
        began = time.process_time() + sum(worker.cpu_times()[:2])
        pool.verdicts(pairs)
        return {"cpu": time.process_time() + sum(worker.cpu_times()[:2]) - began}
    compare = comparison(side)
    compare(r"\frac{1}{2}", "0.5")  # imports

    def give_up(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    times = []
    for pair in pairs:
        began = time.process_time()
        signal.alarm(_SECONDS)
        try:
            compare(*pair)
        except Exception:  # a pair that it cannot read is graded too
            pass
        finally:
            signal.alarm(0)
        times.append(time.process_time() - began)
    p50, p99 = np.quantile(times, [0.5, 0.99]) * 1000
    return {"cpu": sum(times), "p50": p50, "p99": p99, "max": max(times) * 1000}


def remembered(folder: Path) -> None:
    """What grading distinct pairs only saves on a study's own grades."""
    import pandas as pd

    answered = pd.read_parquet(folder).dropna(subset=["answer"])
    distinct = len(answered.drop_duplicates(["problem_id", "answer"]))
    times = len(answered) / distinct
    print(f"that study: {len(answered):,} answers, {distinct:,} distinct pairs: {times:.1f} times fewer to compare")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--grades", type=Path)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    with gzip.open(options.answers, "rt") as lines:
        answers = [row["answer"] for row in map(json.loads, lines) if row["answer"]]
    pairs = make_pairs(answers, options.pairs, random.Random(options.seed))
    if options.side:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        print(json.dumps(run_side(options.side, pairs)))
        return
    ratios = []
    for round_ in range(options.rounds):
        cpu = {}
        for side in SIDES:
            command = [sys.executable, *sys.argv, "--side", side, "--seed", str(round_)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            result = json.loads(done.stdout.splitlines()[-1])
            cpu[side] = result["cpu"]
            single = (
                f", p50 {result['p50']:.2f} ms, p99 {result['p99']:.1f} ms, most {result['max']:.0f} ms"
                if "p50" in result
                else ""
            )
            print(
                f"round {round_}: {side} {options.pairs / result['cpu']:,.0f} pairs per CPU-second{single}", flush=True
            )
        ratios.append(cpu["math_verify"] / cpu["ours"])
    if options.grades:
        remembered(options.grades)
    print(f"ratio grading {np.median(ratios):.1f} {min(ratios):.1f} {max(ratios):.1f}")


if __name__ == "__main__":
    main()
