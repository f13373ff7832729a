"""Upkeep of a store: `verify` finds every damaged or missing file, `gc` removes what no run needs.

Both go by the records, and list folders only to find what no record names.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.datasets import Shard, StoreError
from components.files import FileInfo
from components.stage import digest
from components.store import MANIFEST, Store, unseal

QUARANTINE = "quarantine"
_CHANGED = "its bytes are not those that were committed"


@dataclass(frozen=True)
class Finding:
    """One thing wrong: which file, what, and the files to put aside so that it is computed again."""

    path: str
    what: str
    put_aside: tuple[str, ...]


@dataclass
class Checked:
    shards: int = 0
    records: int = 0
    models: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify(store: Store, deep: bool, progress: Callable[[str], None] = lambda path: None) -> Checked:
    """Check every record, shard and model of a store.

    Always: that records are what was written, that files exist and have their size, that Parquet footers read and
    count the rows of the record. deep: that every byte is what was committed, and that rows and errors recount.
    """
    checked = Checked()
    bad_shards: dict[str, str] = {}  # path → what
    seen: set[str] = set()
    for kind in ("commits", "datasets", "models", "runs"):
        for file in list(store.files.find(kind)):
            if not file.path.endswith(".json") or (kind != "commits" and kind != "runs" and not _is_manifest(file)):
                continue
            progress(file.path)
            checked.records += 1
            try:
                record = unseal(store.files.read(file.path), file.path)
            except (StoreError, FileNotFoundError, ValueError) as error:
                checked.findings.append(Finding(file.path, str(error), (file.path,)))
                continue
            if kind == "models":
                checked.models += 1
                checked.findings += _check_model(store, file.path, record, deep)
                continue
            shards = [record] if kind == "commits" else record["shards"] if kind == "datasets" else []
            for shard in (Shard(**fields) for fields in shards):
                if shard.path not in seen:
                    seen.add(shard.path)
                    checked.shards += 1
                    if what := _check_shard(store, shard, deep):
                        bad_shards[shard.path] = what
                if shard.path in bad_shards:
                    aside = (file.path, shard.path)
                    checked.findings.append(Finding(shard.path, bad_shards[shard.path], aside))
            if kind == "datasets":
                checked.findings += _check_parts(store, file.path, record, deep)
    return checked


def repair(store: Store, findings: list[Finding]) -> list[str]:
    """Move what is wrong into quarantine/, records first, so that a next run computes it, and only it, again."""
    moved: list[str] = []
    for finding in findings:
        for path in finding.put_aside:
            if path in moved or store.files.size(path) is None:
                continue
            store.files.copy(path, f"{QUARANTINE}/{path}")
            store.files.delete(path)
            moved.append(path)
    return moved


def _is_manifest(file: FileInfo) -> bool:
    return file.path.rpartition("/")[2] == MANIFEST


def _check_shard(store: Store, shard: Shard, deep: bool) -> str:
    """What is wrong with a shard, or ""."""
    size = store.files.size(shard.path)
    if size is None:
        return "missing"
    if size != shard.size:
        return f"{size} bytes instead of {shard.size}"
    try:
        with store.files.open(shard.path) as file:
            rows = pq.read_metadata(file).num_rows
        if rows != shard.rows:
            return f"{rows} rows instead of {shard.rows}"
        if deep and _digest(store, shard.path) != shard.digest:
            return _CHANGED
        if deep:
            with store.files.open(shard.path) as file:
                errors = pq.read_table(file, columns=["error"])["error"]
            if len(errors) - errors.null_count != shard.rows_error:
                return f"{len(errors) - errors.null_count} rows with errors instead of {shard.rows_error}"
    except (pa.ArrowInvalid, OSError, KeyError) as error:
        return f"not a Parquet file any more: {str(error).splitlines()[0]}"
    return ""


def _digest(store: Store, path: str) -> str:
    """sha256 of a file of any size."""
    with store.files.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _check_parts(store: Store, manifest: str, record: dict[str, Any], deep: bool) -> Iterator[Finding]:
    """The second names of a dataset's shards, which people read."""
    folder = manifest.rpartition("/")[0]
    for index, shard in enumerate(record["shards"]):
        path = f"{folder}/part-{index:05d}.parquet"
        size = store.files.size(path)
        if size != shard["size"]:
            what = "missing" if size is None else f"{size} bytes instead of {shard['size']}"
        elif deep and _digest(store, path) != shard["digest"]:
            what = _CHANGED
        else:
            continue
        yield Finding(path, what, (manifest, path))


def _check_model(store: Store, manifest: str, record: dict[str, Any], deep: bool) -> Iterator[Finding]:
    folder = manifest.rpartition("/")[0]
    if digest(record["files"]) != record["digest"]:
        yield Finding(manifest, "its digest is not that of its files", (manifest,))
    for name, value in record["files"].items():
        path = f"{folder}/{name}"
        if store.files.size(path) is None:
            yield Finding(path, "missing", (manifest,))
        elif deep and _digest(store, path) != value:
            yield Finding(path, _CHANGED, (manifest, path))


# Garbage collection ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Garbage:
    """What gc would remove, or has removed, in this order: records first, so that no record names a missing file."""

    files: tuple[FileInfo, ...]
    kept: int

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


def garbage(store: Store, grace_seconds: float, keep_runs: int = 1) -> Garbage:
    """Files that no kept run uses and that are older than the grace period, by the storage's own clock.

    Kept runs: of each study the newest `keep_runs` finished ones, and every unfinished one that is younger than the
    grace period or newer than those. Whatever a kept run used or made is kept, and so are the records that lead there.
    Raises StoreError when a run's record or a manifest is damaged: what it needs would be unknown.
    """
    now = store.files.now()
    runs = _runs(store)
    roots, keep = set(), {"studies", QUARANTINE, ".probes"}
    live: set[str] = set()
    for study_runs in runs.values():
        finished = 0
        for file, record in reversed(study_runs):  # newest first
            if finished < keep_runs or now - file.modified < grace_seconds:
                live.add(file.path)
                roots |= set(record["stages"].values())
            finished += bool(record["finished"])
    for folder in roots:
        manifest = store.manifest(folder)
        if manifest is None:
            continue
        live |= {folder + "/", folder.replace("models/", "tensorboard/", 1) + "/"}
        for fields in manifest.get("shards", []):
            shard = Shard(**fields)
            live |= {shard.path, f"commits/{shard.stage}/{shard.key}.json"}
    found = []
    kept = 0
    for file in store.files.find(""):
        top = file.path.partition("/")[0]
        folder = "/".join(file.path.split("/")[:2]) + "/"
        used = top in keep or file.path in live or folder in live
        if used or now - file.modified < grace_seconds:
            kept += 1
        else:
            found.append(file)
    return Garbage(tuple(sorted(found, key=_removal_order)), kept)


def collect(store: Store, rubbish: Garbage) -> None:
    for file in rubbish.files:
        store.files.delete(file.path)


def _runs(store: Store) -> dict[str, list[tuple[FileInfo, dict[str, Any]]]]:
    """The run records of each study, oldest first."""
    runs: dict[str, list[tuple[FileInfo, dict[str, Any]]]] = {}
    # By the storage's clock; within its resolution by name, which begins with the run's own.
    for file in sorted(store.files.find("runs"), key=lambda file: (file.modified, file.path)):
        if file.path.endswith(".json"):
            record = store.record(file.path)
            if record is not None:
                runs.setdefault(str(record["study"]), []).append((file, record))
    return runs


def _removal_order(file: FileInfo) -> tuple[int, str]:
    """Manifests, then commit records, then what they name."""
    if _is_manifest(file):
        return 0, file.path
    return (1 if file.path.startswith(("commits/", "runs/")) else 2), file.path
