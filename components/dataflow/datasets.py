"""Shards and datasets: the tables of a study, whatever storage holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.dataflow.errors import StoreError
from components.dataflow.stage import TableStage, digest


@dataclass(frozen=True)
class Shard:
    """One committed output shard.

    attributes: values that all its rows share, e.g. {"split": "train"}. A shard that a plan only foresees has an empty
    key and digest.
    """

    stage: str
    key: str
    digest: str  # sha256 of the Parquet file
    size: int  # bytes
    rows: int
    rows_error: int
    attributes: Mapping[str, str]

    @property
    def path(self) -> str:
        """The shard's file, relative to the store's root."""
        return f"shards/{self.stage}/{self.digest}.parquet"


@dataclass(frozen=True)
class Dataset:
    """A table of the study: its shards in order.

    digest is None for a dataset that a plan only foresees; its shards are then those that a run would make, or none
    where that is not known.
    """

    name: str
    folder: str  # relative to the store's root
    digest: str | None
    shards: tuple[Shard, ...]
    rows_are: str = ""  # of a foreseen dataset: "" exact, "≤" an upper bound, "~" assumed
    seconds: float = field(default=0.0, compare=False)  # taken by its stage

    @property
    def rows(self) -> int:
        """The number of rows, those with an error included."""
        return sum(shard.rows for shard in self.shards)

    @property
    def rows_error(self) -> int:
        """The number of rows with an error."""
        return sum(shard.rows_error for shard in self.shards)

    def select(self, **attributes: str) -> Dataset:
        """Return the shards with these attributes, e.g. select(split="train")."""
        return self._keep(lambda shard: all(shard.attributes.get(k) == v for k, v in attributes.items()))

    def without(self, **attributes: str) -> Dataset:
        """Return the shards without any of these attributes."""
        return self._keep(lambda shard: all(shard.attributes.get(k) != v for k, v in attributes.items()))

    def first(self, rows: int, **attributes: str) -> Dataset:
        """Drop shards with these attributes after the first that hold at least `rows` rows together."""
        before = 0
        kept = []
        for shard in self.shards:
            if all(shard.attributes.get(k) == v for k, v in attributes.items()):
                if before >= rows:
                    continue
                before += shard.rows
            kept.append(shard)
        return self._of(tuple(kept))

    def _keep(self, wanted: Callable[[Shard], bool]) -> Dataset:
        return self._of(tuple(filter(wanted, self.shards)))

    def _of(self, shards: tuple[Shard, ...]) -> Dataset:
        content = None if self.digest is None else content_digest(shards)
        return Dataset(self.name, self.folder, content, shards, self.rows_are)


def content_digest(shards: Iterable[Shard]) -> str:
    """Return the hash of the shards' digests, in order. Raises ValueError for foreseen shards."""
    digests = [shard.digest for shard in shards]
    if "" in digests:
        raise ValueError("a shard that is only foreseen has no content, and no part in a key")
    return digest(digests)


def parquet(table: pa.Table) -> bytes:
    """Encode a table as the bytes of a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer, compression="zstd")
    data: bytes = buffer.getvalue().to_pybytes()
    return data


def encode(
    stage: str, key: str, schema: pa.Schema, table: pa.Table, attributes: Mapping[str, str]
) -> tuple[Shard, bytes]:
    """Return a shard's record and its bytes. Raises StoreError when the table breaks its schema."""
    try:
        table = table.select(schema.names).cast(schema)
        table.validate(full=True)
        for column in schema:
            if not column.nullable and table[column.name].null_count:
                raise pa.ArrowInvalid(f"column {column.name} holds nulls")
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError, ValueError) as error:
        raise StoreError(f"stage {stage}: its rows break the table's schema: {error}") from error
    data = parquet(table)
    rows_error = len(table) - table["error"].null_count
    return Shard(stage, key, hashlib.sha256(data).hexdigest(), len(data), len(table), rows_error, attributes), data


def content_error(footer: pq.FileMetaData, shard: Shard) -> str:
    """Return how a shard's record differs from its Parquet footer; "" where they agree.

    Compared are the number of rows, the number of rows with an error, and each attribute that is a column too: all
    values of that column must be the attribute's.
    """
    if footer.num_rows != shard.rows:
        return f"{footer.num_rows} rows instead of {shard.rows}"
    columns: dict[str, list[pq.Statistics | None]] = {}
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for at in range(footer.num_columns):
            column = group.column(at)
            columns.setdefault(column.path_in_schema, []).append(column.statistics)
    if "error" not in columns:
        return "it has no column `error`"
    known = [statistics for statistics in columns["error"] if statistics is not None]
    if len(known) == len(columns["error"]):
        errors = footer.num_rows - sum(statistics.null_count for statistics in known)
        if errors != shard.rows_error:
            return f"{errors} rows with errors instead of {shard.rows_error}"
    for name, value in shard.attributes.items():
        for statistics in columns.get(name, ()):
            if (
                statistics is not None
                and statistics.has_min_max
                and {str(statistics.min), str(statistics.max)} != {value}
            ):
                return f"its {name} is not {value}"
    return ""


Part = tuple[pa.Table, Mapping[str, str]]


def cut(rows: pa.Table | Iterable[pa.Table], stage: TableStage, inputs: Mapping[str, Dataset]) -> Iterator[Part]:
    """Cut a barrier stage's table (or its tables in turn) into shards. Yields each shard's rows and attributes.

    The shards follow those of the input `shards_like`, if the stage names one; else the values of `shard_by` in order
    of appearance, each in slices of `shard_rows`.
    """
    for table in [rows] if isinstance(rows, pa.Table) else rows:
        if stage.shards_like:
            yield from _cut_like(table, stage, inputs[stage.shards_like].shards)
        else:
            yield from _cut(table, stage)


def _cut_like(rows: pa.Table, stage: TableStage, shards: Iterable[Shard]) -> Iterator[Part]:
    at = 0
    for shard in shards:
        yield rows.slice(at, shard.rows), shard.attributes
        at += shard.rows
    if at != len(rows):
        raise StoreError(f"stage {stage.name} gave {len(rows)} rows for {at}: rows were lost or doubled")


def _cut(rows: pa.Table, stage: TableStage) -> list[Part]:
    groups: list[Part] = [(rows, {})]
    if stage.shard_by is not None:
        values = pc.unique(rows[stage.shard_by]).to_pylist()
        groups = [(rows.filter(pc.equal(rows[stage.shard_by], v)), {stage.shard_by: str(v)}) for v in values]
    return [
        (group.slice(at, stage.shard_rows), attributes)
        for group, attributes in groups
        for at in range(0, max(1, len(group)), stage.shard_rows)
    ]
