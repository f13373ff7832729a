"""Dry runs: the datasets that a plan foresees for stages that are not computed, with rows and attributes but no
digests.

A foreseen shard has no key and no digest, and whatever would hash it is refused (`datasets.content_digest`,
`map_executor.tasks_of`): foreseen datasets are for people to read, and never a part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from components.dataflow.datasets import Dataset, Shard, content_digest, cut, encode
from components.dataflow.stage import MapStage, TableStage, digest


def of_map(stage: MapStage, source: Dataset, done: Sequence[Shard | None] = ()) -> Dataset:
    """Return the dataset of a map stage, as far as its input is known or foreseen: one shard per input shard and item.

    done: in the order of those shards, the ones that are committed already, None for the others; (): none is committed.
    """
    shards = [
        _shard(
            stage.name,
            stage.expected_rows(item, shard.rows),
            {**shard.attributes, **{name: str(value) for name, value in item.items()}},
        )
        for shard in source.shards
        for item in stage.items(stage.config, shard.attributes)
    ]
    if done:
        shards = [committed or shard for committed, shard in zip(done, shards, strict=True)]
    return Dataset(stage.name, "", None, tuple(shards), source.rows_are)


def of_table(stage: TableStage, inputs: Mapping[str, Dataset]) -> Dataset:
    """Return a barrier stage's dataset, without shards unless its inputs' numbers of rows decide its own.

    A stage whose rows are cut by a column is foreseen where its `expected_rows` gives a number for each value of the
    column.
    """
    known = all(dataset.shards for dataset in inputs.values())
    if known and stage.shards_like:
        like = inputs[stage.shards_like]
        shards = tuple(_shard(stage.name, shard.rows, shard.attributes) for shard in like.shards)
        return Dataset(stage.name, "", None, shards, like.rows_are)
    expected = stage.expected_rows(stage.config, inputs) if known else None
    if expected is None:
        return unknown(stage.name)
    rows, rows_are = expected
    if isinstance(rows, int):
        return unknown(stage.name) if stage.shard_by else assumed_rows(stage.name, rows, rows_are, stage.shard_rows)
    assert stage.shard_by is not None
    groups = tuple(
        _shard(stage.name, shard.rows, {stage.shard_by: value})
        for value, of_value in rows.items()
        for shard in assumed_rows(stage.name, of_value, rows_are, stage.shard_rows).shards
    )
    return Dataset(stage.name, "", None, groups, rows_are)


def assumed_rows(name: str, rows: int, rows_are: str, shard_rows: int) -> Dataset:
    """Return a dataset of `rows` rows, cut into slices as a barrier stage's are. rows_are: as in Dataset."""
    slices = [min(shard_rows, rows - at) for at in range(0, max(1, rows), shard_rows)]
    return Dataset(name, "", None, tuple(_shard(name, size, {}) for size in slices), rows_are)


def unknown(name: str) -> Dataset:
    """Return a dataset whose rows and shards are not known."""
    return Dataset(name, "", None, ())


def compute_unstored(stage: TableStage, key: str) -> tuple[Dataset, dict[str, pa.Table]]:
    """Compute the table of a stage without inputs, with the digest that a run would give it; store nothing.

    Returns the dataset, and the rows of its shards by digest.
    """
    shards, rows = [], {}
    for index, (part, attributes) in enumerate(cut(stage.compute(stage.config), stage, {})):
        shard, _ = encode(stage.name, digest([key, index]), stage.schema, part, attributes)
        rows[shard.digest] = part
        shards.append(shard)
    return Dataset(stage.name, "", content_digest(shards), tuple(shards)), rows


def _shard(stage: str, rows: int, attributes: Mapping[str, str]) -> Shard:
    return Shard(stage, "", "", 0, rows, 0, attributes)
