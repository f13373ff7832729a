"""A training run by Ray Train: shards to examples, data-parallel workers, checkpoints, a Hugging Face folder.

Every worker holds all examples and takes its share of each batch, so the order is that of the seed, whatever the
number of workers. The first worker keeps the run's state in `scratch`, which outlives a kill of anything, and a run
that is started again goes on from there.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.models import TrainingConfig
from components.side_by_side import PROGRESS
from components.stage import Pool
from components.store import replace_file
from components.text_format import Rendered, render
from components.training import Examples, LogitsAt, optimise, seed_everything

_SECONDS_BETWEEN_CHECKPOINTS = 30
_TOKENS = pa.list_(pa.int32())
_EXAMPLE = pa.schema([("order", pa.int64()), ("ids", _TOKENS), ("targets", _TOKENS), ("left_out", pa.string())])


@dataclass(frozen=True)
class Job:
    """What one training run is made of.

    name: for error messages. tokenizer: the folder that it is loaded from, and saved beside the model.
    make_model(): the model to start from; called on every worker with the seed set.
    make_targets(rendered, row): the targets of one example, shape (tokens,), or None to leave the row out.
    """

    name: str
    tokenizer: Path
    training: TrainingConfig
    make_model: Callable[[], Any]
    make_targets: Callable[[Rendered, Mapping[str, Any]], np.ndarray | None]


def fit(job: Job, files: Mapping[str, Sequence[Path]], folder: Path, scratch: Path, pool: Pool) -> dict[str, Any]:
    """Train and leave the model in `folder`; returns metrics. Raises ValueError when no example is left."""
    import ray
    from ray.train import DataConfig, FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    shards = [
        {"order": i, "files": [str(file) for file in group]}
        for i, group in enumerate(zip(*files.values(), strict=True))
    ]
    rendered = ray.data.from_items(shards, override_num_blocks=len(shards)).map_batches(
        functools.partial(_render_shard, job), batch_size=1, num_cpus=0.25
    )
    trainer = TorchTrainer(
        _worker,
        train_loop_config={"job": job, "scratch": scratch},
        scaling_config=ScalingConfig(
            num_workers=pool.actors,
            use_gpu=pool.gpus > 0,
            resources_per_worker={"CPU": pool.cpus} | ({"GPU": pool.gpus} if pool.gpus else {}),
        ),
        run_config=RunConfig(
            name="run",
            storage_path=str(scratch),
            failure_config=FailureConfig(max_failures=3),
        ),
        datasets={"train": rendered.materialize()},
        dataset_config=DataConfig(datasets_to_split=[]),
    )
    result = trainer.fit()
    if result.error is not None or result.checkpoint is None or result.metrics is None:
        raise RuntimeError(f"training of {job.name} failed: {result.error}")
    with result.checkpoint.as_directory() as checkpoint:
        shutil.copytree(Path(checkpoint) / "model", folder, dirs_exist_ok=True)
    return dict(result.metrics)


def _render_shard(job: Job, batch: dict[str, Any]) -> pa.Table:
    """Examples of one shard: order, ids and targets; `left_out` says why a row gave none."""
    [order], [files] = batch["order"], batch["files"]
    rows = [dict(row) for row in pq.read_table(files[0]).to_pylist()]
    for file in files[1:]:
        for row, more in zip(rows, pq.read_table(file).to_pylist(), strict=True):
            keys = ("problem_id", "sample_index")
            if any(row[key] != more[key] for key in keys):
                raise ValueError(f"{file} does not have the rows of {files[0]}")
            row |= {name: value for name, value in more.items() if name != "error" or value is not None}
    examples = []
    rendered = render(
        _tokenizer(job.tokenizer),
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


@functools.lru_cache(maxsize=4)
def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


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
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    if not torch.cuda.is_available():
        torch.set_num_threads(1)  # two threads of one worker are slower than two workers of one
    seed_everything(job.training.seed)
    examples, counts = _collect()
    model = LogitsAt(job.make_model())
    wrapped = ray.train.torch.prepare_model(model)
    state_file: Path = config["scratch"] / "state.pt"
    state = torch.load(state_file, map_location="cpu", weights_only=True) if state_file.exists() else None
    saved = time.monotonic()
    last: dict[str, float] = dict(state["metrics"]) if state else {}

    def after_step(step: int, steps: int, metrics: dict[str, float], get_state: Callable[[], Any]) -> None:
        nonlocal saved
        last.update(metrics, steps=steps)
        if rank == 0:
            if step % 10 == 0 or step == steps:
                replace_file(
                    config["scratch"] / PROGRESS, json.dumps({**metrics, "step": step, "steps": steps}).encode()
                )
            if step == steps or time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                buffer = io.BytesIO()
                torch.save({**get_state(), "metrics": last}, buffer)
                replace_file(state_file, buffer.getvalue())
                saved = time.monotonic()

    optimise(wrapped, examples, job.training, rank=rank, workers=workers, state=state, after_step=after_step)
    metrics = {**last, **{f"rows_{cause}": count for cause, count in counts.items()}}
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = None
        if rank == 0:
            model.model.save_pretrained(Path(temporary) / "model")
            _tokenizer(job.tokenizer).save_pretrained(Path(temporary) / "model")
            checkpoint = ray.train.Checkpoint.from_directory(temporary)
        ray.train.report(metrics, checkpoint=checkpoint)
