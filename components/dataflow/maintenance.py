"""Maintenance of a store: `verify` finds every damaged, missing or misplaced file; `repair` moves it to quarantine/.

Both go by the records, and list folders only to find the records. A folder that cannot be listed stops them: no result
is given for a store that was only partly seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow import store_marker
from components.dataflow.datasets import Shard, content_error
from components.dataflow.errors import StoreError
from components.dataflow.quarantine import put_aside
from components.dataflow.records import MANIFEST, is_name, model_files_of, run_of, shard_of, stage_of
from components.dataflow.stage import digest
from components.dataflow.storage import FileInfo
from components.dataflow.store import Store, model_path

RECORDS = {
    "commits": ".json",
    "datasets": MANIFEST,
    "models": MANIFEST,
    "runs": ".json",
}  # kind → the end of its records' paths
_CHANGED = "its bytes are not those that were committed"


@dataclass(frozen=True)
class Finding:
    """One fault: the file, its problem, the files to put aside so that it is computed again, and the checked record."""

    path: str
    problem: str
    put_aside: tuple[str, ...]
    record: str = ""


@dataclass
class Checked:
    """The result of `verify`: how many shards, records and models were checked, and the faults."""

    shards: int = 0
    records: int = 0
    models: int = 0
    findings: list[Finding] = field(default_factory=list)


def verify(store: Store, deep: bool, progress: Callable[[str], None] = lambda path: None) -> Checked:
    """Check every record, shard and model of a store.

    Always: that records are what was written, where they belong and of the form of records, that files exist and have
    their size, that Parquet footers read and count the rows and errors of the record. deep: that every byte is what was
    committed. Raises StoreError for a root that is no store, OSError for a folder that cannot be listed.
    """
    store_marker.require(store.files)
    check = _Check(store, deep)
    for kind in ("commits", "datasets", "models", "runs"):
        files = list(store.files.find(kind))
        check.beside = _by_folder(files)
        for file in files:
            if stage_of(file.path) is not None and file.path.endswith(RECORDS[kind]):
                progress(file.path)
                check.record(kind, file.path)
    return check.checked


def repair(store: Store, findings: list[Finding]) -> list[str]:
    """Move faulty files into quarantine/, records first, so that the next run computes them, and nothing else, again.

    Each record is checked again, deep, before its files are moved: one that was mended meanwhile, or was only not
    visible yet, stays. Returns the moved paths.
    """
    moved: list[str] = []
    for record in dict.fromkeys(finding.record for finding in findings):
        kind, folder = record.partition("/")[0], "/".join(record.split("/")[:2])
        check = _Check(store, deep=True)
        check.beside = _by_folder(list(store.files.find(folder)) if kind in ("datasets", "models") else [])
        if store.files.size(record) is None:
            continue
        check.record(kind, record)
        paths = dict.fromkeys(path for finding in check.checked.findings for path in finding.put_aside)
        moved += [path for path in paths if put_aside(store.files, path)]
    return moved


def _by_folder(files: list[FileInfo]) -> dict[str, list[str]]:
    """Group paths by the stage's folder that they lie in, e.g. datasets/grades-0123456789abcdef."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault("/".join(file.path.split("/")[:2]), []).append(file.path)
    return folders


class _Check:
    """One pass over a store. Commits are checked before the manifests that repeat them."""

    def __init__(self, store: Store, deep: bool) -> None:
        self.store, self.deep = store, deep
        self.checked = Checked()
        self.committed: dict[tuple[str, str], Shard] = {}
        self.seen: dict[str, list[tuple[Shard, str]]] = {}  # path → records of that shard, each with its problem
        self.beside: dict[str, list[str]] = {}

    def record(self, kind: str, path: str) -> None:
        """Check one record, and the files that it names."""
        self.checked.records += 1
        self.checked.models += kind == "models"
        look = {"commits": self._commit, "datasets": self._dataset, "models": self._model, "runs": self._run}[kind]
        try:
            self.checked.findings += [replace(finding, record=path) for finding in look(path)]
        except (StoreError, FileNotFoundError) as error:
            folder = path.rpartition("/")[0]
            # Rows beside a damaged manifest are not trusted either.
            aside = [other for other in self.beside.get(folder, []) if other != path] if kind == "datasets" else []
            self.checked.findings.append(Finding(path, str(error), (path, *aside), path))
        self.checked.shards = len(self.seen)

    def _run(self, path: str) -> Iterator[Finding]:
        record = self.store.record(path)
        if record is not None and run_of(record, path)["study"] != path.split("/")[1]:
            yield Finding(path, f"it is the record of a run of study {record['study']}", (path,))

    def _commit(self, path: str) -> Iterator[Finding]:
        _, stage, name = path.split("/")
        record = self.store.record(path)
        if record is not None:
            shard = shard_of(record, path, stage, name.removesuffix(".json"))
            self.committed[stage, shard.key] = shard
            yield from self._shard(shard, path)

    def _dataset(self, path: str) -> Iterator[Finding]:
        folder = path.rpartition("/")[0]
        dataset = self.store.dataset_in(folder)
        shards = dataset.shards if dataset else ()
        for index, shard in enumerate(shards):
            yield from self._shard(shard, path)
            committed = self.committed.get((shard.stage, shard.key)) or self._committed_meanwhile(shard)
            if committed != shard:
                yield Finding(path, f"its shard {index} is not as it was committed", (path,))
            part = f"{folder}/part-{index:05d}.parquet"
            if problem := self._part(part, shard):
                yield Finding(part, problem, (path, part))
        names = {f"{folder}/part-{index:05d}.parquet" for index in range(len(shards))}
        for other in self.beside.get(folder, []):
            if other not in names and other.endswith(".parquet"):
                yield Finding(other, "it is not part of this table, and pandas would read it with the folder", (other,))

    def _committed_meanwhile(self, shard: Shard) -> Shard | None:
        """Return the shard that is committed under a key, for a stage that was computed while the store was checked."""
        path = f"commits/{shard.stage}/{shard.key}.json"
        record = self.store.record(path)
        return None if record is None else shard_of(record, path, shard.stage, shard.key)

    def _part(self, part: str, shard: Shard) -> str:
        """Return what is wrong with a shard's second name (part-00000.parquet, which people read); "" for nothing."""
        size = self.store.files.size(part)
        if size != shard.size:
            return "missing" if size is None else f"{size} bytes instead of {shard.size}"
        return _CHANGED if self.deep and _digest(self.store, part) != shard.digest else ""

    def _shard(self, shard: Shard, record: str) -> Iterator[Finding]:
        before = self.seen.setdefault(shard.path, [])
        problem = next((problem for other, problem in before if other == shard), None)
        if problem is None:
            problem = _check_shard(self.store, shard, self.deep)
            before.append((shard, problem))
        if problem and self._is_whole(shard):
            yield Finding(record, f"it differs from its shard {shard.digest[:16]}…: {problem}", (record,))
        elif problem:
            yield Finding(shard.path, problem, (record, shard.path))

    def _is_whole(self, shard: Shard) -> bool:
        """Return whether a shard's bytes have the digest of its name, so that the record is wrong and not the shard."""
        return self.store.files.size(shard.path) is not None and _digest(self.store, shard.path) == shard.digest

    def _model(self, path: str) -> Iterator[Finding]:
        folder = path.rpartition("/")[0]
        manifest = self.store.manifest(folder)
        if manifest is None:
            return
        files, inner = model_files_of(manifest, path), model_path(folder, manifest)
        if digest(files) != manifest["digest"]:
            yield Finding(path, "its digest is not that of its files", (path,))
        for name, value in files.items():
            file = f"{inner}/{name}"
            if self.store.files.size(file) is None:
                yield Finding(file, "missing", (path,))
            elif self.deep and _digest(self.store, file) != value:
                yield Finding(file, _CHANGED, (path, file))
        for other in self.beside.get(folder, []):
            name = other.removeprefix(f"{inner}/")
            if other.startswith(f"{inner}/") and name not in files and is_name("file", name) and not _of_another(name):
                yield Finding(other, "it is not a file of this model, and a library could load it", (other,))


def _of_another(name: str) -> bool:
    """Return whether a file belongs to another model in that folder, published later under a name of its content."""
    return is_name("content", name.partition("/")[0]) and "/" in name


def _check_shard(store: Store, shard: Shard, deep: bool) -> str:
    """Return what is wrong with a shard; "" for nothing."""
    size = store.files.size(shard.path)
    if size is None:
        return "missing"
    if size != shard.size:
        return f"{size} bytes instead of {shard.size}"
    if deep and _digest(store, shard.path) != shard.digest:
        return _CHANGED
    try:
        with store.files.open(shard.path) as file:
            return content_error(pq.read_metadata(file), shard)
    except (pa.ArrowException, OSError) as error:
        return f"not a Parquet file any more: {str(error).splitlines()[0]}"


def _digest(store: Store, path: str) -> str:
    """Return the sha256 of a file of any size."""
    with store.files.open(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
