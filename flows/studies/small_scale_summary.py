"""The end of every run of the small-scale study: the table on the terminal, and the study's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pandas as pd

from components.dataflow.datasets import Dataset
from components.report.input_sections import input_sections
from components.report.small_scale import text_table
from components.report.small_scale_figures import figure_4a, figure_4b
from components.report.small_scale_sections import scaling_sections
from components.report.small_scale_verdicts import scaling_verdicts
from flows.studies import report_file
from flows.studies.study_folder import as_json, summary_of, training_notes, write_study
from flows.study import Study
from schemas.small_scale import FEWEST_TRAININGS

_TABLES = (
    "data_scaling series_comparisons equivalent_labels data_efficiency selector_quality wrong_shares label_budget "
    "rounds agreement label_counts contamination"
).split()
_TRUSTED_KAPPA = 0.8  # of the labeller with the exact rule; below it the study says so


def write(study: Study) -> None:
    """Print the results and write the study's folder; nothing in plan mode or for a single stage."""
    run, store, small = study.runner, study.runner.store, study.preset.small_scale
    if run.plan_only or run.only is not None:
        return
    frames = report_file.frames(run, _TABLES)
    verdicts, notes = scaling_verdicts(frames), [*_notes(study), *labeller_notes(frames)]
    scaling, graded = run.results["data_scaling"], run.results["small_grades"]
    assert isinstance(scaling, Dataset)
    assert isinstance(graded, Dataset)
    grades = store.read(graded, ["split", "status", "is_correct", "error"]).to_pandas()
    results = {
        "labeller": small.labeller if study.labelling_prm is None else study.labelling_prm.path,
        "training_seeds": small.training_seeds,
        "sizes": list(small.sizes),
        "shortages": shortages(study),
        **{name: json.loads(frame.drop(columns="error").to_json(orient="records")) for name, frame in frames.items()},
        "verdicts": verdicts,
        "notes": notes,
    }
    problems = int(frames["data_scaling"]["num_problems"].max())
    sections = scaling_sections(frames) + input_sections(frames)
    files: dict[str, bytes | Dataset] = {
        "report.html": report_file.report_page(run, f"{problems} test problems", verdicts, notes, sections),
        "summary.json": as_json(summary_of(study, grades, small.sampling.engine, results)),
        "figure_4a.png": figure_4a(frames["data_scaling"]),
        "figure_4b.png": figure_4b(frames["data_scaling"]),
        "data_scaling.parquet": scaling,
    }
    text = f"% of test problems solved, by solutions labelled per problem\n{text_table(frames['data_scaling'])}"
    write_study(run, files, text, verdicts, notes, study)


def shortages(study: Study) -> dict[str, dict[str, int]]:
    """Return by selection, at its largest size: the solutions chosen, by reason.

    A solution in a missing wrong answer's place has a reason of its own.
    """
    run, by_selection = study.runner, {}
    for name, result in run.results.items():
        if name.startswith("selection_") and isinstance(result, Dataset):
            rows = run.store.read(result, ["size", "reason"]).to_pandas()
            by_selection[name] = {
                str(reason): int(count)
                for reason, count in rows[rows["size"] == rows["size"].max()]["reason"].value_counts().items()
            }
    return by_selection


def labeller_notes(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """Return a note that the labeller is not to be trusted, where its agreement with the exact rule says so.

    frames: with `agreement`, where there is one.
    """
    if "agreement" not in frames:
        return []
    rows = frames["agreement"]
    [with_rule] = rows[(rows["source"] == "prm_large") & (rows["reference"] == "rule")].to_dict("records")
    if pd.isna(with_rule["kappa"]) or with_rule["kappa"] >= _TRUSTED_KAPPA:  # NaN: both rate all steps alike
        return []
    return [
        f"PRM_large labels badly: kappa {with_rule['kappa']:.2f} with the exact rule, the same first error in "
        f"{100 * with_rule['same_first_error']:.0f} % of the solutions; what process supervision and active learning "
        "gained is bounded by that (--labeller rule has exact labels)"
    ]


def _notes(study: Study) -> list[str]:
    """Return what a reader of the numbers must know."""
    notes, small = [*study.notes, *training_notes(study.runner)], study.preset.small_scale
    if small.training_seeds < FEWEST_TRAININGS:
        notes.append(
            f"{small.training_seeds} training seeds say nothing of other trainings: the intervals are of these trained "
            "models alone (--training-seeds 3, as in the paper, or 5)"
        )
    if small.process.training != small.outcome.training:
        notes.append(
            "process and outcome verifiers have other training settings (small_scale.process, small_scale.outcome): "
            "their difference is not of supervision alone"
        )
    short = {name: counts.get("instead_of_a_wrong_answer", 0) for name, counts in shortages(study).items()}
    if worst := max(short.values(), default=0):
        name = max(short, key=short.__getitem__)
        notes.append(
            f"the pool has too few wrong answers for some problems: up to {worst:,} of the solutions chosen stand in "
            f"such a one's place ({name}); a larger --pool has more"
        )
    return notes
