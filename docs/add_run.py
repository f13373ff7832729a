"""Add finished runs of the embedded study to `docs/results/default.json`, an object each.

    time python flows/full_study.py --seed 21 --study run-21 --root FOLDER
    python docs/add_run.py FOLDER/studies/run-21 --seconds 930

Everything is read from the study's folder: seed and CPU from lineage.json, figures from summary.json and the tables
comparisons and problem_accuracy. `prm` and `orm` are ensembles, each the mean score of the run's trainings;
`prm_trainings` and `orm_trainings` have each training by itself. `budget` is "matched" where ORM and PRM have the same
solutions and updates, and no PRM in the run has alternatives; else "unmatched" or "alternatives". A run that is there
already, of the same seed, CPU and commit, is replaced. README's sentence, of the middle run and the range, and the
table of docs/results.md are made of the runs too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd

RUNS = Path(__file__).resolve().parent / "results" / "default.json"
_METHODS = {"prm": "ensemble_prm", "orm": "ensemble_orm", "majority": "majority"}
_METHODS |= {"rule": "exact_rule", "logistic": "outcome_regression"}
_IDENTITY = ("seed", "cpu", "commit", "budget")


def run_of(folder: Path, seconds: float) -> dict[str, Any]:
    """Return a run as an object: figures in per cent, differences in points with their intervals."""
    summary, lineage, index = (
        json.loads((folder / name).read_text()) for name in ("summary.json", "lineage.json", "index.json")
    )
    curves = summary["best_of_n"]
    n = max(map(int, curves["majority"]))
    differences = pd.read_parquet(index["comparisons"]).query("split == 'test' and n == @n")
    is_matched = not any("not of supervision alone" in note for note in summary["notes"])
    run: dict[str, Any] = {
        "seed": lineage["stages"]["solutions"]["recipe"]["config"]["seed"],
        "cpu": lineage["cpu"],
        "commit": lineage["git_commit"],
        "seconds": round(seconds),
        "budget": "alternatives" if "prm_alternatives" in curves else "matched" if is_matched else "unmatched",
        "n": n,
        "pass_at_1": round(100 * summary["pass_at_1"]["test"], 2),
    }
    run |= {name: round(100 * curves[method][str(n)], 2) for name, method in _METHODS.items()}
    of_prm = differences[differences["method"] == _METHODS["prm"]].set_index("baseline")
    for name in ("orm", "majority"):
        row = of_prm.loc[_METHODS[name]]
        run[f"prm_minus_{name}"] = [round(100 * row[field], 2) for field in ("difference", "ci_low", "ci_high")]
        run["trainings"] = int(row["num_seeds"])
    accuracies = pd.read_parquet(index["problem_accuracy"]).query("split == 'test' and n == @n")
    for name in ("prm", "orm"):
        by_training = accuracies[accuracies["method"] == name].groupby("training_seed")["accuracy"].mean()
        run[f"{name}_trainings"] = [round(100 * accuracy, 2) for accuracy in by_training]
    return run


def headline(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return README's sentence: the middle of the matched runs by PRM − ORM, and the range of all."""
    matched = sorted((run for run in runs if run["budget"] == "matched"), key=lambda run: run["prm_minus_orm"][0])
    middle = matched[(len(matched) - 1) // 2]
    differences = [run["prm_minus_orm"][0] for run in matched]
    values: dict[str, Any] = {name: f"{middle[name]:.1f}" for name in ("prm", "orm", "majority", "rule", "logistic")}
    values |= dict(zip(("difference", "low", "high"), (f"{x:.1f}" for x in middle["prm_minus_orm"]), strict=True))
    values |= {name: middle[name] for name in ("n", "seed", "trainings")}
    values["clear"] = sum(run["prm_minus_orm"][1] > 0 for run in matched)
    values |= {"least": f"{differences[0]:.1f}", "most": f"{differences[-1]:.1f}", "runs": len(matched)}
    values |= {"seeds": len({run["seed"] for run in matched}), "cpus": len({_cpu(run) for run in matched})}
    text = (
        "The PRM's pick of {n} samples is right for {prm} % of 200 test problems, the ORM's for {orm} %, the vote's "
        "for {majority} % (seed {seed}): between PRM and ORM a difference of **{difference} points (95 % interval "
        "{low} to {high})**; both score by the mean of {trainings} trainings. The interval is above 0 in {clear} of "
        "{runs} runs. A regression on hand-made features and outcomes alone: {logistic} %. "
    )
    if len(matched) > 1:
        text += "The middle run of {runs} (seeds: {seeds}; CPUs and imitations: {cpus}); range {least} to {most}."
    else:
        text += "It is the only run yet with this recipe."
    return {"text": text, "values": values} | _source(runs)


def table(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the table of all runs."""
    head = ["seed", "CPU", "pass@1", "PRM", "its trainings", "ORM", "its trainings", "majority", "exact rule"]
    rows = []
    for run in runs:
        figures: list[Any] = [run["pass_at_1"]]
        for name in ("prm", "orm"):
            figures += [run[name], ", ".join(f"{accuracy:.1f}" for accuracy in run[f"{name}_trainings"])]
        value, low, high = run["prm_minus_orm"]
        figures += [run["majority"], run["rule"], run["logistic"], {"value": value, "low": low, "high": high}]
        rows.append([str(run["seed"]), _cpu(run), *figures])
    head += ["regression", "PRM − ORM"]
    return _source(runs) | {"decimals": 1, "signed": ["PRM − ORM"], "columns": head, "rows": rows}


def _source(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how, on what and when the runs were made."""
    return {
        "command": "python flows/full_study.py --seed SEED --study laptop-SEED",
        "machine": "2 CPU cores without a GPU",
        "date": time.strftime("%Y-%m-%d"),
        "commit": ", ".join(dict.fromkeys(str(run["commit"])[:7] for run in runs)),
    }


def _cpu(run: dict[str, Any]) -> str:
    """Return the CPU's model, and what was imitated by leaving newer instructions out."""
    limits = ", ".join(f"{name}={value}" for name, value in run["cpu"]["limited_by"].items())
    return run["cpu"]["model"] + (f" ({limits})" if limits else f" ({run['cpu']['instruction_sets'][-1]})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="the folder of a finished study: ROOT/studies/NAME")
    parser.add_argument("--seconds", type=float, required=True, help="of the whole run, as `time` gives them")
    options = parser.parse_args()
    runs = json.loads(RUNS.read_text())["runs"] if RUNS.exists() else []
    new = run_of(options.study, options.seconds)
    kept = [run for run in runs if any(run[name] != new[name] for name in _IDENTITY)]
    runs = sorted([*kept, new], key=lambda run: (run["seed"], json.dumps(run["cpu"])))
    results = {"sentences": {"headline": headline(runs)}, "tables": {"runs": table(runs)}, "runs": runs}
    RUNS.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    print(json.dumps(new, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
