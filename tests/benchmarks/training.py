"""How fast a PRM trains, against TRL's trainer: the same model, real solutions of PRM800K, and threads.

    python tests/benchmarks/training.py [--data FOLDER] [--rows 160] [--batch-size 8] [--threads 2] [--pairs 5]
    python tests/benchmarks/training.py --size 1.5b --rows 640 --batch-size 32      # on a GPU

FOLDER: holds math_train12k.jsonl.gz (`problem`, `solution`) and prm800k_train2pct_decoded.jsonl.gz (`problem`, `steps`
of `text` and `rating`). A Llama of four layers, or of the shape of Qwen2.5-1.5B, from a fixed seed; in float32 on a
CPU, in bfloat16 over float32 weights where there is a GPU, on both sides; binary labels, since TRL knows no neutral
steps. One epoch; tokens are those of problems and solutions, without padding. Only the training is timed. TRL runs in
its own order, random, and once more in batches of like lengths (`training_by_length`), which is not its default. It is
spared gradient checkpointing, logs, reports and saving. Its 1.13 is the last with this trainer
(https://github.com/huggingface/trl/pull/7133).
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from components.text.rendering import PROMPT_SEPARATOR, STEP_SEPARATOR, Rendered, render
from tests.real_rows import REAL_ROWS

MAX_TOKENS = 2048


@dataclass(frozen=True)
class Row:
    """A solution through its first negative step, and whether each step is right (neutral ones are)."""

    problem: str
    steps: list[str]
    labels: list[bool]


@dataclass(frozen=True)
class Measured:
    """One training. tokens: trained on; padded: computed, padding included."""

    seconds: float
    tokens: int
    padded: int


def records(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt") as lines:
        yield from map(json.loads, lines)


def prm800k(data: Path) -> list[Row]:
    rows = []
    for record in records(data / "prm800k_train2pct_decoded.jsonl.gz"):
        ratings = [step["rating"] for step in record["steps"]]
        count = ratings.index(-1) + 1 if -1 in ratings else len(ratings)
        texts = [step["text"] for step in record["steps"]]
        rows.append(Row(record["problem"], texts[:count], [rating >= 0 for rating in ratings[:count]]))
    return rows


def train_tokenizer(data: Path, size: int = 8000) -> Any:
    """A byte-level BPE of MATH's problems and solutions."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from components.worlds.tokenizer import END_OF_TEXT, PADDING

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PADDING, END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = (f"{row['problem']}\n\n{row['solution']}" for row in records(data / "math_train12k.jsonl.gz"))
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT, pad_token=PADDING)


def rendered(tokenizer: Any, rows: list[Row]) -> list[Rendered]:
    """As our trainer has them; TRL makes the same ids and closes steps at the same positions."""
    return render(tokenizer, [row.problem for row in rows], [row.steps for row in rows], [False] * len(rows))


SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 768},
    "1.5b": {
        "hidden_size": 1536, "num_hidden_layers": 28, "num_attention_heads": 12, "num_key_value_heads": 2,
        "intermediate_size": 8960,
    },
}  # fmt: skip


def new_model(tokenizer: Any, size: str, seed: int = 0) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForTokenClassification

    torch.manual_seed(seed)
    return LlamaForTokenClassification(
        LlamaConfig(
            vocab_size=len(tokenizer),
            **SIZES[size],
            max_position_embeddings=MAX_TOKENS,
            num_labels=2,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def train_with_trl(
    model: Any, rows: list[Row], tokenizer: Any, *, batch_size: int, learning_rate: float, order: str, seed: int
) -> Measured:
    """One epoch of TRL's PRMTrainer, which has tokenised the rows before the clock starts."""
    import torch
    from datasets import Dataset, disable_progress_bars
    from transformers import DataCollatorForTokenClassification, PrinterCallback
    from trl.experimental.prm import PRMConfig, PRMTrainer

    disable_progress_bars()
    collate = DataCollatorForTokenClassification(tokenizer)  # TRL's default
    padded = 0

    def counting(examples: list[dict[str, Any]]) -> Any:
        nonlocal padded
        batch = collate(examples)
        padded += batch["input_ids"].numel()
        return batch

    columns = {
        "prompt": [row.problem + PROMPT_SEPARATOR for row in rows],
        "completions": [row.steps for row in rows],
        "labels": [row.labels for row in rows],
    }
    with tempfile.TemporaryDirectory() as folder:
        config = PRMConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            train_sampling_strategy={"by_length": "group_by_length", "random": "random"}[order],
            step_separator=STEP_SEPARATOR,
            max_length=MAX_TOKENS,
            max_completion_length=None,
            gradient_checkpointing=False,
            bf16=torch.cuda.is_available(),
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
        )
        trainer = PRMTrainer(
            model, config, data_collator=counting, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        examples = trainer.train_dataset.to_list()
        for example, one in zip(examples, rendered(tokenizer, rows), strict=True):
            asked = [at for at, label in enumerate(example["labels"]) if label >= 0]
            assert (example["input_ids"], asked) == (one.ids, one.step_ends), (
                "the two sides would train on other tokens"
            )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
    return Measured(seconds, sum(len(example["input_ids"]) for example in examples), padded)


def train_with_ours(
    model: Any, rows: list[Row], tokenizer: Any, *, batch_size: int, learning_rate: float, seed: int
) -> Measured:
    """One epoch of our loop, on the same ids and targets."""
    import torch

    from components.training.config import TrainingConfig
    from components.training.examples import Example
    from components.training.loop import SelectiveLogits, optimise
    from components.training.prefix_tree import prefix_tree

    examples = []
    for row, one in zip(rows, rendered(tokenizer, rows), strict=True):
        tree, labels = prefix_tree([one.ids]), np.array(row.labels, dtype=np.int32)
        at, weights = np.array(one.step_ends, dtype=np.int32), np.ones(len(labels), dtype=np.float32)
        examples.append(Example(tree.ids, tree.positions, tree.until, at, labels, weights, at, None, len(at)))
    config = TrainingConfig(epochs=1, batch_size=batch_size, learning_rate=learning_rate, seed=seed)
    logits = SelectiveLogits(model.to("cuda" if torch.cuda.is_available() else "cpu"), MAX_TOKENS)
    began = time.perf_counter()
    optimise(logits, examples, config)
    tokens = sum(len(example.ids) for example in examples)
    return Measured(time.perf_counter() - began, tokens, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=REAL_ROWS)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--rows", type=int, default=160)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Before Hugging Face is imported: TRL tells its makers of every training, and everybody that PRMs are experimental.
    os.environ["HF_HUB_OFFLINE"] = os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    import torch

    torch.set_num_threads(options.threads)
    tokenizer = train_tokenizer(options.data)
    rows = prm800k(options.data)[: options.rows]
    lengths = np.array([len(one.ids) for one in rendered(tokenizer, rows)])
    p50, p95 = np.quantile(lengths, [0.5, 0.95])
    print(f"{len(rows):,} rows: {lengths.mean():.0f} tokens, p50 {p50:.0f}, p95 {p95:.0f}, most {lengths.max()}")
    how: dict[str, Any] = {
        "batch_size": options.batch_size,
        "learning_rate": options.learning_rate,
        "seed": options.seed,
    }
    sides: dict[str, Callable[[Any], Measured]] = {
        "ours": lambda model: train_with_ours(model, rows, tokenizer, **how),
        "trl": lambda model: train_with_trl(model, rows, tokenizer, order="random", **how),
        "trl by length": lambda model: train_with_trl(model, rows, tokenizer, order="by_length", **how),
    }
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for pair in range(options.pairs):
        for name in sorted(sides, reverse=bool(pair % 2)):
            done = sides[name](new_model(tokenizer, options.size, options.seed))
            rates[name].append(done.tokens / done.seconds)
            padding = 1 - done.tokens / done.padded
            memory = ""
            if torch.cuda.is_available():
                memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most"
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            note = f"({done.seconds:.1f} s, padding {padding:.0%}{memory})"
            print(f"pair {pair}: {name} {rates[name][-1]:,.0f} tokens/s {note}", flush=True)
    for name, other in {"training_by_length": "trl by length", "training": "trl"}.items():
        ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates[other], strict=True)]
        print(f"ratio {name} {statistics.median(ratios):.2f} {min(ratios):.2f} {max(ratios):.2f}")


if __name__ == "__main__":
    main()
