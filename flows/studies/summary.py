"""What every run of the main study ends with: the table on the terminal, and the study's folder for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.plain_text import printable
from components.dataflow.provenance import git_commit, library_versions
from components.dataflow.runner import Runner
from components.report import main_study
from components.sampling.engines import engine_distribution
from flows.studies import report_file
from flows.study import Study

_EXAMPLES = 10  # pairs of answers on which the graders disagree


def write(study: Study) -> None:
    """Print the results and write report.html, index.json, summary.json, best_of_n.parquet and best_of_n.png; nothing
    in plan mode or for a single stage."""
    run, store = study.runner, study.runner.store
    if run.plan_only or run.only is not None:
        return
    folder = f"studies/{study.name}"
    tables = {name: result for name, result in run.results.items() if isinstance(result, Dataset)}
    frames = {"grades": store.read(tables["grades"]).to_pandas()} | report_file.frames(run)
    costs, spent = report_file.costs(run, frames["best_of_n"], study.published_prm)
    content = _summary(study, tables, frames) | {"cost": json.loads(costs.to_json(orient="records"))}
    title = f"{study.name}: {content['num_test_problems']} test problems"
    store.files.put(f"{folder}/best_of_n.png", main_study.picture(frames["best_of_n"], title))
    store.publish(f"{folder}/best_of_n.parquet", tables["best_of_n"])
    store.files.put(f"{folder}/summary.json", as_json(content))
    where = {n: store.files.url(r.folder) if isinstance(r, Dataset) else r.path for n, r in run.results.items()}
    store.files.put(f"{folder}/index.json", as_json(where))
    store.files.put(
        f"{folder}/lineage.json",
        as_json(lineage(study)),
    )
    more = [spent, report_file.graders(content["graders_disagree"])]
    seed = study.preset.estimation.votes.seed
    report_file.write(run, folder, frames, content["verdicts"], content["notes"], more, seed)
    run.write_record(finished=True)
    for split in frames["best_of_n"]["split"].unique():
        print(f"\n{split}: % of problems solved by the pick out of N samples")
        print(main_study.table(frames["best_of_n"], split))
    print()
    for line in [*content["verdicts"], *content["notes"]]:
        print(f"- {printable(line)}")
    print(f"\n{main_study.stage_table(run.runs)}")
    print(f"\n{store.files.url(folder)}/: report.html, summary.json, best_of_n.png, best_of_n.parquet,")
    print("index.json (where each table lies), lineage.json (what each was made of)")


def _summary(study: Study, tables: dict[str, Dataset], frames: dict[str, pd.DataFrame]) -> dict[str, Any]:
    run = study.runner
    grades = frames["grades"]
    curves = frames["best_of_n"][frames["best_of_n"]["split"] == "test"]
    num_test_problems = int(curves["num_problems"].max())
    with_errors = {
        name: run.store.read(dataset, ["error"])["error"].to_pandas()
        for name, dataset in tables.items()
        if dataset.rows_error
    }
    by_split = grades[grades["error"].isna()].groupby("split", sort=False)
    return {
        "study": study.name,
        "preset": study.preset.name,
        "settings": dict(study.settings),
        "engine": engine(study.preset.sampling.engine),
        "libraries": library_versions(),
        "num_test_problems": num_test_problems,
        "pass_at_1": {str(split): float(rows["is_correct"].mean()) for split, rows in by_split},
        "no_answer_rate": {str(split): float((rows["status"] == "no_answer").mean()) for split, rows in by_split},
        **of_results(frames),
        **_labels(frames),
        "near_contamination": None if "contamination" not in frames else len(frames["contamination"]),
        "graders_disagree": _graders_disagree(run, tables["problems"], grades),
        "verdicts": main_study.verdicts(frames["comparisons"], num_test_problems),
        "notes": _notes(study, grades, curves),
        "stages": stages_of(run),
        "training": {
            name: dict(result.metrics) for name, result in run.results.items() if not isinstance(result, Dataset)
        },
        "errors": main_study.error_causes(with_errors),
    }


def stages_of(run: Runner) -> dict[str, dict[str, Any]]:
    """What became of each stage."""
    return {
        stage.name: {
            "rows": stage.rows,
            "rows_error": stage.rows_error,
            "shards": stage.shards_total,
            "shards_reused": stage.shards_reused,
            "seconds": stage.seconds,
        }
        for stage in run.runs
    }


def of_results(frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """The numbers that people look up first. frames: tables best_of_n and score_quality."""
    curves = frames["best_of_n"][frames["best_of_n"]["split"] == "test"]
    return {
        "best_of_n": {
            str(method): {str(n): float(a) for n, a in zip(rows["n"], rows["accuracy"], strict=True)}
            for method, rows in curves.groupby("method", sort=False)
        },
        "within_problem_auc": {
            str(model): {
                str(split): _number(a) for split, a in rows.groupby("split")["within_problem_auc"].mean().items()
            }
            for model, rows in frames["score_quality"].groupby("model")
        },
    }


def _labels(frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """What became of labelled solutions, and how far sources of step labels agree; of those there are."""
    found: dict[str, Any] = {}
    if "label_counts" in frames:
        counts = frames["label_counts"]
        found["labelled_solutions"] = {row["what"]: int(row["count"]) for row in main_study.records(counts)}
    for name in ("label_sources", "agreement"):
        if name in frames:
            found[name] = json.loads(frames[name].drop(columns="error").to_json(orient="records"))
    return found


def _graders_disagree(run: Runner, problems: Dataset, grades: pd.DataFrame) -> dict[str, Any]:
    """Where our verdict is not that of the paper's grader: how often, and the first pairs that differ."""
    both = grades.dropna(subset=["is_correct", "is_correct_prm800k"])
    differ = both[both["is_correct"] != both["is_correct_prm800k"]]
    truths = run.store.read(problems, ["problem_id", "ground_truth_answer"]).to_pandas()
    pairs = differ.merge(truths.drop_duplicates("problem_id"), on="problem_id")
    pairs = pairs.drop_duplicates(["answer", "ground_truth_answer"]).head(_EXAMPLES)
    columns = ["answer", "ground_truth_answer", "is_correct", "is_correct_prm800k", "method"]
    return {"rows": len(differ), "of": len(both), "examples": pairs[columns].to_dict("records")}


def lineage(study: Study) -> dict[str, Any]:
    """Every number's descent: for each stage its recipe, its inputs by digest, its shards or files by sha256, and the
    code and libraries that computed it."""
    run, stages = study.runner, {}
    for name, result in run.results.items():
        folder = run.store.folder_of(result)
        manifest = run.store.manifest(folder) or {}
        wanted = ["key", "digest", "recipe", "inputs", "model_files", "git_commit", "libraries", "created_at"]
        wanted += [] if isinstance(result, Dataset) else ["training_workers"]
        stages[name] = {"folder": folder} | {field: manifest.get(field) for field in wanted}
        if isinstance(result, Dataset):
            stages[name]["shards"] = [shard.path for shard in result.shards]
        else:
            stages[name]["files"] = dict(result.files)
    return {
        "run": run.run_id,
        "preset": study.preset.name,
        "settings": dict(study.settings),
        "git_commit": git_commit(),
        "libraries": library_versions(),
        "stages": stages,
    }


def engine(name: str) -> dict[str, str]:
    distribution = engine_distribution(name)
    return {"name": name, "distribution": distribution, "version": version(distribution)}


def as_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def training_notes(run: Runner) -> list[str]:
    """Which models were trained by several workers, whose number can change a weight's last bits."""
    by_workers: dict[int, list[str]] = {}
    for name, result in run.results.items():
        manifest = {} if isinstance(result, Dataset) else run.store.manifest(run.store.folder_of(result)) or {}
        if (workers := manifest.get("training_workers") or 1) > 1:
            by_workers.setdefault(workers, []).append(name)
    return [
        f"{_listed(names)}: trained on {workers} workers; on another number of workers, sums are rounded otherwise and "
        "the weights are other ones"
        for workers, names in sorted(by_workers.items())
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more models" if len(names) > 4 else "")


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(value) else float(value)


def _notes(study: Study, grades: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """What a reader of the numbers must know."""
    notes = [*study.notes, *training_notes(study.runner)]
    if "prm" not in set(curves["method"]):
        notes.append(
            "no PRM: these problems have no step rule and no other source of step labels, so the ORM was trained alone"
        )
    unusable = grades[grades["split"] == "test"].groupby("problem_id")["error"].apply(lambda e: e.notna().all()).sum()
    if unusable:
        notes.append(
            f"{unusable} test problems could not be used and are not in the curves: see errors in summary.json"
        )
    test = grades[(grades["split"] == "test") & grades["error"].isna()]
    right = float(test["is_correct"].mean())
    if right < 0.05:
        notes.append(
            f"the generator solves almost none of these problems ({100 * right:.1f} % of its test samples are right), "
            "so the curves say little about either reward model"
        )
    train = grades[grades["split"] == "train"]
    if train["is_correct"].nunique() < 2:
        notes.append("all train samples have the same grade, so the ORM had nothing to tell apart")
    return notes
