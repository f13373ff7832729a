"""Parts of a shard, for more engines than there are shards: MATH's 500 test problems × 64 samples are 16 shards.

Each part is computed by itself and kept, and whoever sees the last one there commits the shard. So the shard, its key
and its rows are those that one worker alone would have made.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from components.dataflow.datasets import encode
from components.dataflow.stage import MapStage
from components.dataflow.store import Store


@dataclass(frozen=True)
class ShardPart:
    """One part of the shard of a key, and what is kept of the others. rows: of the input shard."""

    store: Store
    stage: MapStage
    key: str
    rows: int
    part: int
    parts: int

    @property
    def bounds(self) -> tuple[int, int]:
        """The first row of the input shard that it has, and the first one after it."""
        return self._bounds(self.part)

    @property
    def is_there(self) -> bool:
        """Whether it was computed before."""
        return self.store.files.size(self._path(self.part)) is not None

    def keep(self, rows: pa.Table) -> None:
        """Keep its rows. Raises StoreError for rows that break the table's schema."""
        _, data = encode(self.stage.name, self.key, self.stage.schema, rows, {})
        self.store.files.put(self._path(self.part), data)

    def whole(self) -> pa.Table | None:
        """Return the rows of all parts in order; None where one is not there, or not any more."""
        tables = []
        for part in range(self.parts):
            try:
                data = self.store.files.read(self._path(part))
            except FileNotFoundError:
                return None
            tables.append(pq.ParquetFile(pa.BufferReader(data), pre_buffer=False).read(use_threads=False))
        return pa.concat_tables(tables)

    def forget(self) -> None:
        """Delete all parts; call it once the shard is committed."""
        self.store.files.delete_folder(self._folder)

    @property
    def _folder(self) -> str:
        return self.store.folder("scratch", self.stage.name, self.key)

    def _bounds(self, part: int) -> tuple[int, int]:
        return self.rows * part // self.parts, self.rows * (part + 1) // self.parts

    def _path(self, part: int) -> str:
        start, stop = self._bounds(part)
        return f"{self._folder}/rows-{start}-{stop}.parquet"
