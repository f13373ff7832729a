"""report.html of a study, or of anyone's scored samples, from its tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.runner import Runner
from components.report.input_sections import input_sections
from components.report.main_study import Row
from components.report.page import page
from components.report.parts import Section, listing, section
from components.report.sections import sections as result_sections
from components.report.solution_browser import browser as solutions_browser

RESULTS = (
    "best_of_n distinct_samples comparisons group_accuracy group_comparisons reductions subsampling_band score_quality "
    "calibration step_calibration score_by_length step_errors verifier_step_errors first_errors agreement "
    "label_sources label_counts contamination attribute_shares"
).split()
_DETAILS: dict[str, list[str]] = {
    "problems": ["problem_id", "split", "problem", "ground_truth_answer"],
    "solutions": ["problem_id", "sample_index", "steps"],
    "grades": ["problem_id", "sample_index", "answer"],
    "scores": ["problem_id", "sample_index", "step_probabilities"],
    "held_out_step_labels": ["problem_id", "sample_index", "ratings"],
}


def frames(run: Runner, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Read those of these tables that a run has, as pandas frames."""
    tables = {name: run.results[name] for name in names if name in run.results}
    return {name: run.store.read(table).to_pandas() for name, table in tables.items() if isinstance(table, Dataset)}


def results_page(
    run: Runner,
    results: Mapping[str, pd.DataFrame],
    verdicts: list[str],
    notes: list[str],
    more: list[Section],
    seed: int,
    details: Mapping[str, Dataset] | None = None,
) -> bytes:
    """Return report.html of best-of-N results, with a browser of the solutions.

    results: table's name → its rows. more: sections after those of the results. seed: draws the solutions that the
    browser shows. details: in place of the study's own, the tables of problems, solutions, grades and scores.
    """
    tables = {name: result for name, result in run.results.items() if isinstance(result, Dataset)} | dict(details or {})
    shown = {
        name: run.store.read(tables[name].without(split="train"), columns)
        for name, columns in _DETAILS.items()
        if name in tables
    }
    shown["scored_samples"] = run.store.read(tables["scored_samples"])
    curves = results["best_of_n"].query("split == 'test'")
    problems, slots = curves["num_problems"].max(), curves["n"].max()
    sections = result_sections(results) + input_sections(results) + more
    subject = f"{problems} test problems, {slots} samples each{_different(results)}"
    return report_page(run, subject, verdicts, notes, sections, solutions_browser(shown, seed))


def _different(results: Mapping[str, pd.DataFrame]) -> str:
    """Return how many different texts the samples of a test problem are, where they have texts."""
    texts = results["distinct_samples"].query("split == 'test'").sort_values("n")["distinct_texts"].dropna()
    return f", of them {texts.iloc[-1]:.1f} different texts" if len(texts) else ""


def report_page(
    run: Runner,
    subject: str,
    verdicts: list[str],
    notes: list[str],
    sections: list[Section],
    browser: Mapping[str, Any] | None = None,
) -> bytes:
    """Return report.html, headed by the first verdict.

    subject: the problems and samples, for the line under the heading. browser: problems with their solutions
    (`components/report/solution_browser.py`); None: the page has none.
    """
    content: dict[str, Any] = {
        "title": run.study,
        "heading": verdicts[0] if verdicts else f"{run.study}: {subject}",
        "subtitle": f"Study {run.study}: {subject}, {time.strftime('%Y-%m-%d')}",
        "verdicts": verdicts,
        "notes": notes,
        "sections": sections,
        "browser": browser,
        "provenance": provenance(run),
    }
    return page(content)


def provenance(run: Runner) -> dict[str, Any]:
    """Return every number's descent: a stage's key is made of its recipe and of the contents of its inputs."""
    rows = []
    for name, result in run.results.items():
        manifest = run.store.manifest(run.store.folder_of(result)) or {}
        inputs = ", ".join(
            f"{table['stage']} {str(table['digest'])[:12]}" for table in manifest.get("inputs", {}).values()
        )
        size = f"{result.rows:,}" if isinstance(result, Dataset) else "model"
        computed = [manifest.get("created_at") or "–", str(manifest.get("git_commit") or "–")[:12]]
        rows.append(
            [name, size, *(str(manifest.get(field))[:16] for field in ("digest", "key")), inputs or "–", *computed]
        )
    columns = ["stage", "rows", "digest of the content", "key", "made of", "computed at", "code"]
    return {
        "text": f"Run {run.run_id}. Digests are of the rows or files themselves; lineage.json has them whole.",
        "table": {"title": "Stages", "note": "", "columns": columns, "rows": rows},
    }


def graders(disagreement: Mapping[str, Any]) -> Section:
    """Return the section on where our verdict is not that of the paper's grader. disagreement: as in summary.json."""
    words = {True: "equal", False: "not equal"}
    columns: dict[str, Callable[[Row], Any]] = {
        "answer": lambda row: row["answer"],
        "reference": lambda row: row["ground_truth_answer"],
        "ours": lambda row: words[row["is_correct"]],
        "the paper's": lambda row: words[row["is_correct_prm800k"]],
        "our rule": lambda row: row["method"],
    }
    title = f"{disagreement['rows']:,} of {disagreement['of']:,} graded samples differ"
    text = "Our grader beside the paper's own, which is there for comparison with published numbers."
    return section("Grader disagreement", text, [], [listing(title, pd.DataFrame(disagreement["examples"]), columns)])
