"""The examples of a training run: shards of the store made examples, and brought to the workers.

They are made in Ray tasks that know no torch (a base model's tokenizer may bring it).
"""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.dataflow.datasets import Dataset, Shard
from components.dataflow.joined_rows import joined_rows
from components.dataflow.stage import seed_for
from components.dataflow.visibility import awaited
from components.models.model_folder import open_tokenizer_without_torch
from components.training.examples import Example
from components.training.examples_of_rows import make_examples
from components.training.grouped_examples import group_by_problem
from components.training.job import TrainingJob
from components.worlds.tokenizer import build_tokenizer
from components.worlds.worked_arithmetic import VOCABULARY
from schemas.tables import SAMPLE_KEY

_INTS = pa.large_list(pa.int32())
_ARRAYS = {"ids": _INTS, "positions": _INTS, "until": _INTS, "at": _INTS, "classes": _INTS, "read_at": _INTS}
_ARRAYS |= {"weights": pa.large_list(pa.float32())}
_OF_ROW = {"order": pa.int64(), "counts": pa.string(), "is_example": pa.bool_(), "is_validation": pa.bool_()}
_OF_ROW |= {"problem": pa.int64(), "is_right": pa.bool_(), "own_targets": pa.int64()}
_EXAMPLE = pa.schema(list((_OF_ROW | _ARRAYS).items()))


class NoExamplesError(ValueError):
    """No row of the inputs makes an example to train on. counts: the rows and labels, by what became of them."""

    def __init__(self, counts: Mapping[str, int]) -> None:
        super().__init__(f"no example to train on; rows and labels: {dict(counts)}")
        self.counts = dict(counts)


@dataclass(frozen=True)
class Data:
    """The data of a training on one worker.

    train: examples to train on. validation: those of validation problems; validation_problems: their problems, by
    number. counts: the input's rows and labels, by what became of them.
    """

    train: list[Example]
    validation: list[Example]
    validation_problems: list[int]
    counts: Mapping[str, int]


def ray_dataset(job: TrainingJob, inputs: Mapping[str, Dataset]) -> Any:
    """Return the examples of all shards as a Ray dataset.

    Its tasks ask for little of a CPU, to have room beside trainings. Without a bound Ray starts four processes for each
    CPU; they import for longer than they work.
    """
    import ray
    import ray.data

    groups = list(zip(*(dataset.shards for dataset in inputs.values()), strict=True))
    shards = [{"order": i, "shards": json.dumps([asdict(shard) for shard in group])} for i, group in enumerate(groups)]
    return ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
        functools.partial(_examples_of_shard, job),
        batch_size=1,
        num_cpus=0.25,
        compute=ray.data.TaskPoolStrategy(size=max(1, int(ray.cluster_resources().get("CPU", 1)))),
    )


def _examples_of_shard(job: TrainingJob, batch: dict[str, Any]) -> pa.Table:
    """Return the examples of one shard; `counts` says of each row what became of it."""
    [order], [text] = batch["order"], batch["shards"]
    shards = [Shard(**shard) for shard in json.loads(text)]
    tables = {s.path: awaited(functools.partial(job.run.store.read_shard, s), s.path) for s in shards}
    rows = joined_rows(tables, SAMPLE_KEY)
    numbers = {problem: seed_for("held_out", problem) for problem in {row["problem"] for row in rows}}
    share = job.evaluation.held_out_share if job.evaluation is not None else 0.0
    is_validation = [numbers[row["problem"]] < share * 2**31 for row in rows]
    columns: dict[str, list[Any]] = {name: [] for name in _EXAMPLE.names}
    for index, result in enumerate(make_examples(opened(job)[0], rows, job.examples, is_validation)):
        columns["order"].append(int(order) << 32 | index)
        columns["counts"].append(json.dumps(dict(result.counts)))
        columns["is_example"].append(result.example is not None)
        columns["is_validation"].append(is_validation[index])
        columns["problem"].append(numbers[rows[index]["problem"]])
        for name in ("is_right", "own_targets"):
            columns[name].append(getattr(result.example, name) if result.example is not None else None)
        for name in _ARRAYS:
            columns[name].append(getattr(result.example, name) if result.example is not None else [])
    return pa.Table.from_pydict(columns, schema=_EXAMPLE)


_opened: dict[str | None, tuple[Any, Path | None]] = {}  # this process's: files are checked once


def opened(job: TrainingJob) -> tuple[Any, Path | None]:
    """Return the tokenizer, and the files on this machine of the model that the job starts from."""
    value = job.start.digest if job.start is not None else None
    if value not in _opened:
        if job.start is None:
            _opened[value] = build_tokenizer(VOCABULARY), None
        else:
            folder = job.run.store.local_model(job.start)
            _opened[value] = open_tokenizer_without_torch(folder), folder
    return _opened[value]


def collect(name: str, solutions_together: int) -> Data:
    """Return all examples of one of the trainer's datasets, in order. Raises NoExamplesError when there is none to
    train on.

    solutions_together: how many solutions of a problem one example to train on may have.
    """
    import ray.train

    shard = ray.train.get_dataset_shard(name)
    table = pa.concat_tables(shard.iter_batches(batch_format="pyarrow", batch_size=None)).sort_by("order")
    counts: Counter[str] = Counter()
    for text in table["counts"].to_pylist():
        counts.update(json.loads(text))
    table = table.filter(table["is_example"])
    arrays: dict[str, Any] = {}
    for name in _ARRAYS:
        column = table[name].combine_chunks()
        arrays[name] = np.split(column.flatten().to_numpy(), np.cumsum(column.value_lengths().to_numpy())[:-1])
    examples = [
        Example(**{name: arrays[name][row] for name in _ARRAYS}, is_right=right, own_targets=own)
        for row, (right, own) in enumerate(
            zip(table["is_right"].to_pylist(), table["own_targets"].to_pylist(), strict=True)
        )
    ]
    is_validation, problems = table["is_validation"].to_pylist(), table["problem"].to_pylist()
    of_train = [problem for problem, is_for in zip(problems, is_validation, strict=True) if not is_for]
    train = [example for example, is_for in zip(examples, is_validation, strict=True) if not is_for]
    data = Data(
        group_by_problem(train, of_train, solutions_together),
        [example for example, is_for in zip(examples, is_validation, strict=True) if is_for],
        [problem for problem, is_for in zip(problems, is_validation, strict=True) if is_for],
        counts,
    )
    if not data.train:
        raise NoExamplesError(counts)
    return data
