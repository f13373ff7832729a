"""The training loop of all three models: the generator (next token), the ORM and the PRM (token classes).

Models train on trees of tokens with weighted targets (`examples.py`), packed into rows without padding
(`packed_attention.py`); the kinds differ in their targets and in the model's head alone. The order of examples comes
from the seed, and the loss is a mean over the targets of the whole batch, so the number of workers and the size of
micro-batches change results by rounding only.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from components.models.model_folder import AFTER_THE_HEAD
from components.training.config import TrainingConfig
from components.training.distributed import full_state, load_full_state, sum_over_workers, without_exchange
from components.training.examples import Example
from components.training.memory_budget import tokens_that_fit
from components.training.packed_attention import PackedRow, pack, rows_at, use_packed_attention
from components.training.prefix_tree import PrefixTree

AfterStep = Callable[[int, int, dict[str, float], Callable[[], dict[str, Any]]], bool]


@dataclass(frozen=True)
class Batch:
    """One packed row and its targets.

    positions_U: the tokens whose logits are computed, each once. target_index_T, classes_T, weights_T: per target the
    index into positions_U, the class, and the weight; T targets.
    """

    row: PackedRow
    positions_U: Tensor
    target_index_T: Tensor
    classes_T: Tensor
    weights_T: Tensor


class SelectiveLogits(nn.Module):
    """A model's logits at chosen tokens only: a PRM has targets at a few per cent of them, and a vocabulary is wide."""

    def __init__(self, model: Any, max_tokens: int, head: nn.Module | None = None) -> None:
        """Wrap a model. head: in place of the model's own.

        Raises ValueError for a model that this does not compute as it does.
        """
        super().__init__()
        use_packed_attention(model, max_tokens)
        config = model.config.get_text_config()
        for name in AFTER_THE_HEAD if model.get_output_embeddings() is not None else ():
            if getattr(config, name, None) not in (None, 1):
                raise ValueError(f"{config.model_type}: {name} {getattr(config, name)} changes logits after the head")
        self.model, self.head = model, head

    def forward(self, row: PackedRow, positions_U: Tensor) -> Tensor:
        """Return logits, shape (chosen tokens, classes). positions_U: places in the row, none twice."""
        hidden_1ND = self.model.base_model(
            input_ids=row.ids_1N, position_ids=row.positions_1N, packed=row, use_cache=False
        ).last_hidden_state
        own = self.model.get_output_embeddings() or getattr(self.model, "score", None)
        head: Any = self.head if self.head is not None else own
        logits_UC: Tensor = head(rows_at(hidden_1ND[0], positions_U))
        return logits_UC


def batch_of(examples: Sequence[Example], device: torch.device) -> Batch:
    """Pack examples into one row."""
    row = pack([PrefixTree(e.ids, e.positions, e.until, []) for e in examples], device)
    starts = np.cumsum([0, *(len(e.ids) for e in examples)])
    at = np.concatenate([e.at + start for e, start in zip(examples, starts, strict=False)])
    at_unique, target_index = np.unique(at.astype(np.int64), return_inverse=True)
    classes = np.concatenate([e.classes for e in examples]).astype(np.int64)
    weights = np.concatenate([e.weights for e in examples])
    return Batch(row, *(torch.from_numpy(array).to(device) for array in (at_unique, target_index, classes, weights)))


def weighted_loss(logits_UC: Tensor, batch: Batch) -> Tensor:
    """Return the sum over targets of weight · −log P(class); for soft labels that is their cross-entropy."""
    logits_TC = logits_UC if len(logits_UC) == len(batch.target_index_T) else logits_UC[batch.target_index_T]
    losses_T = nn.functional.cross_entropy(logits_TC, batch.classes_T, reduction="none")
    return (losses_T * batch.weights_T).sum()


def epoch_batches(lengths: np.ndarray, solutions: np.ndarray, config: TrainingConfig, epoch: int) -> list[np.ndarray]:
    """Return the batches of one epoch: arrays of example indices, every example once, drawn from (seed, epoch).

    lengths, solutions: tokens and solutions of each example. A batch has batch_size solutions; of an example that would
    make it larger all are in the batch that has the first.

    Each is as mixed as chance makes it. Trees of like length must not share a batch: a solution ends at its first
    wrong step, so its length tells its labels, and a PRM whose batches were cut by length hardly learned. Only within a
    batch are the trees in the order of their lengths, which fills micro-batches evenly.
    """
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(len(lengths)) if config.shuffle else np.arange(len(lengths))
    first = np.cumsum(solutions[order]) - solutions[order]
    batches = np.split(order, np.flatnonzero(np.diff(first // config.batch_size)) + 1)
    return [batch[np.argsort(lengths[batch], kind="stable")] for batch in batches]


def micro_batches(lengths: np.ndarray, indices: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Cut a batch, in its order, so that no part holds more than `token_budget` tokens (or it holds one example)."""
    parts: list[list[int]] = [[]]
    tokens = 0
    for index in indices.tolist():
        if parts[-1] and tokens + lengths[index] > token_budget:
            parts.append([])
            tokens = 0
        parts[-1].append(index)
        tokens += int(lengths[index])
    return [np.array(part, dtype=np.int64) for part in parts if part]


def row_tokens(device: torch.device) -> int:
    """Return how many tokens a row should have: what the caches of a CPU hold, or what keeps a GPU busy."""
    return 16_384 if device.type == "cuda" else 2048


@dataclass(frozen=True)
class _ExampleSet:
    """Examples, the numbers of tokens and of solutions of each, and the sum of the weights of its targets."""

    examples: Sequence[Example]
    lengths: np.ndarray
    solutions: np.ndarray
    weights: np.ndarray

    @staticmethod
    def of(examples: Sequence[Example]) -> _ExampleSet:
        lengths = np.array([len(example.ids) for example in examples])
        solutions = np.array([example.solutions for example in examples])
        weights = [example.weights.sum() for example in examples]
        return _ExampleSet(examples, lengths, solutions, np.array(weights, dtype=np.float64))


def optimise(
    model: nn.Module,
    examples: Sequence[Example],
    config: TrainingConfig,
    *,
    rank: int = 0,
    workers: int = 1,
    micro_batch_tokens: int | None = None,
    state: dict[str, Any] | None = None,
    share_without_alternatives: float = 0.0,
    after_step: AfterStep | None = None,
) -> None:
    """Train `model` (a SelectiveLogits, or a data-parallel wrapper of one) in place.

    micro_batch_tokens: of a row, of which a batch may take several; None: by the device. share_without_alternatives:
    share of the steps, the last ones, which train on the solutions' own targets alone. state: what a former run's
    `after_step` got from its last argument; training goes on from there.

    after_step(step, steps, metrics, get_state): called after each optimiser step, on every worker; True ends training.
    `get_state` is a joint act of all workers.
    """
    device = next(model.parameters()).device
    if micro_batch_tokens is None:
        micro_batch_tokens = row_tokens(device)
        if device.type == "cuda":
            micro_batch_tokens = min(micro_batch_tokens, tokens_that_fit(model, device))
    all_examples = without_alternatives = _ExampleSet.of(examples)
    if share_without_alternatives:
        without_alternatives = _ExampleSet.of([example.without_alternatives() for example in examples])
    sizes = all_examples.lengths, all_examples.solutions
    schedule = [batch for epoch in range(config.epochs) for batch in epoch_batches(*sizes, config, epoch)]
    first_without = round(len(schedule) * (1 - share_without_alternatives))
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98), fused=True
    )
    rate = _rate(config, len(schedule))
    first = 0
    if state is not None:
        load_full_state(model, optimizer, state)
        first = state["step"]
        state = None  # three times the model's size
    model.train()
    for step in range(first, len(schedule)):
        began = time.perf_counter()
        current, batch = without_alternatives if step >= first_without else all_examples, schedule[step]
        lengths, weight = current.lengths, max(1e-9, float(current.weights[batch].sum()))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step)
        # Every worker passes as often as the busiest: a gradient exchange, or a shard of weights, takes all of them.
        parts = [micro_batches(lengths, batch[worker::workers], micro_batch_tokens) for worker in range(workers)]
        most = max(len(own) for own in parts)
        sums = torch.zeros(3, dtype=torch.float64)
        for number in range(most):
            has_part = number < len(parts[rank])
            part = parts[rank][number] if has_part else batch[:1]
            packed = batch_of([current.examples[i] for i in part], device)
            with (
                contextlib.nullcontext() if number == most - 1 else without_exchange(model),
                torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"),
            ):
                logits_UC = model(packed.row, packed.positions_U).float()
                loss = weighted_loss(logits_UC, packed) * has_part
                # Data parallelism averages gradients over workers; the mean wanted is that over all targets.
                (loss * workers / weight).backward()
            if has_part:
                hits_T = logits_UC.detach().argmax(-1)[packed.target_index_T] == packed.classes_T
                hits = float((hits_T * packed.weights_T).sum())
                sums += torch.tensor([float(loss.detach()), hits, float(lengths[part].sum())])
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if after_step is not None:
            loss_sum, correct, tokens = sum_over_workers(sums).tolist()
            metrics = {
                "loss": loss_sum / weight,
                "accuracy": correct / weight,
                "tokens_per_second": tokens / (time.perf_counter() - began),
                "tokens": tokens,
            }
            get_state = lambda: full_state(model, optimizer) | {"step": step + 1}  # noqa: B023, E731
            if after_step(step + 1, len(schedule), metrics, get_state):
                return


def _rate(config: TrainingConfig, steps: int) -> Callable[[int], float]:
    """Return the share of the peak learning rate by step: up, level, and down to zero."""
    warmup, decay = max(1, round(config.warmup_share * steps)), max(1, round(config.decay_share * steps))
    return lambda step: min((step + 1) / warmup, (steps - step) / decay, 1.0)


@torch.no_grad()
def predict(
    model: nn.Module,
    trees: Sequence[PrefixTree],
    at: Sequence[np.ndarray],
    token_budget: int | None = None,
    as_trained: bool = False,
    softmax: bool = True,
) -> list[np.ndarray]:
    """Return class probabilities: for each tree shape (places, classes), in the order of `at`, the places in each tree.

    Trees of like size are computed together. A place may be named twice. token_budget: of a row; None: by the device.
    as_trained: bfloat16 arithmetic on a GPU, whatever the weights' dtype, as in training. softmax: False for logits.
    """
    device = next(model.parameters()).device
    token_budget = token_budget or row_tokens(device)
    lengths = np.array([len(tree) for tree in trees], dtype=np.int64)
    of_tree: dict[int, np.ndarray] = {}
    for part in micro_batches(lengths, np.argsort(lengths, kind="stable"), token_budget):
        starts = np.cumsum([0, *lengths[part]])
        places = np.concatenate([at[i] + start for i, start in zip(part, starts, strict=False)])
        unique, back = np.unique(places, return_inverse=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=as_trained and device.type == "cuda"):
            row = pack([trees[i] for i in part], device, in_blocks=not as_trained)
            logits_UC = model(row, torch.from_numpy(unique.astype(np.int64)).to(device)).float()
        probabilities = (logits_UC.softmax(-1) if softmax else logits_UC).cpu().numpy()[back]
        cuts = np.cumsum([len(at[i]) for i in part])[:-1]
        of_tree |= zip(part.tolist(), np.split(probabilities, cuts), strict=True)
    return [of_tree[i] for i in range(len(trees))]


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, NumPy and PyTorch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
