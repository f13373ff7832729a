"""Runs that garbage collection keeps, the stages that they pin, and the leases that are live."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from components.dataflow.errors import StoreError
from components.dataflow.leases import run_of_holder
from components.dataflow.records import run_of, stage_of
from components.dataflow.storage import FileInfo
from components.dataflow.store import Store

LEASE_SECONDS = 600.0  # a lease that was not renewed for so long, by the storage's clock, is no sign of work
ALL = ""  # stands for every stage among those that a run is making
Run = tuple[FileInfo, dict[str, Any]]  # its record's file, and the record


def runs_by_study(store: Store, keep_runs: int) -> dict[str, list[Run]]:
    """Return the run records of each study. Raises StoreError where a record put aside may be one to keep."""
    runs: dict[str, list[Run]] = {}
    for file in store.files.find("runs"):
        if stage_of(file.path) is not None and file.path.endswith(".json"):
            record = store.record(file.path)
            if record is not None:
                study = file.path.split("/")[1]
                runs.setdefault(study, []).append((file, run_of(record, store.files.url(file.path))))
    for file in store.files.find("quarantine/runs"):
        path = file.path.removeprefix("quarantine/")
        since = [run for run, record in runs.get(path.split("/")[1], []) if record["finished"] and run.path > path]
        if stage_of(path) is not None and len(since) < keep_runs:
            raise StoreError(
                f"a damaged record of a run was put aside: {store.files.url(file.path)}. What it needs is unknown: run "
                f"the study again until {keep_runs} of its runs have finished since, or remove that file"
            )
    return runs


def newest_runs(runs: list[Run], keep_runs: int, young: float, at_work: set[str]) -> list[Run]:
    """Return the newest runs of a study, by the storage's clock and by their own: a copied store has lost the first."""
    kept: dict[str, Run] = {}
    for order in (lambda run: (run[0].modified, run[0].path), lambda run: (run[0].path.rpartition("/")[2], 0.0)):
        finished = 0
        for file, record in sorted(runs, key=order, reverse=True):
            if finished < keep_runs or file.modified > young or file.path in at_work:
                kept[file.path] = file, record
            finished += record["finished"]
    return list(kept.values())


def pinned_stages(
    store: Store, file: FileInfo, record: dict[str, Any], is_open: bool, now: float
) -> Iterator[tuple[set[str], str]]:
    """Yield the stages whose files a kept run keeps altogether, each time with the reason.

    is_open: the run did not finish, and either no run of its study finished since or it holds a live lease.
    """
    making, study = record.get("making"), record["study"]
    if is_open and now - file.modified < LEASE_SECONDS:
        yield (
            {ALL},
            f"everything is kept: {file.path} is a run that looks for what is there just now; try again later",
        )
    elif is_open and making != []:
        stages = ", ".join(making) if making else "all stages"  # an earlier version did not name the stages
        yield (
            set(making or [ALL]),
            f"everything of {stages} is kept: {file.path} is a run that did not finish while it made that. Let study "
            f"{study} run to its end, or remove that record",
        )
    folders = {*record["stages"].values(), *record.get("uses", ())}
    gone = sorted({folder.partition("/")[2].rpartition("-")[0] for folder in folders if store.manifest(folder) is None})
    if gone:
        yield (
            set(gone),
            f"everything of {', '.join(gone)} is kept: {file.path} needs it, and its manifest is gone. Run study "
            f"{study} again",
        )


def live_leases(store: Store, now: float) -> tuple[set[str], set[str]]:
    """Return the stages with a live lease, and the records of the runs that hold one.

    A lease of several stages names them only in its run's record.
    """
    stages, runs = set[str](), set[str]()
    for file in store.files.find("leases"):
        if now - file.modified < LEASE_SECONDS:
            stages |= {stage_of(file.path) or ALL} - {ALL}
            with contextlib.suppress(FileNotFoundError):
                runs.add(run_of_holder(store.files.read(file.path)))
    return stages, runs
