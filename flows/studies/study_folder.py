"""The folder of a study: the one writer of what people read there, and what the summaries of several flows share."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import pandas as pd

from components.dataflow.datasets import Dataset
from components.dataflow.plain_text import printable
from components.dataflow.provenance import cpu, git_commit, library_versions
from components.dataflow.runner import Runner
from components.dataflow.store import Store
from components.report import main_study
from components.sampling.engines import engine_distribution
from flows.study import Study

_LONGEST_NAME = 60  # characters of a study's name that is made of a file's


def write_study(
    run: Runner,
    files: Mapping[str, bytes | Dataset],
    text: str,
    verdicts: Sequence[str] = (),
    notes: Sequence[str] = (),
    study: Study | None = None,
) -> None:
    """Write a study's files, and index.json with the place of every table and model; finish the run's record; print.

    files: name → content; a table is written whole, as Parquet. text: tables for the terminal, printed before verdicts,
    notes and the names of the files. study: of a preset; adds lineage.json, and prints what became of each stage.
    """
    store, folder = run.store, f"studies/{run.study}"
    index = {n: store.files.url(r.folder) if isinstance(r, Dataset) else r.path for n, r in run.results.items()}
    places: dict[str, bytes | Dataset] = {"index.json": as_json(index)}
    described = ["index.json (where each table lies)"]
    if study is not None:
        places["lineage.json"] = as_json(lineage(study))
        described.append("lineage.json (what each was made of)")
    for name, content in {**files, **places}.items():
        if isinstance(content, Dataset):
            store.publish(f"{folder}/{name}", content)
        else:
            store.files.put(f"{folder}/{name}", content)
    run.write_record(finished=True)
    print(f"\n{text}")
    if verdicts or notes:
        print()
    for line in [*verdicts, *notes]:
        print(f"- {printable(line)}")
    if study is not None:
        print(f"\n{main_study.stage_table(run.runs)}")
    names = ",\n".join(", ".join(line) for line in (files, described) if line)
    print(f"\n{store.files.url(folder)}/: {names}")


def name_of_file(store: Store, place: str, suffix: str = "") -> str:
    """Return the name of the study of a file, made of the file's own: another file's study is not overwritten.

    place: the file's path or URL, which the study's summary.json says. suffix: of the name.
    """
    stem = place.rstrip("/").rpartition("/")[2].split(".")[0]
    name = (re.sub(r"[^\w-]+", "_", stem).strip("_")[:_LONGEST_NAME] or "samples") + suffix
    try:
        summary = json.loads(store.files.read(f"studies/{name}/summary.json"))
        is_other = summary.get("file", place) != place or "preset" in summary
    except (OSError, ValueError, AttributeError):
        is_other = False
    return name if not is_other else f"{name}_{hashlib.sha256(place.encode()).hexdigest()[:8]}"


def as_json(value: object) -> bytes:
    """Return indented JSON. Raises ValueError for NaN, which JSON has not."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def summary_of(study: Study, grades: pd.DataFrame, engine: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return summary.json: what was run and with what, the numbers of the flow, and what became of each stage.

    grades: columns split, status, is_correct, error. engine: the one that sampled. results: the flow's own entries.
    """
    run = study.runner
    by_split = grades[grades["error"].isna()].groupby("split", sort=False)
    by = {"name": engine}
    if study.endpoint is not None:
        by = {"name": "endpoint", "model": study.endpoint.endpoint.model}
    else:
        by |= {"distribution": engine_distribution(engine), "version": version(engine_distribution(engine))}
    return {
        "study": study.name,
        "preset": study.preset.name,
        "settings": dict(study.settings),
        "hub_models": dict(study.hub_models),
        "engine": by,
        "libraries": library_versions(),
        "pass_at_1": {str(split): float(rows["is_correct"].mean()) for split, rows in by_split},
        "no_answer_rate": {str(split): float((rows["status"] == "no_answer").mean()) for split, rows in by_split},
        **results,
        "stages": {
            stage.name: {
                "rows": stage.rows,
                "rows_error": stage.rows_error,
                "shards": stage.shards_total,
                "shards_reused": stage.shards_reused,
                "seconds": stage.seconds,
            }
            for stage in run.runs
        },
        "training": {
            name: dict(result.metrics) for name, result in run.results.items() if not isinstance(result, Dataset)
        },
        "errors": errors_of(run, {name: r for name, r in run.results.items() if isinstance(r, Dataset)}),
    }


def errors_of(run: Runner, tables: Mapping[str, Dataset]) -> dict[str, dict[str, int]]:
    """Return name → cause → rows, of the tables that have rows with errors."""
    with_errors = {name: table for name, table in tables.items() if table.rows_error}
    return main_study.error_causes(
        {name: run.store.read(table, ["error"])["error"].to_pandas() for name, table in with_errors.items()}
    )


def lineage(study: Study) -> dict[str, Any]:
    """Return every number's descent: for each stage its recipe, its inputs by digest, its shards or files by sha256,
    and the code, libraries and CPU that computed it (of the last run; a reused stage may be of another machine)."""
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
        "cpu": cpu(),
        "stages": stages,
    }


def training_notes(run: Runner) -> list[str]:
    """Name the models that several workers trained: another number of workers can change a weight's last bits."""
    by_workers: dict[int, list[str]] = {}
    for name, result in run.results.items():
        manifest = {} if isinstance(result, Dataset) else run.store.manifest(run.store.folder_of(result)) or {}
        if (workers := manifest.get("training_workers") or 1) > 1:
            by_workers.setdefault(workers, []).append(name)
    return [
        f"{_first_names(names)}: trained on {workers} workers; on another number of workers, sums are rounded "
        "otherwise and the weights are other ones"
        for workers, names in sorted(by_workers.items())
    ]


def _first_names(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more models" if len(names) > 4 else "")
