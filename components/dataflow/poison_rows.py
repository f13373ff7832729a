"""Poison rows: a row on which a stage's worker fails, or dies, gets an error and stops nothing.

A worker carries a row that has an error to its output as it is, so a failing row is given one and passed again. Deaths
are counted in the store, since a dead process can count nothing: Ray starts its actor anew, and for ever.

A process that died together with its node, or with the driver, most likely died of that: a preempted node is no row's
fault. But a row can also kill its node (by memory), so such a death counts a third.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping

import pyarrow as pa

from components.dataflow.errors import StoreError
from components.dataflow.records import note_of
from components.dataflow.stage import MapWorker
from components.dataflow.storage import Files

_DEATHS = 2  # on a shard, before its rows are passed one by one; on a row, before it is given up
_DEATHS_WITH_THE_PLACE = 3  # count as one death
_NO_DEATH = (StoreError, OSError)  # a disk, a store or an address that fails, or a budget that is used: no row's fault
_ERROR_LENGTH = 300  # characters of a message that a row keeps


class Attempts:
    """All attempts at one shard, by all processes that ever tried. name: stage and key."""

    def __init__(self, files: Files, name: str) -> None:
        self.files, self.path = files, f"scratch/attempts/{name}.json"
        try:
            # "shard" or the number of a row → the places of the processes that ended while they worked on it.
            noted = note_of(files.read(self.path))
        except FileNotFoundError:
            noted = {}
        self.deaths: dict[str, list[str]] = {
            part: [str(place) for place in at] for part, at in noted.items() if isinstance(at, list)
        }
        self.here = _here()

    def compute(self, worker: MapWorker, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        """Return the worker's rows for a shard: at once, or one by one when processes died on it or the worker fails.

        Raises the worker's exception when it is no row's fault: a disk or store that fails, or a worker that fails on
        every row other than by refusing it (ValueError). Such rows would else be stored as errors for good.
        """
        if not self._is_deadly("shard"):
            self._begin("shard")
            try:
                return worker(table, item)
            except _NO_DEATH:
                self._take_back("shard")
                raise
            except MemoryError:
                raise
            except Exception:
                if len(table) == 0:
                    raise
                self.deaths["shard"].pop()  # the worker failed, but no process died
        return self._row_by_row(worker, table, item)

    def forget(self) -> None:
        """Delete the count of deaths; call it once the shard is committed."""
        self.files.delete(self.path)

    def _row_by_row(self, worker: MapWorker, table: pa.Table, item: Mapping[str, int]) -> pa.Table:
        failures: list[Exception] = []
        parts = []
        for at in range(len(table)):
            row = table.slice(at, 1)
            if self._is_deadly(str(at)):
                parts.append(worker(_with_error(row, "the process that worked on this row died, each time"), item))
                continue
            self._begin(str(at))
            try:
                parts.append(worker(row, item))
            except _NO_DEATH:
                self._take_back(str(at))
                raise
            except MemoryError:
                raise
            except Exception as error:
                failures.append(error)
                parts.append(worker(_with_error(row, f"{type(error).__name__}: {error}"), item))
            self.deaths[str(at)].pop()  # written with the next row
        if len(failures) == len(table) and not all(isinstance(error, ValueError) for error in failures):
            raise failures[0]
        return pa.concat_tables(parts)

    def _begin(self, part: str) -> None:
        self.deaths.setdefault(part, []).append(self.here)
        self.files.put(self.path, json.dumps(self.deaths).encode())

    def _take_back(self, part: str) -> None:
        """Count no death of a process that stopped in order, as far as the store can note it now."""
        self.deaths[part].pop()
        with contextlib.suppress(*_NO_DEATH):
            self.files.put(self.path, json.dumps(self.deaths).encode())

    def _is_deadly(self, part: str) -> bool:
        gone = [_is_gone(place) for place in self.deaths.get(part, [])]
        return sum(gone) + _DEATHS_WITH_THE_PLACE * gone.count(False) >= _DEATHS_WITH_THE_PLACE * _DEATHS


def _here() -> str:
    """Return the place of this process: its node and its driver's job, in Ray; "" elsewhere."""
    import ray

    if not ray.is_initialized():
        return ""
    context = ray.get_runtime_context()
    return f"{context.get_node_id()}/{context.get_job_id()}"


def _is_gone(place: str) -> bool:
    """Return whether the node or the driver of a place has ended."""
    import ray

    node, _, job = place.partition("/")
    if not job or not ray.is_initialized():
        return False
    nodes = {each["NodeID"] for each in ray.nodes() if each["Alive"]}
    return node not in nodes or job != ray.get_runtime_context().get_job_id()


def _with_error(row: pa.Table, message: str) -> pa.Table:
    at = row.column_names.index("error")
    return row.set_column(at, row.schema.field(at), pa.array([message.splitlines()[0][:_ERROR_LENGTH]]))
