"""A training run by Ray Train: shards to examples, data-parallel workers, checkpoints, a Hugging Face folder.

Every worker holds all examples and takes its share of each batch, so the order is that of the seed, whatever the
number of workers. The first worker keeps the run's state in `scratch`, which outlives a kill of anything, and a run
that is started again goes on from there.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from components.datasets import Shard
from components.models import TrainingConfig
from components.side_by_side import PROGRESS, TrainingRun
from components.stage import Model, Pool
from components.store import Store
from components.text_format import Rendered, render
from components.tokenizer import build_tokenizer
from components.training import Examples, LogitsAt, optimise, seed_everything
from components.worked_arithmetic import VOCABULARY

_SECONDS_BETWEEN_CHECKPOINTS = 30
_TOKENS = pa.list_(pa.int32())
_EXAMPLE = pa.schema([("order", pa.int64()), ("ids", _TOKENS), ("targets", _TOKENS), ("left_out", pa.string())])


@dataclass(frozen=True)
class Job:
    """What the workers of one training run do.

    start: the model to start from; None: from nothing, with the embedded world's tokenizer.
    make_model(folder of `start`, tokenizer): called on every worker with the seed set.
    make_targets(rendered, row): the targets of one example, shape (tokens,), or None to leave the row out.
    """

    training: TrainingConfig
    store: Store
    start: Model | None
    make_model: Callable[[Path | None, Any], Any]
    make_targets: Callable[[Rendered, Mapping[str, Any]], np.ndarray | None]


def fit(run: TrainingRun, job: Job, pool: Pool) -> None:
    """Train and publish the model. Raises ValueError when no example is left."""
    import ray
    from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    groups = list(zip(*(dataset.shards for dataset in run.inputs.values()), strict=True))
    shards = [{"order": i, "shards": json.dumps([asdict(shard) for shard in group])} for i, group in enumerate(groups)]
    rendered = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
        functools.partial(_render_shard, job), batch_size=1, num_cpus=0.25
    )
    storage, path = run.store.files.arrow()
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job, "run": dataclasses.replace(run, inputs={})},
        scaling_config=ScalingConfig(
            num_workers=pool.actors,
            use_gpu=pool.gpus > 0,
            resources_per_worker={"CPU": pool.cpus} | ({"GPU": pool.gpus} if pool.gpus else {}),
        ),
        run_config=RunConfig(
            name="run",
            storage_path=f"{path}/{run.scratch}",
            storage_filesystem=storage,
            failure_config=FailureConfig(max_failures=3),
        ),
        datasets={"train": rendered.materialize()},
        dataset_config=DataConfig(datasets_to_split=[]),
    )
    result = trainer.fit()
    if result.error is not None:
        raise RuntimeError(f"training of {run.stage.name} failed: {result.error}")


def _render_shard(job: Job, batch: dict[str, Any]) -> pa.Table:
    """Examples of one shard: order, ids and targets; `left_out` says why a row gave none."""
    [order], [text] = batch["order"], batch["shards"]
    shards = [Shard(**shard) for shard in json.loads(text)]
    rows = [dict(row) for row in job.store.read_shard(shards[0]).to_pylist()]
    for shard in shards[1:]:
        for row, more in zip(rows, job.store.read_shard(shard).to_pylist(), strict=True):
            keys = ("problem_id", "sample_index")
            if any(row[key] != more[key] for key in keys):
                raise ValueError(f"{shard.path} does not have the rows of {shards[0].path}")
            row |= {name: value for name, value in more.items() if name != "error" or value is not None}
    examples = []
    rendered = render(
        _start(job)[0],
        [row["problem"] for row in rows],
        [row["steps"] for row in rows],
        [row["finished"] if "finished" in row else row.get("finish_reason", "stop") == "stop" for row in rows],
    )
    for number, (row, one) in enumerate(zip(rows, rendered, strict=True)):
        left_out, targets = "", None
        if row["error"] is not None or not row["steps"]:
            left_out = "error" if row["error"] is not None else "empty"
        elif len(one.ids) > job.training.max_tokens:
            left_out = "too_long"
        else:
            targets = job.make_targets(one, row)
        examples.append(
            {
                "order": int(order) << 32 | number,
                "ids": one.ids if targets is not None else [],
                "targets": targets.tolist() if targets is not None else [],
                "left_out": left_out or ("unlabelled" if targets is None else ""),
            }
        )
    return pa.Table.from_pylist(examples, schema=_EXAMPLE)


_opened: dict[str | None, tuple[Any, Path | None]] = {}  # this process's: files are checked once


def _start(job: Job) -> tuple[Any, Path | None]:
    """The tokenizer, and the files on this machine of the model that the job starts from."""
    from transformers import AutoTokenizer

    value = job.start.digest if job.start is not None else None
    if value not in _opened:
        if job.start is None:
            _opened[value] = build_tokenizer(VOCABULARY), None
        else:
            folder = job.store.local_model(job.start)
            _opened[value] = AutoTokenizer.from_pretrained(folder), folder
    return _opened[value]


def _collect() -> tuple[Examples, dict[str, int]]:
    """All examples in order, and how many rows were used and left out, by cause."""
    import ray.train

    orders: list[int] = []
    ids: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    left_out: dict[str, int] = {}
    for table in ray.train.get_dataset_shard("train").iter_batches(batch_format="pyarrow", batch_size=None):
        for cause in table["left_out"].to_pylist():
            left_out[cause or "used"] = left_out.get(cause or "used", 0) + 1
        table = table.filter(pa.compute.equal(table["left_out"], ""))
        orders += table["order"].to_pylist()
        ids += [np.asarray(row.values) for row in table["ids"]]
        targets += [np.asarray(row.values) for row in table["targets"]]
    if not orders:
        raise ValueError(f"no example to train on; rows left out: {left_out}")
    by_order = np.argsort(np.array(orders))
    return Examples.join([ids[i] for i in by_order], [targets[i] for i in by_order]), left_out


def _worker(config: dict[str, Any]) -> None:
    """The train loop of one Ray Train worker."""
    import ray.train
    import ray.train.torch
    import torch

    job: Job = config["job"]
    run: TrainingRun = config["run"]
    began = time.monotonic()
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two threads of one worker are slower than two workers of one
    seed_everything(job.training.seed)
    examples, counts = _collect()
    tokenizer, folder = _start(job)
    model = LogitsAt(job.make_model(folder, tokenizer))
    wrapped = ray.train.torch.prepare_model(model)
    files, state_file = run.store.files, f"{run.scratch}/state.pt"
    try:
        state = torch.load(io.BytesIO(files.read(state_file)), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        state = None
    saved, noted = time.monotonic(), 0.0
    last: dict[str, float] = dict(state["metrics"]) if state else {}
    seconds_before = float(state["seconds"]) if state else 0.0

    def after_step(step: int, steps: int, metrics: dict[str, float], get_state: Callable[[], Any]) -> None:
        nonlocal saved, noted
        last.update(metrics, steps=steps)
        if rank == 0:
            if step == steps or time.monotonic() - noted > 1:
                noted = time.monotonic()
                files.put(f"{run.scratch}/{PROGRESS}", json.dumps({**metrics, "step": step, "steps": steps}).encode())
            if step == steps or time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                buffer = io.BytesIO()
                seconds = seconds_before + time.monotonic() - began
                torch.save({**get_state(), "metrics": last, "seconds": seconds}, buffer)
                files.put(state_file, buffer.getvalue())
                saved = time.monotonic()

    optimise(wrapped, examples, job.training, rank=rank, workers=workers, state=state, after_step=after_step)
    if rank == 0:
        with tempfile.TemporaryDirectory() as temporary:
            model.model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            metrics = {**last, **{f"rows_{cause}": count for cause, count in counts.items()}}
            run.publish(Path(temporary), metrics, seconds_before + time.monotonic() - began)
