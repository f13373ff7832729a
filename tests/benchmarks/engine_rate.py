"""How many tokens per second an engine of this machine samples, for a model of a given size: what `docs/cluster.md`
reckons with. The engine is the study's own (`components.sampling.vllm_engine.VllmEngine`).

    python tests/benchmarks/engine_rate.py                      # the shape of Qwen2.5-7B
    python tests/benchmarks/engine_rate.py --hidden-size 1536 --intermediate-size 8960 --heads 12 --kv-heads 2

The weights are random, so nearly every sample is as long as it may be; the speed is that of trained ones.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

from components.sampling.engines import Request, SamplingConfig
from components.sampling.vllm_engine import VllmEngine
from components.worlds.tokenizer import END_OF_TEXT

LENGTH = 2048


def random_model(options: argparse.Namespace, folder: Path) -> float:
    """Writes it; billions of parameters."""
    from tokenizers import Tokenizer, models

    config = Qwen2Config(
        vocab_size=options.vocabulary,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        num_key_value_heads=options.kv_heads,
        intermediate_size=options.intermediate_size,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({END_OF_TEXT: 0, "1": 1}, unk_token="1"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT).save_pretrained(folder)
    count = sum(one.numel() for one in model.parameters()) / 1e9
    del model
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden-size", type=int, default=3584)
    parser.add_argument("--layers", type=int, default=28)
    parser.add_argument("--heads", type=int, default=28)
    parser.add_argument("--kv-heads", type=int, default=4)
    parser.add_argument("--intermediate-size", type=int, default=18_944)
    parser.add_argument("--vocabulary", type=int, default=152_064)
    parser.add_argument("--problems", type=int, default=32)
    parser.add_argument("--samples-per-problem", type=int, default=16)
    parser.add_argument("--prompt-tokens", type=int, default=150)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        print(f"{random_model(options, Path(folder)):.2f}B parameters, written in {time.perf_counter() - began:.0f} s")
        config = SamplingConfig({}, 1.0, options.max_tokens, LENGTH, "bfloat16", "vllm")
        began = time.perf_counter()
        engine = VllmEngine(Path(folder), config)
        print(f"engine up in {time.perf_counter() - began:.0f} s", flush=True)
        rates = []
        for number in range(options.rounds):
            prompts = rng.integers(1, options.vocabulary, (options.problems, options.prompt_tokens)).tolist()
            requests = [
                Request(prompt, seed)
                for prompt in prompts
                for seed in rng.integers(0, 2**31, options.samples_per_problem).tolist()
            ]
            began = time.perf_counter()
            samples = engine.generate(requests)
            seconds = time.perf_counter() - began
            tokens = sum(len(sample.ids) for sample in samples)
            assert not any(sample.error for sample in samples)
            rates.append(tokens / seconds)
            print(f"round {number}: {len(samples)} samples, {tokens:,} tokens, {rates[-1]:,.0f} tokens/s", flush=True)
    print(f"median {statistics.median(rates):,.0f} tokens/s")


if __name__ == "__main__":
    main()
