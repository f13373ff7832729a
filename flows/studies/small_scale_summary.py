"""What every run of the small-scale study ends with: tables on the terminal, and the study's folder for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.plain_text import printable
from components.dataflow.provenance import library_versions
from components.report import main_study
from components.report.input_sections import input_sections
from components.report.small_scale import figure_4a, figure_4b, scaling_verdicts, text_table
from components.report.small_scale_sections import scaling_sections
from flows.studies import report_file
from flows.studies.summary import as_json, engine, lineage, stages_of, training_notes
from flows.study import Study

_TABLES = (
    "data_scaling series_comparisons data_efficiency label_budget rounds agreement label_counts contamination".split()
)
_TRUSTED_KAPPA = 0.8  # of the labeller with the exact rule; below it the study says so


def write(study: Study) -> None:
    """Print the results and write report.html, index.json, summary.json, lineage.json, data_scaling.parquet and both
    figures; nothing in plan mode or for a single stage."""
    run, store = study.runner, study.runner.store
    if run.plan_only or run.only is not None:
        return
    folder = f"studies/{study.name}"
    frames = {name: store.read(run.results[name]).to_pandas() for name in _TABLES if name in run.results}  # type: ignore[arg-type]
    verdicts, notes = scaling_verdicts(frames), [*_notes(study), *labeller_notes(frames)]
    scaling = run.results["data_scaling"]
    assert isinstance(scaling, Dataset)
    store.files.put(f"{folder}/figure_4a.png", figure_4a(frames["data_scaling"]))
    store.files.put(f"{folder}/figure_4b.png", figure_4b(frames["data_scaling"]))
    store.publish(f"{folder}/data_scaling.parquet", scaling)
    store.files.put(f"{folder}/summary.json", as_json(_summary(study, frames) | {"verdicts": verdicts, "notes": notes}))
    where = {n: store.files.url(r.folder) if isinstance(r, Dataset) else r.path for n, r in run.results.items()}
    store.files.put(f"{folder}/index.json", as_json(where))
    store.files.put(f"{folder}/lineage.json", as_json(lineage(study)))
    problems = int(frames["data_scaling"]["num_problems"].max())
    sections = scaling_sections(frames) + input_sections(frames)
    report_file.write_page(run, folder, f"{problems} test problems", verdicts, notes, sections)
    run.write_record(finished=True)
    print("\n% of test problems solved, by solutions labelled per problem")
    print(text_table(frames["data_scaling"]))
    print()
    for line in [*verdicts, *notes]:
        print(f"- {printable(line)}")
    print(f"\n{main_study.stage_table(run.runs)}")
    print(
        f"\n{store.files.url(folder)}/: report.html, summary.json, figure_4a.png, figure_4b.png, data_scaling.parquet,"
    )
    print("index.json (where each table lies), lineage.json (what each was made of)")


def _summary(study: Study, frames: dict[str, pd.DataFrame]) -> dict[str, Any]:
    run = study.runner
    grades = run.results["small_grades"]
    assert isinstance(grades, Dataset)
    graded = run.store.read(grades, ["split", "status", "is_correct", "error"]).to_pandas()
    by_split = graded[graded["error"].isna()].groupby("split", sort=False)
    with_errors = {
        name: run.store.read(result, ["error"])["error"].to_pandas()
        for name, result in run.results.items()
        if isinstance(result, Dataset) and result.rows_error
    }
    small = study.preset.small_scale
    return {
        "study": study.name,
        "preset": study.preset.name,
        "settings": dict(study.settings),
        "engine": engine(small.sampling.engine),
        "libraries": library_versions(),
        "labeller": small.labeller if study.labelling_prm is None else study.labelling_prm.path,
        "training_seeds": small.training_seeds,
        "sizes": list(small.sizes),
        "pass_at_1": {str(split): float(rows["is_correct"].mean()) for split, rows in by_split},
        "no_answer_rate": {str(split): float((rows["status"] == "no_answer").mean()) for split, rows in by_split},
        "shortages": shortages(study),
        **{name: _records(frame) for name, frame in frames.items()},
        "stages": stages_of(run),
        "training": {
            name: dict(result.metrics) for name, result in run.results.items() if not isinstance(result, Dataset)
        },
        "errors": main_study.error_causes(with_errors),
    }


def shortages(study: Study) -> dict[str, dict[str, int]]:
    """By selection, at its largest size: solutions chosen, by reason. What stands in a missing wrong answer's place has
    a reason of its own."""
    run, found = study.runner, {}
    for name, result in run.results.items():
        if name.startswith("selection_") and isinstance(result, Dataset):
            rows = run.store.read(result, ["size", "reason"]).to_pandas()
            found[name] = {
                str(reason): int(count)
                for reason, count in rows[rows["size"] == rows["size"].max()]["reason"].value_counts().items()
            }
    return found


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(frame.drop(columns="error").to_json(orient="records"))
    return records


def labeller_notes(frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """That the labeller is not to be trusted, where its agreement with the exact rule says so. frames: with
    `agreement`, where there is one."""
    if "agreement" not in frames:
        return []
    rows = frames["agreement"]
    [found] = rows[(rows["source"] == "prm_large") & (rows["reference"] == "rule")].to_dict("records")
    if found["kappa"] >= _TRUSTED_KAPPA:
        return []
    return [
        f"PRM_large labels badly: kappa {found['kappa']:.2f} with the exact rule, the same first error in "
        f"{100 * found['same_first_error']:.0f} % of the solutions; what process supervision and active learning "
        "gained is bounded by that (--labeller rule has exact labels)"
    ]


def _notes(study: Study) -> list[str]:
    """What a reader of the numbers must know."""
    notes, small = [*study.notes, *training_notes(study.runner)], study.preset.small_scale
    if small.training_seeds < 3:
        notes.append(
            f"{small.training_seeds} training seeds say little about the noise of training; the paper has 3 "
            "(--training-seeds 3)"
        )
    short = {name: counts.get("instead_of_a_wrong_answer", 0) for name, counts in shortages(study).items()}
    if worst := max(short.values(), default=0):
        name = max(short, key=short.__getitem__)
        notes.append(
            f"the pool has too few wrong answers for some problems: up to {worst:,} of the solutions chosen stand in "
            f"such a one's place ({name}); a larger --pool has more"
        )
    return notes
