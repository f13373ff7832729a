"""How long compare_verifiers.py takes for two verifiers, against a plain Transformers loop; and the driver's memory.

    python flows/full_study.py                      # a study to take samples, the PRM and the ORM from
    python tests/benchmarks/compare_verifiers.py    # --study FOLDER, --rows N, --pairs P

Ours is the whole command on a file of samples: reading, scoring by both through Ray, best-of-N, intervals and report,
in a fresh store. The plain loop reads the same file and scores the same rows with the same models, batches padded in
file order, and does nothing else; it has all cores. Both give the same scores (checked to 1e-4). Samples beyond the
study's own are copies with other digits, so that no shard is like another.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import pandas as pd
import psutil
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from components.statistics.score_reduction import solution_scores
from components.text.rendering import render

ROOT = Path(__file__).parents[2]
BATCH = 32  # of the plain loop


def samples(study: Path, rows: int) -> list[dict[str, Any]]:
    """Return so many samples: the study's test samples, and copies of them with other digits."""
    index = json.loads((study / "index.json").read_text())
    keys = ["problem_id", "sample_index"]
    frame = pd.read_parquet(index["solutions"]).merge(pd.read_parquet(index["grades"])[[*keys, "is_correct"]], on=keys)
    frame = frame[(frame["split"] == "test") & frame["error"].isna() & (frame["steps"].str.len() > 0)]
    own = [
        {"problem": row.problem, "steps": list(row.steps), "is_correct": bool(row.is_correct)}
        for row in frame.itertuples()
    ]
    found: list[dict[str, Any]] = []
    while len(found) < rows:
        shift = len(found) // len(own)
        table = str.maketrans("0123456789", "".join(str((digit + shift) % 10) for digit in range(10)))
        for row in own:
            steps = [step.translate(table) for step in row["steps"]]
            found.append(row | {"problem": f"{row['problem'].translate(table)}{' ' * (shift // 10)}", "steps": steps})
    return found[:rows]


def plain_loop(path: Path, models: dict[str, str]) -> dict[str, np.ndarray]:
    """Score the rows of a file by each model, in padded batches."""
    rows = [json.loads(line) for line in path.open()]
    scores = {}
    for name, folder in models.items():
        model = AutoModelForTokenClassification.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        found: list[np.ndarray] = []
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            texts = ([row[field] for row in batch] for field in ("problem", "steps"))
            rendered = render(tokenizer, *texts, [True] * len(batch))
            padded = tokenizer.pad(
                {"input_ids": [one.ids for one in rendered]}, padding_side="right", return_tensors="pt"
            )
            with torch.inference_mode():
                logits = model(**padded).logits
            found += [logits[i, one.step_ends].softmax(-1).numpy() for i, one in enumerate(rendered)]
        if model.config.num_labels == 3:
            scores[name] = np.array(solution_scores([steps.tolist() for steps in found], "product", "positive"))
        else:
            scores[name] = np.array([steps[-1, 1] for steps in found])
    return scores


def ours(path: Path, models: dict[str, str], root: Path) -> tuple[float, float, dict[str, np.ndarray]]:
    """Run the flow. Return its seconds, the most memory that its driver held in MB, and the scores."""
    command = [sys.executable, str(ROOT / "flows/compare_verifiers.py"), str(path), "--root", str(root)]
    command += ["--study", "benchmark", *(f"--verifier={name}={folder}" for name, folder in models.items())]
    began, most = time.perf_counter(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | {"RAY_ADDRESS": ""}) as driver:
        process = psutil.Process(driver.pid)
        while driver.poll() is None:
            try:
                most = max(most, process.memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.1)
    seconds = time.perf_counter() - began
    if driver.returncode:
        raise SystemExit(f"compare_verifiers.py ended with status {driver.returncode}")
    index = json.loads((root / "studies/benchmark/index.json").read_text())
    scores = {name: pd.read_parquet(index[f"{name}_scores"])["score"].to_numpy() for name in models}
    return seconds, most / 1e6, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=Path("outputs/studies/laptop"), help="a finished study's folder")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    index = json.loads((options.study / "index.json").read_text())
    models = {name: index[name] for name in ("prm", "orm")}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {}
        for rows in (options.rows // 10, options.rows):
            files[rows] = folder / f"{rows}.jsonl"
            files[rows].write_text("".join(json.dumps(row) + "\n" for row in samples(options.study, rows)))
        _, before, _ = ours(files[options.rows // 10], models, folder / "small")
        ratios = []
        for pair in range(options.pairs):
            began = time.perf_counter()
            plain = plain_loop(files[options.rows], models)
            plain_seconds = time.perf_counter() - began
            seconds, most, scores = ours(files[options.rows], models, folder / f"store{pair}")
            for name in models:
                np.testing.assert_allclose(np.sort(scores[name]), np.sort(plain[name]), atol=1e-4)
            ratios.append(plain_seconds / seconds)
            print(f"pair {pair}: {options.rows:,} samples × 2: ours {seconds:.0f} s, plain loop {plain_seconds:.0f} s")
            print(
                f"driver's peak memory: {before:,.0f} MB at {options.rows // 10:,} rows, {most:,.0f} MB here",
                flush=True,
            )
    print(f"ratio compare_verifiers {statistics.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


if __name__ == "__main__":
    main()
