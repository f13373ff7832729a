"""The store: content-named shards, exclusive commit records, manifests written last. No stage is known here.

    store.json                                       "this is a store": its format, and when it was begun
    shards/<stage>/<sha256 of the bytes>.parquet     never changed once written
    commits/<stage>/<key>.json                       "this key's rows are that shard"; created exclusively
    datasets/<stage>-<key>/_manifest.json            written last: the stage is done; beside it its shards once more
    models/<stage>-<key>/_manifest.json              written last: which of the folders beside it is the model
    models/<stage>-<key>/<digest>/                   a model folder, named by what it contains
    scratch/<stage>-<key>/                           training checkpoints, and parts of a shard that is not whole
    answers/<stage>/<question>.json                  answers of an endpoint, until their shard is whole
    runs/<study>/<run>.json                          what a run used and made: the roots of `gc`
    studies/<name>/                                  what people read: index.json, summary.json, the picture

On a folder or on object storage (`storage.py`). A reader goes through manifests and checks digests, and every record
carries a digest of itself (`records.py`). A kill at any point leaves at worst a file that no record names.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow.datasets import Dataset, Shard, content_digest, content_error, encode, parquet
from components.dataflow.errors import NotThere, StoreError
from components.dataflow.model_cache import local_folder
from components.dataflow.model_files import folder_digest
from components.dataflow.records import (
    FILES,
    MANIFEST,
    dataset_of,
    is_name,
    manifest_of,
    model_files_of,
    seal,
    shard_of,
    unseal,
)
from components.dataflow.stage import Model
from components.dataflow.storage import Files


class Store:
    """A store under a folder or a URL. Any number of processes may work on one at once."""

    def __init__(self, root: str | Path) -> None:
        self.files = Files(root)

    @property
    def root(self) -> str:
        """The folder or URL of the store."""
        return self.files.root

    def folder(self, kind: str, stage: str, key: str) -> str:
        """Return the folder of a stage's result. kind: datasets, models or scratch."""
        return f"{kind}/{stage}-{key[:16]}"

    # Writing ----------------------------------------------------------------------------------------------------

    def create_record(self, path: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """Create a record, and return the one that counts: this one, or an earlier one of the same path."""
        return unseal(self.files.create(path, seal(value)), self.files.url(path))

    def commit(self, stage: str, key: str, schema: pa.Schema, table: pa.Table, attributes: Mapping[str, str]) -> Shard:
        """Store a table under its key and return the shard that counts: this one, or an earlier one of the same key.

        Raises StoreError when the table breaks its schema.
        """
        shard, data = encode(stage, key, schema, table, attributes)
        self.files.put(shard.path, data)
        path = _commit_path(stage, key)
        return shard_of(self.create_record(path, asdict(shard)), self.files.url(path), stage, key)

    def write_dataset(self, stage: str, key: str, shards: Iterable[Shard], fields: Mapping[str, Any]) -> Dataset:
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
            **fields,
            "shards": [asdict(shard) for shard in shards],
        }
        name = f"{folder}/{MANIFEST}"
        record = manifest_of(self.create_record(name, manifest), self.files.url(name), stage, key)
        return dataset_of(record, folder, self.files.url(name))

    def write_model(self, stage: str, key: str, built: Path, fields: Mapping[str, Any]) -> None:
        """Publish a model folder of this machine: its files in a folder named by their digest, then the manifest.

        Two publishers never mix their files so, and the first manifest counts.
        """
        folder = self.folder("models", stage, key)
        if self.manifest(folder) is not None:
            return
        value, names = folder_digest(built)
        inner = f"{folder}/{value[:16]}"
        listed = {"stage": stage, "key": key, "digest": value, "files": names}
        self.files.put(f"{inner}/{FILES}", seal(listed))  # first: `gc` removes only files that a record names
        for name in names:
            self.files.upload(built / name, f"{inner}/{name}")
        self.create_record(f"{folder}/{MANIFEST}", {**fields, **listed, "folder": value[:16]})

    # Reading ----------------------------------------------------------------------------------------------------

    def record(self, path: str) -> dict[str, Any] | None:
        """Read a record; None where there is none. Raises StoreError for a damaged one."""
        try:
            data = self.files.read(path)
        except FileNotFoundError:
            return None
        return unseal(data, self.files.url(path))

    def committed(self, stage: str, key: str) -> Shard | None:
        """Return the shard that is committed under a key; None where there is none.

        Raises StoreError when the shard's file is gone or cut, or when the record is of another stage or key.
        """
        path = _commit_path(stage, key)
        record = self.record(path)
        if record is None:
            return None
        shard = shard_of(record, self.files.url(path), stage, key)
        size = self.files.size(shard.path)
        if size != shard.size:
            raise (NotThere if size is None else StoreError)(
                f"{self.files.url(shard.path)} is {'missing' if size is None else f'{size} bytes long'}, not "
                f"{shard.size} bytes: `verify --repair` puts it aside, and it is computed again"
            )
        return shard

    def all_committed(self, stage: str, keys: Iterable[str]) -> dict[str, Shard]:
        """Return the shards that are committed under these keys, by key."""
        shards = self.files.at_once(lambda key: self.committed(stage, key), keys)
        return {shard.key: shard for shard in shards if shard is not None}

    def dataset(self, stage: str, key: str) -> Dataset | None:
        """Return a finished stage's dataset, or None. Raises StoreError for a manifest of another stage or key."""
        folder = self.folder("datasets", stage, key)
        manifest = self.manifest(folder, stage, key)
        return None if manifest is None else dataset_of(manifest, folder, self.files.url(f"{folder}/{MANIFEST}"))

    def dataset_in(self, folder: str) -> Dataset | None:
        """Return the dataset in a folder of this store, as an index or a run's record names it, or None."""
        manifest = self.manifest(folder)
        return None if manifest is None else dataset_of(manifest, folder, self.files.url(f"{folder}/{MANIFEST}"))

    def model(self, stage: str, key: str) -> tuple[Model, dict[str, Any]] | None:
        """Return a trained model and its manifest, or None. Raises StoreError for one of another stage or key."""
        folder = self.folder("models", stage, key)
        manifest = self.manifest(folder, stage, key)
        if manifest is None:
            return None
        files = model_files_of(manifest, self.files.url(f"{folder}/{MANIFEST}"))
        path = self.files.url(model_path(folder, manifest))
        return Model(path, manifest["digest"], files, manifest["metrics"]), manifest

    def manifest(self, folder: str, stage: str | None = None, key: str | None = None) -> dict[str, Any] | None:
        """Read the manifest in a folder of this store; None where there is none. Its shards or files are not checked.

        Raises StoreError for a manifest that is damaged, or of another folder, stage or key.
        """
        path = f"{folder}/{MANIFEST}"
        record = self.record(path)
        if record is None:
            return None
        manifest = manifest_of(record, self.files.url(path), stage, key)
        if self.folder(folder.partition("/")[0], manifest["stage"], manifest["key"]) != folder:
            raise StoreError(
                f"{self.files.url(path)} is the record of another folder, {manifest['stage']}-{manifest['key'][:16]}; "
                "`verify --repair` puts it aside"
            )
        return manifest

    def folder_of_given(self, model: Model) -> str | None:
        """Return the folder of a model that the user gave by its path, where it lies in this store; else None."""
        path, root = model.path, self.root
        if self.files.is_local:
            path, root = os.path.realpath(path), os.path.realpath(root)
        folder = "/".join(path.removeprefix(f"{root}/").split("/")[:2])
        return folder if path.startswith(f"{root}/") and is_name("folder", folder) else None

    def folder_of(self, result: Dataset | Model) -> str:
        """Return the folder, in this store, that holds the manifest of a dataset or of a model trained here."""
        if isinstance(result, Dataset):
            return result.folder
        return "/".join(result.path.removeprefix(f"{self.root}/").split("/")[:2])

    def read_shard(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """Read a shard's rows. Raises StoreError when its bytes are not those that were committed."""
        name = self.files.url(shard.path)
        try:
            data = self.files.read(shard.path)
        except FileNotFoundError:
            raise NotThere(f"{name} is missing; `verify --repair` lets it be computed again") from None
        if hashlib.sha256(data).hexdigest() != shard.digest:
            raise StoreError(
                f"{name} is damaged: its bytes are not those that were committed; `verify --repair` puts it aside, "
                "and it is computed again"
            )
        try:
            # By neither a Python file nor Arrow's threads: a thread that lets go of a Python object while the
            # interpreter ends aborts the process. Shards are read side by side as it is.
            file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False)
            problem = content_error(file.metadata, shard)
            if not problem:
                return file.read(columns=columns, use_threads=False)
        except pa.ArrowException as error:
            problem = str(error).splitlines()[0]
        raise StoreError(f"{name} is not what its record says: {problem}; `verify --repair` puts the record aside")

    def read(self, dataset: Dataset, columns: list[str] | None = None) -> pa.Table:
        """Read the rows of all shards. Raises StoreError for a damaged shard, and for shards of different tables."""
        tables = self.files.at_once(lambda shard: self.read_shard(shard, columns), dataset.shards)
        try:
            return pa.concat_tables(tables)
        except pa.ArrowException as error:
            problem = str(error).splitlines()[0]
            raise StoreError(f"{self.files.url(dataset.folder)}: its shards are not of one table: {problem}") from error

    def publish(self, path: str, dataset: Dataset) -> None:
        """Write the rows of all shards as one Parquet file. Raises StoreError for a shard that is damaged."""
        self.files.put(path, parquet(self.read(dataset)))

    def local_model(self, model: Model) -> Path:
        """Return the folder of a model's files on this machine (model_cache). Raises StoreError for damaged files."""
        return local_folder(self.files, model)


def model_path(folder: str, manifest: Mapping[str, Any]) -> str:
    """Return where in the store a model's files are, by its checked manifest. Earlier versions kept them beside it."""
    return f"{folder}/{manifest['digest'][:16]}" if "folder" in manifest else folder


def _commit_path(stage: str, key: str) -> str:
    return f"commits/{stage}/{key}.json"
