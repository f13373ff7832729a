"""The store: content-named shards, exclusive commit records, manifests written last. No stage is known here.

    shards/<stage>/<sha256 of the bytes>.parquet     never changed once written
    commits/<stage>/<key>.json                       "this key's rows are that shard"; created exclusively
    datasets/<stage>-<key>/_manifest.json            written last: the stage is done; beside it links to its shards
    models/<stage>-<key>/                            a model folder, `_manifest.json` last
    scratch/<stage>-<key>/                           training checkpoints
    studies/<name>/                                  what people read: index.json, summary.json, the picture

A reader goes through manifests and checks digests. A kill at any point leaves at worst an unnamed temporary file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.stage import digest

MANIFEST = "_manifest.json"


class StoreError(Exception):
    """The store refuses: a damaged or missing file, or rows that break a table's contract."""


@dataclass(frozen=True)
class Shard:
    """One committed output shard. attributes: values that all its rows share, e.g. {"split": "train"}."""

    stage: str
    key: str
    digest: str  # sha256 of the Parquet file
    size: int  # bytes
    rows: int
    rows_error: int
    attributes: Mapping[str, str]


@dataclass(frozen=True)
class Dataset:
    """A table of the study: its shards in order. digest is None for one that a plan only foresees."""

    name: str
    folder: Path
    digest: str | None
    shards: tuple[Shard, ...]

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.shards)

    @property
    def rows_error(self) -> int:
        return sum(shard.rows_error for shard in self.shards)

    def select(self, **attributes: str) -> Dataset:
        """The shards with these attributes, e.g. select(split="train")."""
        return self._keep(lambda shard: all(shard.attributes.get(k) == v for k, v in attributes.items()))

    def without(self, **attributes: str) -> Dataset:
        """The shards without any of these attributes."""
        return self._keep(lambda shard: all(shard.attributes.get(k) != v for k, v in attributes.items()))

    def _keep(self, wanted: Callable[[Shard], bool]) -> Dataset:
        if self.digest is None:
            return self
        shards = tuple(filter(wanted, self.shards))
        return Dataset(self.name, self.folder, content_digest(shards), shards)


def content_digest(shards: Iterable[Shard]) -> str:
    """What a dataset contains: the hash of its shards' digests, in order."""
    return digest([shard.digest for shard in shards])


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> tuple[str, dict[str, str]]:
    """The digest of a model folder, and that of each of its files; what is hidden or underscored does not count."""
    files = {
        path.relative_to(folder).as_posix(): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    }
    return digest(files), files


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, replacing what is there; `path.parent` is made if it is not."""
    os.replace(_temporary(path, data), path)


def _temporary(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return temporary


class Store:
    """A store on a local (or mounted) file system. Several processes may write the same shards at once; two that train
    the same model at once would share its scratch folder, and must not."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def folder(self, kind: str, stage: str, key: str) -> Path:
        return self.root / kind / f"{stage}-{key[:16]}"

    def study_folder(self, study: str) -> Path:
        return self.root / "studies" / study

    def shard_path(self, shard: Shard) -> Path:
        return self.root / "shards" / shard.stage / f"{shard.digest}.parquet"

    # Writing ----------------------------------------------------------------------------------------------------

    def put(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all, replacing what is there."""
        replace_file(path, data)

    def put_exclusively(self, path: Path, data: bytes) -> bool:
        """Write a file whole if there is none of this name. False: another writer was first."""
        temporary = _temporary(path, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        return True

    def commit(self, stage: str, key: str, schema: pa.Schema, table: pa.Table, attributes: Mapping[str, str]) -> Shard:
        """Store a table under its key and return the shard that counts: ours, or that of whoever was first.

        Raises StoreError when the table breaks its schema.
        """
        try:
            table = table.select(schema.names).cast(schema)
            table.validate(full=True)
            for column in schema:
                if not column.nullable and table[column.name].null_count:
                    raise pa.ArrowInvalid(f"column {column.name} holds nulls")
        except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError, ValueError) as error:
            raise StoreError(f"stage {stage}: its rows break the table's schema: {error}") from error
        buffer = io.BytesIO()
        pq.write_table(table, buffer, compression="zstd")
        data = buffer.getvalue()
        rows_error = len(table) - table["error"].null_count
        shard = Shard(stage, key, hashlib.sha256(data).hexdigest(), len(data), len(table), rows_error, dict(attributes))
        self.put(self.shard_path(shard), data)
        if self.put_exclusively(self._record(stage, key), json.dumps(asdict(shard)).encode()):
            return shard
        committed = self.committed(stage, key)
        assert committed is not None
        return committed

    def write_dataset(self, stage: str, key: str, shards: Iterable[Shard], about: Mapping[str, Any]) -> Dataset:
        """Publish a finished stage: links to its shards, then the manifest."""
        shards = tuple(shards)
        folder = self.folder("datasets", stage, key)
        folder.mkdir(parents=True, exist_ok=True)
        for index, shard in enumerate(shards):
            _link(self.shard_path(shard), folder / f"part-{index:05d}.parquet")
        manifest = {
            "stage": stage,
            "key": key,
            "digest": content_digest(shards),
            "rows_out": sum(shard.rows - shard.rows_error for shard in shards),
            "rows_error": sum(shard.rows_error for shard in shards),
            **about,
            "shards": [asdict(shard) for shard in shards],
        }
        self.put_exclusively(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        dataset = self.dataset(stage, key)
        assert dataset is not None
        return dataset

    def write_model(self, stage: str, key: str, built: Path, about: Mapping[str, Any]) -> Path:
        """Publish a model folder built elsewhere on this file system: its files, then the manifest."""
        folder = self.folder("models", stage, key)
        if not (folder / MANIFEST).exists():
            folder.mkdir(parents=True, exist_ok=True)
            value, files = folder_digest(built)
            for name in files:
                self.put(folder / name, (built / name).read_bytes())
            manifest = {"stage": stage, "key": key, "digest": value, **about, "files": files}
            self.put_exclusively(folder / MANIFEST, json.dumps(manifest, indent=1).encode())
        return folder

    # Reading ----------------------------------------------------------------------------------------------------

    def _record(self, stage: str, key: str) -> Path:
        return self.root / "commits" / stage / f"{key}.json"

    def committed(self, stage: str, key: str) -> Shard | None:
        """The shard that is committed under a key, if any; StoreError when its file is gone or cut."""
        record = _json(self._record(stage, key))
        if record is None:
            return None
        shard = Shard(**record)
        path = self.shard_path(shard)
        if not path.exists() or path.stat().st_size != shard.size:
            raise StoreError(
                f"{path} is missing or not {shard.size} bytes long; delete {self._record(stage, key)} "
                "and every dataset of this stage to compute it again"
            )
        return shard

    def dataset(self, stage: str, key: str) -> Dataset | None:
        """A finished stage's dataset, or None."""
        folder = self.folder("datasets", stage, key)
        manifest = _json(folder / MANIFEST)
        if manifest is None:
            return None
        return Dataset(stage, folder, manifest["digest"], tuple(Shard(**shard) for shard in manifest["shards"]))

    def manifest(self, folder: Path) -> dict[str, Any] | None:
        return _json(folder / MANIFEST)

    def read_shard(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """A shard's rows; StoreError when its bytes are not those that were committed."""
        path = self.shard_path(shard)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise StoreError(f"{path} is missing") from None
        if hashlib.sha256(data).hexdigest() != shard.digest:
            raise StoreError(f"{path} is damaged: its bytes are not those that were committed")
        return pq.read_table(io.BytesIO(data), columns=columns)

    def read(self, dataset: Dataset, columns: list[str] | None = None) -> pa.Table:
        return pa.concat_tables([self.read_shard(shard, columns) for shard in dataset.shards])

    def check_writable(self) -> None:
        """Raises OSError when the root cannot be used, before any work starts."""
        probe = self.root / f".probe-{uuid.uuid4().hex}"
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.put_exclusively(probe, b"") or self.put_exclusively(probe, b""):
            raise OSError("this file system cannot create a file exclusively")
        probe.unlink()


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}") from error


def _link(source: Path, target: Path) -> None:
    """A second name for a shard, for people; a copy where the file system has no hard links."""
    if target.exists():
        return
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    os.replace(temporary, target)
