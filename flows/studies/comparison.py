"""The end of a comparison of verifiers: step errors of each, its cost, and the study's folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.errors import StudyError
from components.dataflow.plain_text import printable
from components.dataflow.runner import Runner
from components.evaluation.compared_samples import ComparisonConfig, compared_samples
from components.evaluation.compute_cost import INFERENCE, parameters, seconds_of
from components.evaluation.verifier_step_errors import VerifierStepErrorsConfig, verifier_step_errors
from components.labels.judge_votes import NO_STEPS
from components.report import main_study
from components.report.main_study import Row
from components.report.parts import Section, listing, named_interval, percent, section
from flows.studies import report_file, summary
from flows.studies.compared_sources import ComparedSamples
from flows.studies.study_folder import as_json, errors_of, write_study
from flows.study import VerifierSpec


def tell_origins(specs: Sequence[VerifierSpec]) -> None:
    """Print which commit each model of a hub is."""
    for spec in specs:
        for origin in spec.origins:
            print(printable(f"note: --verifier {spec.name} is {origin}"))


def read_samples(run: Runner, solutions: Dataset, specs: Sequence[VerifierSpec]) -> dict[str, Dataset]:
    """Let each verifier read each solution. Return the scores of those that a model computes, by name.

    Verifiers that are placed alike read in turn, by one pool of actors. Those behind an address read last, one by one:
    each stops in order where its budget is used.
    """
    by_place: dict[str, list[VerifierSpec]] = {}
    for spec in specs:
        if spec.stage is not None and spec.access is None:
            by_place.setdefault(spec.stage.place, []).append(spec)
    read: dict[str, Dataset] = {}
    for placed in by_place.values():
        scores = run.map_concurrently(*((solutions, spec.stage) for spec in placed if spec.stage is not None))
        read |= {spec.name: table for spec, table in zip(placed, scores, strict=True)}
    for spec in specs:
        if spec.stage is not None and spec.access is not None:
            [read[spec.name]] = run.map(solutions, spec.stage)
    for spec in specs:
        if spec.reduced is not None:
            read[spec.name] = run.table(spec.reduced, solutions=solutions, judge_votes=read[spec.name])
    return {spec.name: read[spec.name] for spec in specs if spec.stage is not None}


def side_by_side(
    run: Runner,
    given: Sequence[str],
    specs: Sequence[VerifierSpec],
    samples: Dataset,
    solutions: Dataset,
    tables: Mapping[str, Dataset],
) -> Dataset:
    """Return the samples with the scores of all verifiers. given: those whose scores they have already."""
    config = ComparisonConfig(tuple(given), tuple(spec.compared for spec in specs))
    of_stages = {spec.compared.table: tables[spec.name] for spec in specs if spec.name in tables}
    return run.table(compared_samples(config), samples=samples, solutions=solutions, **of_stages)


def look_at_steps(
    run: Runner,
    specs: Sequence[VerifierSpec],
    tables: Mapping[str, Dataset],
    labels: Dataset,
    given: Mapping[str, Sequence[Dataset]],
) -> Dataset:
    """Return how well each process verifier finds the first wrong step. given: tables of those that were read before.

    A verifier of which every solution's score failed, or that rates no step, has no row.
    """
    read: dict[str, Sequence[Dataset]] = {name: scores for name, scores in given.items() if scores}
    read |= {spec.name: [tables[spec.name]] for spec in specs if spec.rates_steps}
    inputs = {f"scores_{number}": scores for number, scores in enumerate(itertools.chain(*read.values()))}
    named = iter(inputs)
    config = VerifierStepErrorsConfig(
        tuple((name, tuple(next(named) for _ in scores)) for name, scores in read.items())
    )
    return run.table(verifier_step_errors(config), held_out_step_labels=labels, **inputs)


def write(
    run: Runner,
    place: str,
    specs: Sequence[VerifierSpec],
    tables: Mapping[str, Dataset],
    samples: ComparedSamples,
    notes: Sequence[str],
) -> None:
    """Print the results and write the study's folder. place: of the samples. tables: verifier → its own scores."""
    frames = report_file.frames(run, report_file.RESULTS)
    curves = frames["best_of_n"]
    tested = curves[curves["split"] == "test"]
    if tested.empty:
        raise StudyError(f"{place}: no problem has samples that can be counted, so there is nothing to compare")
    num_problems = int(tested["num_problems"].max())
    slots = int(tested["n"].max())
    published = {"prm": True} if samples.is_prm_given else {}
    verdicts = []
    if slots > 1:
        verdicts = summary.in_words(frames["comparisons"], num_problems, [*samples.earlier, *specs], published)
    costs = _costs(run, specs, tables)
    notes = [*notes, *_missing(run, tables), *_unreadable(run, specs), *_without_scores(run, specs)]
    content = {
        "study": run.study,
        "samples": place,
        "file": place,
        "num_test_problems": num_problems,
        "verdicts": verdicts,
        "notes": notes,
        "verifiers": json.loads(costs.to_json(orient="records")),
    }
    content |= summary.of_results(frames) | {"errors": errors_of(run, tables)}
    step_errors = frames.get("verifier_step_errors", pd.DataFrame()).drop(columns="error", errors="ignore")
    content["step_errors"] = json.loads(step_errors.to_json(orient="records"))
    details = {"problems": samples.solutions, "solutions": samples.solutions, "grades": samples.grades}
    sections = [_cost_section(costs)] if len(costs) else []
    files: dict[str, bytes | Dataset] = {
        "report.html": report_file.results_page(run, frames, verdicts, notes, sections, 0, details),
        "summary.json": as_json(content),
        "best_of_n.png": main_study.picture(curves, f"{run.study}: {num_problems} problems"),
    }
    shown = main_study.table(curves, "test", frames["distinct_samples"])
    shown = f"% of problems solved by the pick out of N samples\n{shown}"
    if len(step_errors):
        shown += f"\n\n{first_errors_found(step_errors[step_errors['threshold'].isna()])}"
    write_study(run, files, shown, verdicts, notes)


def first_errors_found(step_errors: pd.DataFrame) -> str:
    """Return ProcessBench's F1 of each verifier, by source and threshold, for the terminal."""
    titles = (
        f"{'verifier':<20}{'source':<24}{'P(neg) from':>14}{'with error':>12}{'found %':>9}{'without':>9}{'kept %':>8}"
    )
    lines = [f"{titles}  F1 % (95 % interval over problems)"]
    for row in main_study.records(step_errors):
        threshold: str = "the likeliest" if pd.isna(row["threshold"]) else f"{row['threshold']:g}"
        lines.append(
            f"{printable(row['verifier']):<20}{printable(row['source']):<24}{threshold:>14}{row['num_wrong']:>12,}"
            f"{percent(row['accuracy_wrong']):>9}{row['num_right']:>9,}{percent(row['accuracy_right']):>8}"
            f"  {named_interval(row, 'f1', 'f1')}"
        )
    return "\n".join(lines)


def _missing(run: Runner, tables: Mapping[str, Dataset]) -> list[str]:
    """Return a note per verifier that could not score every sample."""
    notes = []
    for name, table in tables.items():
        if table.rows_error:
            errors = run.store.read(table, ["error"])["error"].drop_null()
            first = errors[0].as_py()
            notes.append(f"{name} has no score of {len(errors):,} of {table.rows:,} samples; the first: {first}")
    return notes


def _without_scores(run: Runner, specs: Sequence[VerifierSpec]) -> list[str]:
    """Return a note per verifier without any score, as an expression of one that has none."""
    samples = run.results["scored_samples"]
    assert isinstance(samples, Dataset)
    scores = run.store.read(samples, [f"{spec.name}_score" for spec in specs])
    empty = [spec.name for spec in specs if scores[f"{spec.name}_score"].null_count == len(scores)]
    return [f"{name} has no score of any sample, and stands in no table" for name in empty]


def _unreadable(run: Runner, specs: Sequence[VerifierSpec]) -> list[str]:
    """Return a note per judge of whose verdicts some could not be read: they are no votes."""
    notes = []
    for spec in specs:
        if spec.reduced is None or spec.stage is None:
            continue
        votes = run.results[spec.stage.title]
        assert isinstance(votes, Dataset)
        rows = run.store.read(votes, ["problem_id", "sample_index", "status"]).to_pandas()
        rows = rows[~rows["status"].isin(["error", NO_STEPS])]
        readable = rows["status"].eq("ok")
        few = int((readable.groupby([rows["problem_id"], rows["sample_index"]]).mean() < 0.5).sum())
        if not readable.all():
            causes = rows.loc[~readable, "status"].value_counts()
            named = ", ".join(f"{count:,} {status}" for status, count in causes.items())
            notes.append(
                f"{spec.name}: {int((~readable).sum()):,} of {len(rows):,} verdicts could not be read ({named}) and "
                f"are no votes; of {few:,} solutions more than half"
            )
    return notes


def _costs(run: Runner, specs: Sequence[VerifierSpec], tables: Mapping[str, Dataset]) -> pd.DataFrame:
    """Return a row per verifier that a model computes: what it read, and how long it took."""
    rows = []
    for spec in specs:
        if spec.stage is None:
            continue
        table = tables[spec.name]
        tokens = run.store.read(table, ["num_tokens"])["num_tokens"].to_pandas().sum()
        read = run.results[spec.stage.title]  # of a judge the votes, of which its scores are made
        assert isinstance(read, Dataset)
        manifest = run.store.manifest(run.store.folder_of(read)) or {}
        models = dict(spec.stage.models)
        if "base" in models:  # an adapter is merged into it: it alone is computed
            del models["verifier"]
        size = sum(parameters(run.store, model) for model in models.values())
        rows.append(
            {
                "verifier": spec.name,
                "parameters": size or None,  # behind an address nobody tells
                "tokens": int(tokens),
                "flops": INFERENCE * size * float(tokens) if size else None,
                "seconds": seconds_of(manifest, len(read.shards)),
            }
        )
    return pd.DataFrame(rows)


def _cost_section(costs: pd.DataFrame) -> Section:
    note = (
        "Tokens: those of each sample, with its problem; what samples begin alike is computed once, and counted for "
        "each; of a judge those that it wrote. FLOPs: 2 per parameter and token. Seconds: of the run that computed "
        "them; where that run found some shards done, at its pace for all; – where it found all of them."
    )
    text = "What it took each verifier to read the samples."
    return section("Cost of the verifiers", text, [], [listing("Verifiers", costs, _COSTS, note)])


_COSTS: dict[str, Callable[[Row], Any]] = {
    "verifier": lambda row: row["verifier"],
    "parameters": lambda row: "–" if pd.isna(row["parameters"]) else f"{row['parameters']:,.0f}",
    "tokens": lambda row: f"{row['tokens']:,}",
    "FLOPs": lambda row: "–" if pd.isna(row["flops"]) else f"{row['flops']:.2e}",
    "seconds": lambda row: "–" if pd.isna(row["seconds"]) else f"{row['seconds']:,.1f}",
}
