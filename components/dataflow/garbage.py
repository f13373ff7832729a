"""Garbage collection: files that no kept run needs, among those that the store itself has named.

A file whose name is not of the store's own form is listed and left. Nothing is guessed: a folder that cannot be listed,
a damaged record of a run, and a store without any record of a run stop the collection.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from components.dataflow import store_marker
from components.dataflow.errors import StoreError
from components.dataflow.kept_runs import ALL, LEASE_SECONDS, live_leases, newest_runs, pinned_stages, runs_by_study
from components.dataflow.records import (
    FILES,
    MANIFEST,
    OWN_FOLDERS,
    dataset_of,
    model_files_of,
    stage_of,
    unseal,
    without_temporary,
)
from components.dataflow.storage import FileInfo
from components.dataflow.store import Store, model_path

_AT_WORK_SECONDS = 3600.0  # age up to which a temporary file may still be written
_LOOKS_EVERY = 1000  # files removed between two looks for runs that began meanwhile
_KEPT_FOLDERS = {
    "studies",
    "quarantine",
    "endpoints",
    ".probes",
}  # their files have names of any form, and are never removed


@dataclass(frozen=True)
class Garbage:
    """The files for gc to remove, in this order: records first, so that no record names a missing file.

    foreign: files in the store's own folders, and names in its root, that the store did not give; they are left. notes:
    what is kept beyond what finished runs need, and why, a sentence each.
    """

    files: tuple[FileInfo, ...]
    kept: int
    foreign: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    at_work: frozenset[str] = frozenset()  # signs of runs: names of leases, and of records with their times

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


def garbage(store: Store, grace_seconds: float, keep_runs: int = 1, without_runs: bool = False) -> Garbage:
    """Find the files that no kept run uses and that are older than the grace period, by the storage's own clock.

    Kept runs: of each study the newest `keep_runs` finished ones, and every unfinished one that is younger than the
    grace period or newer than those. Everything that a kept run used or made is kept, with the records that lead there.
    All files of a stage are kept when a kept unfinished run was making it, when its lease is live, or when a kept run
    needs its finished table and the manifest is gone. without_runs: go on where no run is recorded; then only young
    files are kept.

    Raises StoreError for a root that is no store, for a store without a record of a run, and for a damaged record of a
    run; OSError for a folder that cannot be listed; ValueError for limits below their least.
    """
    if not grace_seconds >= 0 or keep_runs < 1:
        raise ValueError(f"a grace period of {grace_seconds} s or {keep_runs} runs to keep: at least 0 s and 1 run")
    store_marker.require(store.files)
    now, seen = _now(store), _at_work(store)
    runs = runs_by_study(store, keep_runs)
    if not runs and not without_runs:
        raise StoreError(
            f"{store.root} has no record of a run, so all of it would be garbage: nothing was looked at. Give "
            "--delete-everything if that is meant"
        )
    making, leased = live_leases(store, now)
    kept_runs = [
        run for of_study in runs.values() for run in newest_runs(of_study, keep_runs, now - grace_seconds, leased)
    ]
    live = {file.path for file, _ in kept_runs}
    notes = [f"everything of {stage} is kept: a run works on it just now" for stage in sorted(making)]
    finished = {study: max((f.modified for f, r in of if r["finished"]), default=0.0) for study, of in runs.items()}
    for file, record in kept_runs:
        is_last = file.modified > finished[file.path.split("/")[1]] or file.path in leased
        for stages, note in pinned_stages(store, file, record, is_last and not record["finished"], now):
            making |= stages
            notes.append(note)
        for folder in {*record["stages"].values(), *record.get("uses", ())}:
            live |= _needed(store, folder)
    named, removable, foreign, kept = _named_model_files(store), list[FileInfo](), list[str](), 0
    for kind in OWN_FOLDERS:
        for file in store.files.find(kind):
            stage = named.get(without_temporary(file.path), stage_of(file.path))
            if stage is None:
                foreign.append(file.path)
            elif _is_kept(file, stage, live, making, now - grace_seconds, now):
                kept += 1
            else:
                removable.append(file)
    known = {f"{kind}/" for kind in (*OWN_FOLDERS, *_KEPT_FOLDERS)} | {store_marker.MARKER}
    foreign += [name for name in store.files.top() if name not in known]
    files = tuple(sorted(removable, key=_removal_order))
    return Garbage(files, kept, tuple(sorted(foreign)), tuple(dict.fromkeys(notes)), seen)


def collect(store: Store, listed: Garbage) -> list[FileInfo]:
    """Remove the listed files, except those written anew since they were listed. Returns the removed files.

    Raises StoreError, and removes no more, when a run began or went on since: it may use what is in the list.
    """
    removed: list[FileInfo] = []
    # In object storage, a listing gives fractions of a second, and an object's own time does not.
    precision = 0.0 if store.files.is_local else 1.0
    for number, file in enumerate(listed.files):
        if number % _LOOKS_EVERY == 0 and not _at_work(store) <= listed.at_work:
            raise StoreError(
                f"a run began or went on while gc looked, so it stopped after {len(removed):,} of "
                f"{len(listed.files):,} files; run it again"
            )
        modified = store.files.modified(file.path)
        if modified is not None and abs(modified - file.modified) <= precision:
            store.files.delete(file.path)
            removed.append(file)
    return removed


def _at_work(store: Store) -> frozenset[str]:
    """Return the signs of runs at work: paths of leases, and of run records with their times.

    Records that gc itself removes are missing later; that is no sign of a run.
    """
    records = {f"{file.path} {file.modified}" for file in store.files.find("runs")}
    return frozenset(records | {without_temporary(file.path) for file in store.files.find("leases")})


def _now(store: Store) -> float:
    """Return the storage's own time; this machine's where the storage cannot be written, and so loses nothing."""
    try:
        return store.files.now()
    except OSError:
        return time.time()


def _is_kept(file: FileInfo, stage: str, live: set[str], making: set[str], young: float, now: float) -> bool:
    """Return whether a file of the store's own is needed, or too young to judge. young: the end of the grace period."""
    kind, folder = file.path.partition("/")[0], file.path.rpartition("/")[0]
    if file.path in live or folder in live or file.modified > young:
        return True
    if without_temporary(file.path) != file.path:
        return now - file.modified < _AT_WORK_SECONDS
    if kind == "leases":
        return now - file.modified < LEASE_SECONDS
    return kind != "runs" and (stage in making or ALL in making)


def _needed(store: Store, folder: str) -> set[str]:
    """Return a finished stage's records, rows or files, and folder of logs; none where the manifest is gone."""
    manifest = store.manifest(folder)
    if manifest is None:
        return set()
    name = f"{folder}/{MANIFEST}"
    if folder.startswith("models/"):
        inner = model_path(folder, manifest)
        files = model_files_of(manifest, store.files.url(name))
        logs = folder.replace("models/", "tensorboard/", 1)
        return {logs, name, f"{inner}/{FILES}", *(f"{inner}/{file}" for file in files)}
    shards = dataset_of(manifest, folder, store.files.url(name)).shards
    paths = {name, *(f"{folder}/part-{index:05d}.parquet" for index in range(len(shards)))}
    return paths | {path for s in shards for path in (s.path, f"commits/{s.stage}/{s.key}.json")}


def _named_model_files(store: Store) -> dict[str, str]:
    """Return the model files that records name, also records put aside: path → stage."""
    named: dict[str, str] = {}
    for file in (*store.files.find("models"), *store.files.find("quarantine/models")):
        path = file.path.removeprefix("quarantine/")
        folder, _, name = path.rpartition("/")
        stage = stage_of(path)
        if stage and name in (MANIFEST, FILES):
            try:
                record = unseal(store.files.read(file.path), file.path)
                files = model_files_of(record, file.path)
            except (StoreError, FileNotFoundError):
                continue  # a needed model's damaged record was refused before; files of any other one are left
            inner = f"{folder}/{str(record.get('digest'))[:16]}" if name == MANIFEST and "folder" in record else folder
            named |= {f"{inner}/{file_name}": stage for file_name in files}
    return named


def _removal_order(file: FileInfo) -> tuple[int, str]:
    """Sort manifests before commit records before the files that they name; a model's list of files comes last."""
    name = file.path.rpartition("/")[2]
    if name == MANIFEST:
        return 0, file.path
    if name == FILES:
        return 3, file.path
    return (1 if file.path.startswith(("commits/", "runs/")) else 2), file.path
