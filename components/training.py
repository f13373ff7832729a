"""Training of all three models by one loop: the generator (next token), the ORM and the PRM (token classes).

An example is `ids` and `targets`: what the model should say at each position, IGNORE where nothing is asked. The three
kinds differ only in their targets and in the model's head; see `components/examples.py`.
The order of examples comes from the seed alone, and the loss is a mean over the targets of the whole batch, so the
number of workers and the size of micro-batches change results by rounding only.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.examples import IGNORE
from components.models import TrainingConfig

_BATCHES_PER_WINDOW = 32  # batches are cut from windows sorted by length: little padding, still well mixed


@dataclass(frozen=True)
class Examples:
    """Examples end to end: `ids` and `targets` of shape (tokens,), example i is [offsets[i], offsets[i + 1])."""

    ids: np.ndarray
    targets: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)

    @staticmethod
    def join(ids: list[np.ndarray], targets: list[np.ndarray]) -> Examples:
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
        return Examples(np.concatenate(ids).astype(np.int64), np.concatenate(targets).astype(np.int64), offsets)


class LogitsAt(nn.Module):
    """The model's logits at chosen positions only: a PRM asks at a few per cent of them, and a vocabulary is wide."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids_BT: Tensor, positions_P: Tensor) -> Tensor:
        # Right padding under causal attention is never looked at, so no mask is needed.
        hidden_BTD = self.model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state
        head = self.model.get_output_embeddings() or getattr(self.model, "score", None) or self.model.classifier
        logits_PC: Tensor = head(hidden_BTD.flatten(0, 1)[positions_P])
        return logits_PC


def epoch_batches(lengths: np.ndarray, config: TrainingConfig, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch: arrays of example indices, every example once, drawn from (seed, epoch)."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(len(lengths)) if config.shuffle else np.arange(len(lengths))
    batches: list[np.ndarray] = []
    window = config.batch_size * _BATCHES_PER_WINDOW
    for start in range(0, len(order), window):
        chosen = order[start : start + window]
        chosen = chosen[np.argsort(lengths[chosen], kind="stable")]
        cut = [chosen[i : i + config.batch_size] for i in range(0, len(chosen), config.batch_size)]
        batches += [cut[i] for i in rng.permutation(len(cut))]
    return batches


def padded(examples: Examples, indices: np.ndarray) -> tuple[Tensor, Tensor]:
    """ids_BT padded with zeros, targets_BT padded with IGNORE."""
    width = int(examples.lengths[indices].max())
    ids = np.zeros((len(indices), width), dtype=np.int64)
    targets = np.full((len(indices), width), IGNORE, dtype=np.int64)
    for row, index in enumerate(indices):
        start, end = examples.offsets[index], examples.offsets[index + 1]
        ids[row, : end - start] = examples.ids[start:end]
        targets[row, : end - start] = examples.targets[start:end]
    return torch.from_numpy(ids), torch.from_numpy(targets)


def micro_batches(lengths: np.ndarray, indices: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Cut a batch so that no part, padded, holds more than `token_budget` tokens (or it holds a single example)."""
    parts: list[list[int]] = [[]]
    widest = 0
    for index in sorted(indices, key=lambda i: int(lengths[i])):
        widest = max(widest, int(lengths[index]))
        if parts[-1] and widest * (len(parts[-1]) + 1) > token_budget:
            parts.append([])
            widest = int(lengths[index])
        parts[-1].append(index)
    return [np.array(part, dtype=np.int64) for part in parts]


def optimise(
    model: nn.Module,
    examples: Examples,
    config: TrainingConfig,
    *,
    rank: int = 0,
    workers: int = 1,
    micro_batch_tokens: int = 16_384,
    state: dict[str, Any] | None = None,
    after_step: Callable[[int, int, dict[str, float], Callable[[], dict[str, Any]]], None] | None = None,
) -> None:
    """Train `model` (a LogitsAt, or a data-parallel wrapper of one) in place.

    state: what a former run's `after_step` got from its last argument; training goes on from there.
    after_step(step, steps, metrics, get_state): called after each optimiser step, on every worker.
    """
    device = next(model.parameters()).device
    schedule = [batch for epoch in range(config.epochs) for batch in epoch_batches(examples.lengths, config, epoch)]
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    warmup = max(1, round(config.warmup_share * len(schedule)))
    decay = max(1, round(config.decay_share * len(schedule)))

    def rate(step: int) -> float:
        return min((step + 1) / warmup, (len(schedule) - step) / decay, 1.0)

    first = 0
    inner: Any = model.module if hasattr(model, "module") else model
    if state is not None:
        inner.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["step"]
    model.train()
    for step in range(first, len(schedule)):
        began = time.perf_counter()
        batch = schedule[step]
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step)
        num_targets = sum(
            int((examples.targets[examples.offsets[i] : examples.offsets[i + 1]] != IGNORE).sum()) for i in batch
        )
        loss_sum, correct, asked, tokens = 0.0, 0, 0, 0
        # A worker left without examples by a small last batch still takes part in the gradient exchange.
        own = batch[rank::workers] if rank < len(batch) else batch[:1]
        parts = micro_batches(examples.lengths, own, micro_batch_tokens)
        for number, part in enumerate(parts):
            ids_BT, targets_BT = (tensor.to(device) for tensor in padded(examples, part))
            positions_P = (targets_BT.flatten() != IGNORE).nonzero().squeeze(1)
            targets_P = targets_BT.flatten()[positions_P]
            last = number == len(parts) - 1
            with (
                contextlib.nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync(),  # type: ignore[operator]
                torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
            ):
                logits_PC = model(ids_BT, positions_P).float()
                loss = nn.functional.cross_entropy(logits_PC, targets_P, reduction="sum")
                if rank >= len(batch):
                    loss = loss * 0.0
                # Data parallelism averages gradients over workers; the mean wanted is that over all targets.
                (loss * workers / max(1, num_targets)).backward()
            loss_sum += float(loss.detach())
            correct += int((logits_PC.argmax(-1) == targets_P).sum())
            asked += len(targets_P)
            tokens += int(ids_BT.numel())
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if after_step is not None:
            asked = max(1, asked)
            metrics = {
                "loss": loss_sum / asked,
                "accuracy": correct / asked,
                "tokens_per_second": workers * tokens / (time.perf_counter() - began),
            }
            after_step(
                step + 1,
                len(schedule),
                metrics,
                lambda: {"model": inner.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1},  # noqa: B023
            )


def seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
