"""The store: content-named shards, exclusive commit records, manifests written last. No stage is known here.

    shards/<stage>/<sha256 of the bytes>.parquet     never changed once written
    commits/<stage>/<key>.json                       "this key's rows are that shard"; created exclusively
    datasets/<stage>-<key>/_manifest.json            written last: the stage is done; beside it its shards once more
    models/<stage>-<key>/                            a model folder, `_manifest.json` last
    scratch/<stage>-<key>/                           training checkpoints, and the model before it is published
    runs/<study>/<run>.json                          what a run used and made: the roots of `gc`
    studies/<name>/                                  what people read: index.json, summary.json, the picture

On a folder or on object storage (`components/files.py`). A reader goes through manifests and checks digests, and every
record carries a digest of itself. A kill at any point leaves at worst a file that no record names.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.datasets import Dataset, Shard, StoreError, content_digest, encode
from components.files import Files
from components.stage import Model, digest

MANIFEST = "_manifest.json"


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


def seal(value: Mapping[str, Any]) -> bytes:
    """A record as JSON that carries its own sha256, so that a reader knows a damaged one."""
    body = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return f'{{"sha256":"{hashlib.sha256(body.encode()).hexdigest()}","record":{body}}}\n'.encode()


def unseal(data: bytes, name: str) -> dict[str, Any]:
    """The record in sealed bytes. Raises StoreError, naming the file, when they are not what was written."""
    start, end = b'{"sha256":"', b"}\n"
    body = data[len(start) + 64 + len(b'","record":') : -len(end)]
    sealed = start + hashlib.sha256(body).hexdigest().encode() + b'","record":' + body + end
    if data != sealed:
        raise StoreError(f"{name} is damaged: it is not what was written; `verify --repair` puts it aside")
    return dict(json.loads(body))


class Store:
    """A store under a folder or a URL. Any number of processes may work on one at once."""

    def __init__(self, root: str | Path) -> None:
        self.files = Files(root)

    @property
    def root(self) -> str:
        return self.files.root

    def folder(self, kind: str, stage: str, key: str) -> str:
        return f"{kind}/{stage}-{key[:16]}"

    # Writing ----------------------------------------------------------------------------------------------------

    def create_record(self, path: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Create a record, and return the one that counts: this one, or that of whoever was first."""
        return unseal(self.files.create(path, seal(value)), self.files.url(path))

    def commit(self, stage: str, key: str, schema: pa.Schema, table: pa.Table, attributes: Mapping[str, str]) -> Shard:
        """Store a table under its key and return the shard that counts: ours, or that of whoever was first.

        Raises StoreError when the table breaks its schema.
        """
        shard, data = encode(stage, key, schema, table, attributes)
        self.files.put(shard.path, data)
        return Shard(**self.create_record(_commit_path(stage, key), asdict(shard)))

    def write_dataset(self, stage: str, key: str, shards: Iterable[Shard], about: Mapping[str, Any]) -> Dataset:
        """Publish a finished stage: second names of its shards, for people, then the manifest."""
        shards = tuple(shards)
        folder = self.folder("datasets", stage, key)
        parts = [(shard.path, f"{folder}/part-{index:05d}.parquet") for index, shard in enumerate(shards)]
        self.files.at_once(lambda part: self.files.copy(*part), parts)
        manifest = {
            "stage": stage,
            "key": key,
            "digest": content_digest(shards),
            "rows_out": sum(shard.rows - shard.rows_error for shard in shards),
            "rows_error": sum(shard.rows_error for shard in shards),
            **about,
            "shards": [asdict(shard) for shard in shards],
        }
        return _dataset(stage, folder, self.create_record(f"{folder}/{MANIFEST}", manifest))

    def write_model(self, stage: str, key: str, built: Path, about: Mapping[str, Any]) -> None:
        """Publish a model folder built on this machine: its files, then the manifest."""
        folder = self.folder("models", stage, key)
        if self.manifest(folder) is None:
            value, names = folder_digest(built)
            for name in names:
                self.files.upload(built / name, f"{folder}/{name}")
            self.create_record(
                f"{folder}/{MANIFEST}", {"stage": stage, "key": key, "digest": value, **about, "files": names}
            )

    # Reading ----------------------------------------------------------------------------------------------------

    def record(self, path: str) -> dict[str, Any] | None:
        """A record, or None where there is none. Raises StoreError for a damaged one."""
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        return unseal(data, self.files.url(path))

    def committed(self, stage: str, key: str) -> Shard | None:
        """The shard that is committed under a key, if any; StoreError when its file is gone or cut."""
        record = self.record(_commit_path(stage, key))
        if record is None:
            return None
        shard = Shard(**record)
        size = self.files.size(shard.path)
        if size != shard.size:
            raise StoreError(
                f"{self.files.url(shard.path)} is {'missing' if size is None else f'{size} bytes long'}, not "
                f"{shard.size} bytes: `verify --repair` puts it aside, and it is computed again"
            )
        return shard

    def all_committed(self, stage: str, keys: Iterable[str]) -> dict[str, Shard]:
        """The shards that are committed under these keys, by key."""
        shards = self.files.at_once(lambda key: self.committed(stage, key), keys)
        return {shard.key: shard for shard in shards if shard is not None}

    def dataset(self, stage: str, key: str) -> Dataset | None:
        """A finished stage's dataset, or None."""
        folder = self.folder("datasets", stage, key)
        manifest = self.manifest(folder)
        return None if manifest is None else _dataset(stage, folder, manifest)

    def manifest(self, folder: str) -> dict[str, Any] | None:
        return self.record(f"{folder}/{MANIFEST}")

    def read_shard(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """A shard's rows; StoreError when its bytes are not those that were committed."""
        name = self.files.url(shard.path)
        try:
            data = self.files.read(shard.path)
        except FileNotFoundError:
            raise StoreError(f"{name} is missing; `verify --repair` lets it be computed again") from None
        if hashlib.sha256(data).hexdigest() != shard.digest:
            raise StoreError(
                f"{name} is damaged: its bytes are not those that were committed; `verify --repair` puts it aside, "
                "and it is computed again"
            )
        return pq.read_table(io.BytesIO(data), columns=columns)

    def read(self, dataset: Dataset, columns: list[str] | None = None) -> pa.Table:
        return pa.concat_tables(self.files.at_once(lambda shard: self.read_shard(shard, columns), dataset.shards))

    def local_model(self, model: Model) -> Path:
        """A model's files on this machine, checked against its digest: where they are, or fetched once into a cache.

        Raises StoreError when they are not what the digest says.
        """
        if "://" in model.path:
            cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "stepverify" / str(model.digest)
            if not cache.exists():
                cache.parent.mkdir(parents=True, exist_ok=True)
                fetched = Path(tempfile.mkdtemp(dir=cache.parent))
                for name in model.files:
                    self.files.download(f"{model.path.removeprefix(self.root + '/')}/{name}", fetched / name)
                try:
                    fetched.rename(cache)
                except OSError:  # another process was first
                    shutil.rmtree(fetched)
        else:
            cache = Path(model.path)
        if folder_digest(cache)[0] != model.digest:
            raise StoreError(f"{cache} is damaged or changed: its files are not those that the study started with")
        return cache


def _commit_path(stage: str, key: str) -> str:
    return f"commits/{stage}/{key}.json"


def _dataset(stage: str, folder: str, manifest: Mapping[str, Any]) -> Dataset:
    return Dataset(stage, folder, manifest["digest"], tuple(Shard(**shard) for shard in manifest["shards"]))
