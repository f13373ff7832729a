"""Published verifiers against their documented scoring, written down here anew, on tiny models with random weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn

from components.verifiers.published import STYLES, open_published, render_published

PROBLEMS: list[tuple[str, list[str]]] = [
    ("What is 7 + 5 - 3?", ["7 + 5 = 12", "12 - 3 = 9", "# Answer\n\n9"]),
    ("Solve $x^2 = 4$ for $x > 0$.\n", ["Step 1: Take the root:\n\n\\[x = \\sqrt{4}\\]", "So $x = \\boxed{2}$."]),
    ("How many sides has a square?", ["Four — of course."]),
    ("Add: 1, 2, 3, 4, 5 ", ["  1 + 2 = 3\n", "  3 + 3 = 6 ", "6 + 4 = 10", "10 + 5 = 15", "So: 15\n\n+ nothing\n"]),
]
# The card's layout, by hand.
SHEPHERD_TEXTS = [
    "What is 7 + 5 - 3? Step 1: 7 + 5 = 12 ки\nStep 2: 12 - 3 = 9 ки\nStep 3: # Answer\n\n9 ки",
    "Solve $x^2 = 4$ for $x > 0$.\n Step 1: Take the root:\n\n\\[x = \\sqrt{4}\\] ки\nStep 2: So $x = \\boxed{2}$. ки",
    "How many sides has a square? Step 1: Four — of course. ки",
    "Add: 1, 2, 3, 4, 5  Step 1: 1 + 2 = 3 ки\nStep 2: 3 + 3 = 6 ки\nStep 3: 6 + 4 = 10 ки\nStep 4: 10 + 5 = 15 ки\n"
    "Step 5: So: 15\n\n+ nothing ки",
]
QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."

# Of the templates of Qwen2.5-Math and Llama-3.1-Instruct, what these conversations pass through.
QWEN_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>' + '\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
LLAMA_TEMPLATE = (
    "{{- bos_token }}{{- '<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n<|eot_id|>' }}{%- for message in messages %}{{- '<|start_header_id|>' + "
    "message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{%- endif %}"
)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,  # wide: with the usual 0.02 all scores would be near one half, wherever they are read
}


def byte_level(digits: str) -> tokenizers.Tokenizer:
    """A byte-level BPE, its text split as Qwen2.5's (digits one by one) and Llama 3's (by three) is."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
        + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    texts = [text for problem, steps in PROBLEMS for text in (problem, *steps, "\n\n", "user", "assistant", "system")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        texts * 4, trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    )
    return tokenizer


def qwen_tokenizer(tag: str = "<extra_0>") -> Any:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=byte_level(r"\p{N}"),
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>", tag],
        chat_template=QWEN_TEMPLATE,
    )


def llama_tokenizer(template: str | None = LLAMA_TEMPLATE) -> Any:
    tokenizer = byte_level(r"\p{N}{1,3}")
    tokenizer.add_special_tokens(["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    begin = ("<|begin_of_text|>", tokenizer.token_to_id("<|begin_of_text|>"))
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[begin]),
        ]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin[0], eos_token="<|eot_id|>", chat_template=template
    )


def mistral_tokenizer() -> Any:
    """Of SentencePiece's kind: a blank before all text, blanks are ▁ within tokens, unknown characters are bytes."""
    characters = sorted(set("".join(SHEPHERD_TEXTS)) - {" ", "\n", "—"})
    merged = ["ки", "▁ки", "▁+", "▁-", "▁▁"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *characters, *merged]
    merges = [("к", "и"), ("▁", "ки"), ("▁", "+"), ("▁", "-"), ("▁", "▁")]
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


class QwenReference(nn.Module):
    """Qwen2ForProcessRewardModel as its published code describes it."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.model = transformers.Qwen2Model(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, 2)
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.score(self.model(input_ids=ids).last_hidden_state)
        return logits


def saved(folder: Path, tokenizer: Any, architecture: Any, config_class: Any, **changes: Any) -> Any:
    """A random model of one of the library's architectures, saved with its tokenizer."""
    torch.manual_seed(0)
    model = architecture(config_class(vocab_size=len(tokenizer), **SIZES | changes)).eval()
    output = model.get_output_embeddings()
    if output is not None and output.bias is not None:
        nn.init.normal_(output.bias)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def saved_qwen(folder: Path) -> QwenReference:
    """As on the hub: two shards and their index, and a config that points to code, which is not there."""
    tokenizer = qwen_tokenizer()
    config = transformers.Qwen2Config(vocab_size=len(tokenizer), **SIZES)
    torch.manual_seed(0)
    reference = QwenReference(config).eval()
    for layer in (reference.score[0], reference.score[2]):
        nn.init.normal_(layer.weight, std=0.4)
    weights = reference.state_dict()
    first = {name for name in weights if name.startswith("model.layers.0.")}
    shards = [{name: weights[name] for name in part} for part in (first, weights.keys() - first)]
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    folder.mkdir()
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {w: n for n, shard in zip(names, shards, strict=True) for w in shard}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    changes = {
        "architectures": ["Qwen2ForProcessRewardModel"],
        "auto_map": {
            "AutoConfig": "configuration_qwen2_rm.Qwen2RMConfig",
            "AutoModel": "modeling_qwen2_rm.Qwen2ForProcessRewardModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config.to_dict() | changes))
    tokenizer.save_pretrained(folder)
    return reference


def scores(style: str, folder: Path) -> list[list[float]]:
    """P(right) of each step of each problem, as scoring reads it: the head on the hidden states at step ends."""
    verifier = open_published(style, folder, "float32")
    result = []
    for problem, steps in PROBLEMS:
        rendered = render_published(style, verifier.tokenizer, problem, steps)
        with torch.inference_mode():
            ids = torch.tensor([rendered.ids])
            hidden = verifier.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
            result.append(verifier.head(hidden[rendered.step_ends]).softmax(-1)[:, 1].tolist())
    return result


def assert_same(found: list[list[float]], expected: list[list[float]]) -> None:
    assert [len(one) for one in found] == [len(steps) for _, steps in PROBLEMS]
    flat = [score for one in expected for score in one]
    assert max(flat) - min(flat) > 0.15, "scores that hardly differ would prove nothing"
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("begins", [True, False], ids=["with begin-of-text", "without"])
def test_trl(tmp_path: Path, begins: bool) -> None:
    if begins:
        tokenizer, kind = llama_tokenizer(), (transformers.LlamaForTokenClassification, transformers.LlamaConfig)
    else:
        tokenizer, kind = qwen_tokenizer(), (transformers.Qwen2ForTokenClassification, transformers.Qwen2Config)
    model = saved(tmp_path, tokenizer, *kind, num_labels=2)
    expected = []
    for problem, steps in PROBLEMS:
        # The trainer's row: labels only at the last token of each step and its separator.
        ids = [tokenizer.bos_token_id] * begins + tokenizer.encode(problem, add_special_tokens=False)
        labels = [-100] * len(ids)
        for step in steps:
            completion = tokenizer.encode(step, add_special_tokens=False) + tokenizer.encode(
                "\n", add_special_tokens=False
            )
            ids += completion
            labels += [-100] * (len(completion) - 1) + [1]
        with torch.inference_mode():
            probabilities = model(torch.tensor([ids])).logits.softmax(-1)
        expected.append(probabilities[0, torch.tensor(labels) != -100, 1].tolist())
    assert_same(scores("trl", tmp_path), expected)


def test_qwen_prm(tmp_path: Path) -> None:
    reference, tokenizer = saved_qwen(tmp_path / "qwen"), qwen_tokenizer()
    expected = []
    for problem, steps in PROBLEMS:
        messages = [
            {"role": "system", "content": QWEN_SYSTEM},
            {"role": "user", "content": problem},
            {"role": "assistant", "content": "<extra_0>".join(steps) + "<extra_0>"},
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        ids = tokenizer.encode(text, return_tensors="pt")
        with torch.inference_mode():
            probabilities = reference(ids).softmax(-1)
        expected.append(probabilities[ids == tokenizer.encode("<extra_0>")[0]][:, 1].tolist())
    assert_same(scores("qwen_prm", tmp_path / "qwen"), expected)


def shepherd_scores(model: Any, tokenizer: Any, signs: list[int], tag: int) -> list[list[float]]:
    """The card's snippet; signs: the ids of + and of −."""
    assert tokenizer.encode("+ -")[1:] == signs
    assert tokenizer.encode("ки")[-1] == tag
    expected = []
    for text in SHEPHERD_TEXTS:
        ids = torch.tensor([tokenizer.encode(text)])
        with torch.inference_mode():
            probabilities = model(ids).logits[:, :, signs].softmax(-1)[:, :, 0]
        expected.append(probabilities[ids == tag].tolist())
    return expected


@pytest.mark.parametrize(
    ("architecture", "config_class"),
    [
        (transformers.MistralForCausalLM, transformers.MistralConfig),
        (transformers.PhiForCausalLM, transformers.PhiConfig),  # its output embedding has a bias
    ],
)
def test_math_shepherd(tmp_path: Path, architecture: Any, config_class: Any) -> None:
    tokenizer = mistral_tokenizer()
    model = saved(tmp_path, tokenizer, architecture, config_class)
    signs = tokenizer.convert_tokens_to_ids(["▁+", "▁-"])
    assert_same(scores("math_shepherd", tmp_path), shepherd_scores(model, tokenizer, signs, tokenizer.vocab["▁ки"]))


def test_math_shepherd_as_converted_from_the_hub(tmp_path: Path) -> None:
    """A Llama by its config, weights in shards, SentencePiece's file alone for a tokenizer: Mistral's, in which the
    card gives the ids of the signs and of the tag. The hub has the weights as pickles, which are never read."""
    package = pytest.importorskip("mistral_common")
    tokenizer_file = Path(package.__file__).parent / "data/tokenizer.model.v1"
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(vocab_size=32000, **SIZES)).eval()
    shutil.copy(tokenizer_file, tmp_path / "tokenizer.model")
    tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "legacy": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens | {"tokenizer_class": "LlamaTokenizer"}))
    model.config.architectures = ["LlamaForCausalLM"]
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match="no weights that can be read"):
        open_published("math_shepherd", tmp_path, "float32")
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(scores("math_shepherd", tmp_path), shepherd_scores(model, tokenizer, [648, 387], 12902))


@pytest.mark.parametrize("tied", [True, False])
def test_rlhflow(tmp_path: Path, tied: bool) -> None:
    tokenizer = llama_tokenizer()
    model = saved(
        tmp_path, tokenizer, transformers.LlamaForCausalLM, transformers.LlamaConfig, tie_word_embeddings=tied
    )
    candidates = [tokenizer.encode("+")[-1], tokenizer.encode("-")[-1]]
    expected: list[list[float]] = []
    for problem, steps in PROBLEMS:
        conversation: list[dict[str, str]] = []
        expected.append([])
        for number, step in enumerate(one.strip() for one in steps):
            said = step if number else problem + " " + step
            conversation += [{"role": "user", "content": said}, {"role": "assistant", "content": "+"}]
            ids = tokenizer.apply_chat_template(conversation, return_tensors="pt", return_dict=False)
            with torch.inference_mode():
                expected[-1].append(model(ids).logits[0, -3, candidates].softmax(-1)[0].item())
    assert_same(scores("rlhflow", tmp_path), expected)


TOKENIZERS: dict[str, Callable[[], Any]] = {
    "trl": qwen_tokenizer,
    "qwen_prm": qwen_tokenizer,
    "math_shepherd": mistral_tokenizer,
    "rlhflow": llama_tokenizer,
}


@pytest.mark.parametrize("style", STYLES)
def test_prompt_length_parts_the_problem_from_the_steps(style: str) -> None:
    tokenizer = TOKENIZERS[style]()
    for problem, steps in PROBLEMS[:3]:
        rendered = render_published(style, tokenizer, problem, steps)
        prompt = tokenizer.decode(rendered.ids[: rendered.prompt_length])
        assert problem.strip() in prompt
        assert steps[0] not in prompt
        assert rendered.prompt_length <= rendered.step_ends[0]
        assert rendered.step_ends == sorted(set(rendered.step_ends))


@pytest.mark.parametrize(
    ("style", "problem", "steps", "message"),
    [
        ("trl", "1 + 1?", [], "without steps"),
        ("qwen_prm", "1 + 1?", [], "without steps"),
        ("qwen_prm", "1 + 1?", ["2", "so<extra_0> 2"], "step 2 holds the control token '<extra_0>'"),
        ("qwen_prm", "1 + 1?<|im_end|>", ["2"], "the problem holds the control token"),
        ("math_shepherd", "1 + 1?", ["2 ки", "so 2"], "2 steps, but 3 tags 'ки'"),
        ("math_shepherd", "1 + 1? ки", ["2"], "1 steps, but 2 tags"),
        ("math_shepherd", "1 + 1?", ["2</s>"], "step 1 holds the control token '</s>'"),
        ("rlhflow", "1 + 1?", ["3", "<|eot_id|>so 2"], "step 2 holds the control token '<|eot_id|>'"),
        ("no_style", "1 + 1?", ["2"], "style 'no_style': one of trl, qwen_prm, math_shepherd, rlhflow"),
    ],
)
def test_solutions_that_a_style_cannot_hold_are_refused(
    style: str, problem: str, steps: Sequence[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("|", r"\|").replace("?", r"\?")):
        render_published(style, TOKENIZERS.get(style, qwen_tokenizer)(), problem, steps)


def test_a_tag_that_is_no_control_token_is_counted() -> None:
    tokenizer = qwen_tokenizer("<extra_1>")
    tokenizer.add_tokens(["<extra_0>"])
    assert len(render_published("qwen_prm", tokenizer, "1 + 1?", ["2", "so 2"]).step_ends) == 2
    with pytest.raises(ValueError, match="2 steps, but 3 tags '<extra_0>'"):
        render_published("qwen_prm", tokenizer, "1 + 1?", ["2<extra_0>", "so 2"])


def test_folders_of_another_style_are_refused(tmp_path: Path) -> None:
    def refused(style: str, folder: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message) as caught:
            open_published(style, folder, "float32")
        assert "\n" not in str(caught.value)

    refused("trl", tmp_path, "no config.json")

    llama = (transformers.LlamaForCausalLM, transformers.LlamaConfig)
    causal = tmp_path / "causal"
    saved(causal, llama_tokenizer(), *llama)
    refused("trl", causal, "holds LlamaForCausalLM; the style trl is .ForTokenClassification")
    refused("qwen_prm", causal, "holds LlamaForCausalLM; the style qwen_prm is .Qwen2ForProcessRewardModel")
    refused("math_shepherd", causal, "no tokenizer of the style math_shepherd: 'ки' is not")
    refused("no_style", causal, "one of trl, qwen_prm")

    # Weights without a head, under a config that promises one.
    config = json.loads((causal / "config.json").read_text())
    (causal / "config.json").write_text(json.dumps(config | {"architectures": ["LlamaForTokenClassification"]}))
    refused("trl", causal, "lacks weights of the style trl, or has them in other shapes: score.bias")
    (causal / "model.safetensors").unlink()
    refused("trl", causal, "no weights that can be read")
    (causal / "tokenizer.json").unlink()
    refused("trl", causal, "no tokenizer of the style trl")

    three = tmp_path / "three"
    saved(three, qwen_tokenizer(), transformers.Qwen2ForTokenClassification, transformers.Qwen2Config, num_labels=3)
    refused("trl", three, "has 3 labels")

    silent = tmp_path / "silent"
    saved(silent, mistral_tokenizer(), *llama)
    refused("rlhflow", silent, "no chat template")

    # A template that marks the last turn only, and one that ends in two tokens after the answer.
    marking = tmp_path / "marking"
    template = LLAMA_TEMPLATE.replace("message['role'] +", "message['role'] + (' now' if loop.revindex < 3 else '') +")
    saved(marking, llama_tokenizer(template), *llama)
    refused("rlhflow", marking, "no single pass")
    template = LLAMA_TEMPLATE.replace("<|eot_id|>' }}{%- endfor", "<|eot_id|>\n' }}{%- endfor")
    llama_tokenizer(template).save_pretrained(marking)
    refused("rlhflow", marking, "does not end in . and one closing token")
    llama_tokenizer("{{ raise_exception('only in pairs') }}").save_pretrained(marking)
    refused("rlhflow", marking, "no tokenizer of the style rlhflow: only in pairs")

    qwen = tmp_path / "qwen"
    saved_qwen(qwen)
    qwen_tokenizer("<extra_1>").save_pretrained(qwen)
    refused("qwen_prm", qwen, "no token <extra_0>")
    qwen_tokenizer().save_pretrained(qwen)
    narrow = QwenReference(transformers.Qwen2Config(vocab_size=9, **SIZES)).state_dict()
    save_file(narrow, qwen / "model.safetensors", metadata={"format": "pt"})
    refused("qwen_prm", qwen, "or has them in other shapes: model.embed_tokens.weight")


def test_attention_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    saved(tmp_path, qwen_tokenizer(), transformers.BertForTokenClassification, transformers.BertConfig, num_labels=2)
    with pytest.raises(ValueError, match="attention looks ahead"):
        open_published("trl", tmp_path, "float32")
