"""Folders that are not whole, or that are no model of a style: refused before the weights are read, in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from components.text.rendering import CONVENTION
from components.verifiers.style import BUILTIN
from components.verifiers.verifier import Verifier
from tests.verifiers.style_models import change_config, refusal, tiny, write_model
from tests.verifiers.vocabularies import llama_tokenizer, qwen_tokenizer

Copy = Callable[[str], Path]
ROW = {"problem": "1 + 1?", "steps": ["2", "so 2"], "finish_reason": "stop"}


def keep_weights(folder: Path, wanted: Callable[[str], bool]) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file({name: value for name, value in weights.items() if wanted(name)}, folder / "model.safetensors")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """A PRM as trained here."""
    tokenizer = qwen_tokenizer(small=True)
    model = tiny(transformers.Qwen2ForTokenClassification, transformers.Qwen2Config, tokenizer, num_labels=3)
    model.config.stepverify = {**CONVENTION, "kind": "prm"}
    write_model(tmp_path / "ours", model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    return tmp_path / "ours"


def test_a_model_trained_here_that_lacks_weights_or_tokens_is_refused(ours: Path) -> None:
    """Transformers makes up what a folder lacks: random scores, or a tokenizer without tokens."""
    assert refusal("stepverify", ours) == ""
    whole = (ours / "model.safetensors").read_bytes()
    for wanted, message in [
        (lambda name: not name.startswith("score"), "lacks weights of a prm trained here: score.weight"),
        (lambda name: ".layers.1." not in name, "lacks weights: layer 1 of the 2 that its config.json says"),
    ]:
        keep_weights(ours, wanted)
        assert message in refusal("stepverify", ours)
        (ours / "model.safetensors").write_bytes(whole)
    keep_weights(ours, lambda name: "layers.1.mlp.up_proj" not in name)
    with pytest.raises(ValueError, match=r"lacks weights of Qwen2ForTokenClassification, .*layers.1.mlp.up_proj"):
        Verifier(ours)
    (ours / "model.safetensors").write_bytes(whole)
    (ours / "tokenizer.json").unlink()
    assert "has no tokenizer: none of tokenizer.json" in refusal("stepverify", ours)


def test_layers_that_are_missing_are_refused(copy: Copy) -> None:
    folder = copy("trl")
    keep_weights(folder, lambda name: ".layers.1." not in name)
    assert "lacks weights: layer 1 of the 2" in refusal("trl", folder)
    keep_weights(folder, lambda name: name.startswith("score"))
    assert "lacks weights: layer 0 of the 2" in refusal("trl", folder)


def test_an_output_embedding_that_is_missing_is_refused_also_where_the_config_does_not_say_so(copy: Copy) -> None:
    folder = copy("rlhflow")
    keep_weights(folder, lambda name: name != "lm_head.weight")
    config = json.loads((folder / "config.json").read_text())
    config.pop("tie_word_embeddings")
    (folder / "config.json").write_text(json.dumps(config))
    assert "lacks weights of a language model: lm_head.weight" in refusal("rlhflow", folder)
    assert "lacks weights of a language model" in refusal("implicit_prm", copy("math_psa"), reference=folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "has a quantization_config"),
        ({"logits_scaling": 8.0}, "logits_scaling is 8.0, which changes logits after the head"),
        ({"model_type": "internlm2"}, "config.json cannot be read by Transformers: The checkpoint"),
        ({"num_attention_heads": "four"}, "config.json cannot be read by Transformers"),
    ],
)
def test_configs_of_models_that_are_not_computed_are_refused(changes: dict[str, Any], message: str, copy: Copy) -> None:
    folder = copy("rlhflow")
    change_config(folder, **changes)
    assert message in refusal("rlhflow", folder)


def test_reward_models_whose_code_is_their_folder_s_are_refused_by_name(copy: Copy) -> None:
    folder = copy("skywork_reward")
    change_config(folder, architectures=["InternLM2ForRewardModel"], model_type="internlm2")
    for style in BUILTIN:
        assert f"holds InternLM2ForRewardModel; the style {style} is" in refusal(style, folder)


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("regression_layer", "lacks weights of the style armorm: regression_layer.weight"),
        ("reward_transform_matrix", "lacks weights of the gate: reward_transform_matrix"),
        ("gating.logit_scale", "lacks weights of the gate: gating.logit_scale"),
        ("gating.layers.1.weight", "lacks weights of the gate: gating.layers.1.weight"),
        ("gating.layers.3", "gating.layers.2.weight has shape (24, 24); with the others (5, 24) is due"),
        ("gating.layers", "lacks weights of the gate: gating.layers.0.weight"),
        ("model.layers.0", "lacks weights: layer 0 of the 2"),
    ],
)
def test_a_gate_without_its_weights_is_refused(gone: str, message: str, copy: Copy) -> None:
    folder = copy("armorm")
    keep_weights(folder, lambda name: not name.startswith(gone))
    assert message in refusal("armorm", folder)


def test_a_gates_folder_may_name_its_objectives(copy: Copy) -> None:
    """They are not the head's one output."""
    folder = copy("armorm")
    change_config(folder, id2label={str(number): f"objective_{number}" for number in range(19)})
    assert not isinstance(Verifier(folder, "armorm").read([ROW])[0], str)


def test_a_gate_reads_no_solution_that_holds_the_padding_token(copy: Copy) -> None:
    """Its authors' code takes what comes before the first one, which in such a folder is a turn's end."""
    folder = copy("armorm")
    assert not isinstance(Verifier(folder, "armorm").read([ROW])[0], str)
    change_config(folder, pad_token_id=Verifier(folder, "armorm").tokenizer.convert_tokens_to_ids("<|eot_id|>"))
    assert "holds the model's padding token" in str(Verifier(folder, "armorm").read([ROW])[0])


def test_tokens_without_an_embedding_are_refused(tmp_path: Path) -> None:
    tokenizer = qwen_tokenizer(small=True)
    kind, config_class = transformers.Qwen2ForTokenClassification, transformers.Qwen2Config
    model = tiny(kind, config_class, range(200), num_labels=2)
    write_model(tmp_path, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    assert "has the token id" in refusal("trl", tmp_path)
    model = tiny(kind, config_class, range(tokenizer.vocab_size), num_labels=2)  # no room for added tokens
    write_model(tmp_path, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
    known, unknown = Verifier(tmp_path, "trl").read([ROW, ROW | {"problem": "1 + 1?<|im_end|>"}])
    assert not isinstance(known, str)
    assert str(unknown).startswith("unknown token: it has the id")


def test_a_tokenizer_that_knows_no_probe_text_is_refused(copy: Copy) -> None:
    folder = copy("trl")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    model = {"type": "WordLevel", "vocab": {"<unk>": 0, "1": 1}, "unk_token": "<unk>"}
    path.write_text(json.dumps(tokenizer | {"model": model, "added_tokens": []}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    change_config(folder, model_type="llama", architectures=["LlamaForTokenClassification"])
    assert "have unknown tokens" in refusal("trl", folder)


def test_weights_that_are_pickles_are_refused_with_the_way_to_convert_them(copy: Copy) -> None:
    folder = copy("skywork_o1")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle, which can run code: write it with safetensors" in refusal(
        "skywork_o1", folder
    )


def test_a_header_that_the_library_does_not_read_is_one_line(copy: Copy) -> None:
    folder = copy("trl")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F99"', 1))
    with pytest.raises(ValueError, match="holds no model that can be opened: ") as caught:
        Verifier(folder, "trl")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("style", ["trl", "acemath_rm"])
def test_outputs_that_are_no_numbers_are_no_scores(style: str, copy: Copy) -> None:
    folder = copy(style)
    weights = load_file(folder / "model.safetensors")
    save_file({name: torch.full_like(value, np.nan) for name, value in weights.items()}, folder / "model.safetensors")
    [reading] = Verifier(folder, style).read([ROW])
    assert str(reading).startswith("the model's output is NaN or infinite")


def test_a_chat_template_that_writes_the_day_gives_the_same_scores_every_day(
    copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Llama 3.2's does, where Skywork-Reward-V2 has it from."""
    folder = copy("skywork_reward")
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    dated = (
        "{%- if not date_string is defined %}{%- if strftime_now is defined %}"
        '{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}'
        "{%- endif %}{%- endif %}{{- bos_token }}{{- 'Today Date: ' + date_string + '\n' }}"
        "{%- for message in messages %}{{- message['content'] + '<|eot_id|>' }}{%- endfor %}"
    )
    tokenizer = llama_tokenizer(dated)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)
    verifier = Verifier(folder, "skywork_reward")
    [text] = verifier._render([ROW])
    assert not isinstance(text, str)
    assert "Today Date: 26 Jul 2024" in tokenizer.decode(text.ids)  # type: ignore[union-attr]
