"""How fast a verifier reads a study's samples, against a plain Transformers loop that pads them in file order.

    python flows/full_study.py                     # a study to take samples and the PRM from
    python tests/benchmarks/scoring.py             # --study FOLDER, --rows N, --batch-size B of the plain loop

The same model, rows, arithmetic and threads on both sides, and the same probabilities (checked to 1e-4). A row of the
study is one of its N samples per problem. `one sample each`: one row of each problem, where no prefix can be shared.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from components.text.rendering import render
from components.verifiers.verifier import Verifier

Rows = list[dict[str, Any]]


class PlainLoop:
    """Batches in file order, padded to their longest."""

    def __init__(self, folder: str, batch_size: int) -> None:
        self.model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.batch_size = batch_size

    @torch.inference_mode()
    def step_probabilities(self, rows: Rows) -> list[np.ndarray]:
        found = []
        for start in range(0, len(rows), self.batch_size):
            batch = rows[start : start + self.batch_size]
            rendered = render(
                self.tokenizer,
                [row["problem"] for row in batch],
                [row["steps"] for row in batch],
                [row["finish_reason"] == "stop" for row in batch],
            )
            padded = self.tokenizer.pad(
                {"input_ids": [one.ids for one in rendered]}, padding_side="right", return_tensors="pt"
            )
            logits = self.model(**padded).logits
            found += [logits[i, one.step_ends].softmax(-1).numpy() for i, one in enumerate(rendered)]
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("outputs/studies/laptop"), help="a finished study's folder")
    parser.add_argument("--rows", type=int, default=3200, help="of the test split")
    parser.add_argument("--batch-size", type=int, default=32, help="of the plain loop")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    index = json.loads((options.study / "index.json").read_text())
    frame = pd.read_parquet(index["solutions"])
    frame = frame[(frame["split"] == "test") & frame["error"].isna() & (frame["steps"].str.len() > 0)]
    sides = {"ours": Verifier(Path(index["prm"])), "plain": PlainLoop(index["prm"], options.batch_size)}
    for name, part in {
        "one sample each": frame.groupby("problem_id", sort=False).head(1),
        "scoring": frame.head(options.rows),
    }.items():
        rows = part.assign(steps=part["steps"].map(list)).to_dict("records")
        ratios = []
        for pair in range(options.pairs):
            seconds, found = {}, {}
            for side in sorted(sides, reverse=bool(pair % 2)):
                began = time.perf_counter()
                found[side] = sides[side].step_probabilities(rows)
                seconds[side] = time.perf_counter() - began
            for ours, plain in zip(found["ours"], found["plain"], strict=True):
                np.testing.assert_allclose(ours, plain, atol=1e-4)
            ratios.append(seconds["plain"] / seconds["ours"])
            rates = ", ".join(f"{side} {len(rows) / seconds[side]:,.0f} rows/s" for side in sides)
            print(f"{name}, {len(rows):,} rows, pair {pair}: {rates}")
        print(f"ratio {name.replace(' ', '_')} {statistics.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


if __name__ == "__main__":
    main()
