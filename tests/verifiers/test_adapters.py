"""LoRA adapters: merged into their base model, or refused before weights are read."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from components.dataflow.errors import StoreError
from components.dataflow.model_cache import local_folder
from components.dataflow.storage import Files
from components.verifiers.verifier import Reading, Verifier
from flows.command_line.verifier_specs import verifier_specs
from tests.verifiers.style_models import (
    SIZES,
    make,
    random_linear,
    refusal,
    solutions,
    tiny,
    write_model,
)
from tests.verifiers.vocabularies import qwen_tokenizer


def write_adapter(
    folder: Path, base: Any, names: tuple[str, ...] = ("q_proj", "v_proj"), **changes: Any
) -> dict[str, torch.Tensor]:
    """A LoRA adapter of rank 4 on two projections, as peft writes it; return what it adds to the base's weights."""
    folder.mkdir(exist_ok=True)
    rank, alpha = 4, 32
    weights, added = {}, {}
    for seed, name in enumerate(n for n, _ in base.named_modules() if n.endswith(names)):
        rows, columns = base.get_submodule(name).weight.shape
        a, b = random_linear(rank, seed, False, columns).weight, random_linear(rows, 50 + seed, False, rank).weight
        weights[f"base_model.model.{name}.lora_A.weight"] = a.detach()
        weights[f"base_model.model.{name}.lora_B.weight"] = b.detach()
        added[f"{name}.weight"] = alpha / rank * (b @ a).detach()
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.1,
        "bias": "none",
        "use_dora": False,
    }
    config |= {"target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", "fan_in_fan_out": False}
    (folder / "adapter_config.json").write_text(json.dumps(config | changes))
    return added


def test_an_adapter_is_merged_into_its_base_model(tmp_path: Path) -> None:
    model, tokenizer = make("math_psa", tmp_path / "base")
    added = write_adapter(tmp_path / "adapter", model)
    assert len(added) == 4
    merged = {name: value + added.get(name, 0) for name, value in model.state_dict().items()}
    write_model(tmp_path / "merged", model.config, tokenizer, merged, "Qwen2ForCausalLM")
    rows = [{"problem": p, "steps": s, "finish_reason": "stop"} for p, s in solutions()[:20]]
    found = Verifier(tmp_path / "adapter", "math_psa", base=tmp_path / "base").step_probabilities(rows)
    expected = Verifier(tmp_path / "merged", "math_psa").step_probabilities(rows)
    bare = Verifier(tmp_path / "base", "math_psa").step_probabilities(rows)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), atol=1e-5)
    assert max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(found, bare, strict=True)) > 0.1


@pytest.mark.parametrize(
    "changes",
    [
        {"use_dora": True},
        {"use_rslora": True},
        {"fan_in_fan_out": True},
        {"bias": "all"},
        {"modules_to_save": ["score"]},
        {"rank_pattern": {"q_proj": 8}},
        {"peft_type": "IA3"},
        {"peft_type": None},
        {"trainable_token_indices": [3]},
        {"init_lora_weights": "pissa"},
    ],
)
def test_an_adapter_that_is_no_plain_lora_is_refused(
    changes: dict[str, Any], folders: dict[str, Path], tmp_path: Path
) -> None:
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=9, **SIZES))
    write_adapter(tmp_path, model, **changes)
    [field] = changes
    said = refusal("math_psa", tmp_path, base=folders["math_psa"])
    assert f"{field} is" in said
    assert "only plain LoRA is merged" in said


def test_adapters_of_other_models_and_cut_ones_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(vocab_size=9, **SIZES | {"num_hidden_layers": 3}))
    write_adapter(tmp_path, model)
    assert "give the folder of its base model" in refusal("math_psa", tmp_path)
    assert "is no adapter" in refusal("math_psa", folders["math_psa"], base=folders["math_psa"])
    assert "which its base model" in refusal("math_psa", tmp_path, base=folders["math_psa"])
    write_adapter(tmp_path, model, r=8)
    assert "of rank 8" in refusal("math_psa", tmp_path, base=folders["math_psa"])
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert "has 0 bytes" in refusal("math_psa", tmp_path, base=folders["math_psa"])


def test_an_adapter_is_read_as_a_verifier_of_a_command_line(tmp_path: Path) -> None:
    """Its folder has a digest, comes to an actor as a whole, and costs what its base model costs."""
    model, _ = make("math_psa", tmp_path / "base")
    write_adapter(tmp_path / "adapter", model)
    options = argparse.Namespace(verifier=[f"psa={tmp_path / 'adapter'},style=math_psa,base={tmp_path / 'base'}"])
    [spec] = verifier_specs(options, ())
    assert spec.stage is not None
    files = Files(str(tmp_path / "store"))
    folders = {name: local_folder(files, each) for name, each in spec.stage.models.items()}
    assert folders == {"verifier": tmp_path / "adapter", "base": tmp_path / "base"}
    rows = [{"problem": problem, "steps": steps, "finish_reason": "stop"} for problem, steps in solutions()[:3]]
    config: Any = spec.stage.config
    found = Verifier(folders["verifier"], config.style, base=folders["base"]).read(rows)
    assert all(isinstance(one, Reading) for one in found)
    weights = tmp_path / "adapter/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes() + b"!")
    with pytest.raises(StoreError, match="damaged or changed"):
        local_folder(files, spec.stage.models["verifier"])


def test_an_adapter_of_a_shared_embedding_is_refused(tmp_path: Path) -> None:
    """Merged, it would change the input embedding too."""
    model = tiny(transformers.Qwen2ForCausalLM, transformers.Qwen2Config, qwen_tokenizer(small=True))
    tied = tmp_path / "base"
    write_model(tied, model.config, qwen_tokenizer(small=True), model.state_dict(), "Qwen2ForCausalLM")
    write_adapter(tmp_path / "adapter", model, names=("lm_head",))
    Verifier(tmp_path / "adapter", "math_psa", base=tied)
    weights = {**model.state_dict(), "lm_head.weight": model.get_input_embeddings().weight}
    write_model(tied, model.config, None, weights, "Qwen2ForCausalLM", tie_word_embeddings=True)
    with pytest.raises(ValueError, match="changes lm_head, whose weights its base model shares"):
        Verifier(tmp_path / "adapter", "math_psa", base=tied)
