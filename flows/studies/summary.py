"""The end of every run of the main study: the tables on the terminal, and the study's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.evaluation.score_expressions import names_in
from components.report import main_study
from components.report.verdicts import verdicts as verdicts_in_words
from flows.studies import report_file, supervision
from flows.studies.costs import costs
from flows.studies.endpoints import sampling_notes
from flows.studies.study_folder import as_json, summary_of, training_notes, write_study
from flows.study import Study, VerifierSpec
from schemas.results import REFERENCES

_EXAMPLES = 10  # pairs of answers on which the graders disagree


def write(study: Study) -> None:
    """Print the results and write the study's folder; nothing in plan mode or for a single stage."""
    run, store = study.runner, study.runner.store
    if run.plan_only or run.only is not None:
        return
    tables = {name: result for name, result in run.results.items() if isinstance(result, Dataset)}
    frames = {"grades": store.read(tables["grades"]).to_pandas()} | report_file.frames(run, report_file.RESULTS)
    grades, best_of_n = frames["grades"], frames["best_of_n"]
    curves = best_of_n[best_of_n["split"] == "test"]
    num_problems = int(curves["num_problems"].max())
    published = {"prm": True} if study.published_prm is not None else {}
    has_choice = int(curves["n"].max()) > 1
    verdicts = in_words(frames["comparisons"], num_problems, study.verifiers, published) if has_choice else []
    given = supervision.given(run)
    notes = [*_notes(study, grades, curves), *supervision.unmatched(given, study.label_sources)]
    if not has_choice:
        notes.append("each problem has one test sample, so no verifier has a choice: --samples-per-problem test=N")
    if study.published_prm is not None:
        notes.append(
            "the PRM was given (--prm): others trained it, on other data; its difference from the ORM is not "
            "of supervision alone"
        )
    disagreement = _graders_disagree(run, tables["problems"], grades)
    spent, cost_section = costs(study, best_of_n)
    results = {
        "num_test_problems": num_problems,
        **of_results(frames),
        **_labels(frames),
        "near_contamination": None if "contamination" not in frames else len(frames["contamination"]),
        "graders_disagree": disagreement,
        "verdicts": verdicts,
        "notes": notes,
        "supervision": json.loads(given.to_json(orient="records")),
        "cost": json.loads(spent.to_json(orient="records")),
    }
    more = [supervision.given_section(given), cost_section, report_file.graders(disagreement)]
    seed = study.preset.estimation.votes.seed
    files: dict[str, bytes | Dataset] = {
        "report.html": report_file.results_page(run, frames, verdicts, notes, more, seed),
        "summary.json": as_json(summary_of(study, grades, study.preset.sampling.engine, results)),
        "best_of_n.png": main_study.picture(best_of_n, f"{study.name}: {num_problems} test problems"),
        "best_of_n.parquet": tables["best_of_n"],
    }
    text = "\n\n".join(
        f"{split}: % of problems solved by the pick out of N samples\n"
        + main_study.table(best_of_n, split, frames["distinct_samples"])
        for split in best_of_n["split"].unique()
    )
    write_study(run, files, text, verdicts, notes, study)


def in_words(
    comparisons: pd.DataFrame,
    num_problems: int,
    specs: Sequence[VerifierSpec],
    published: Mapping[str, bool] | None = None,
) -> list[str]:
    """Return the verdicts in words. Length and random stand in tables alone.

    published: verifiers besides the specs that no training of the study made → whether each is a trained model.
    """
    floors = [*REFERENCES, *(spec.name for spec in specs if spec.is_floor)]
    given: dict[str, bool] = dict(published or {})
    for spec in specs:
        read = names_in(spec.compared.expression) if spec.compared.expression else ()
        if all(name in given for name in read):  # else a score of the study's own trainings is in it
            given[spec.name] = any(given[name] for name in read) if read else spec.is_trained
    return verdicts_in_words(comparisons, num_problems, floors, given)


def of_results(frames: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the numbers that people look up first. frames: tables best_of_n and score_quality."""
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
    """Return the counts of labelled solutions, and the agreement of sources of step labels, where there are such
    tables."""
    entries: dict[str, Any] = {}
    if "label_counts" in frames:
        counts = frames["label_counts"]
        entries["labelled_solutions"] = {row["what"]: int(row["count"]) for row in main_study.records(counts)}
    for name in ("label_sources", "agreement"):
        if name in frames:
            entries[name] = json.loads(frames[name].drop(columns="error").to_json(orient="records"))
    return entries


def _graders_disagree(run: Runner, problems: Dataset, grades: pd.DataFrame) -> dict[str, Any]:
    """Return how often our verdict is not that of the paper's grader, and the first pairs that differ."""
    both = grades.dropna(subset=["is_correct", "is_correct_prm800k"])
    differ = both[both["is_correct"] != both["is_correct_prm800k"]]
    truths = run.store.read(problems, ["problem_id", "ground_truth_answer"]).to_pandas()
    pairs = differ.merge(truths.drop_duplicates("problem_id"), on="problem_id")
    pairs = pairs.drop_duplicates(["answer", "ground_truth_answer"]).head(_EXAMPLES)
    columns = ["answer", "ground_truth_answer", "is_correct", "is_correct_prm800k", "method"]
    return {"rows": len(differ), "of": len(both), "examples": pairs[columns].to_dict("records")}


def _number(value: float) -> float | None:
    """Return None for NaN, which JSON has not."""
    return None if math.isnan(value) else float(value)


def _notes(study: Study, grades: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """Return what a reader of the numbers must know."""
    notes = [*study.notes, *training_notes(study.runner)]
    notes += sampling_notes(study.runner) if study.endpoint is not None else []
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
