"""Tiny models with random weights in the layout of each style's published folders, and solutions to score."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file

from components.verifiers.folder_checks import check_verifier_folder
from tests.real_rows import REAL_ROWS
from tests.verifiers.vocabularies import llama_tokenizer, mistral_tokenizer, qwen_tokenizer

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,  # wide: with the usual 0.02 all scores would be near one half, wherever they are read
}
# Styles with a model of its own each: `make` gives the others the model of one of them.
PUBLISHED = (
    "trl",
    "qwen_prm",
    "rlhflow",
    "math_psa",
    "math_shepherd",
    "reason_eval_7b",
    "reason_eval_34b",
    "skywork_o1",
    "qwen_rm",
    "skywork_reward",
    "acemath_rm",
    "armorm",
)
ODD: list[tuple[str, list[str]]] = [
    ("What is 7 + 5 - 3?", ["7 + 5 = 12", "12 - 3 = 9", "# Answer\n\n9"]),
    ("Solve $x^2 = 4$ for $x > 0$.\n", ["Step 1: Take the root:\n\n\\[x = \\sqrt{4}\\]", "So $x = \\boxed{2}$."]),
    ("How many sides has a square?", ["Four — of course."]),
    ("Is 3 odd?", ["Step by step, then.", "Step 2: It is."]),
    ("Add: 1, 2, 3, 4, 5 ", ["  1 + 2 = 3\n", "  3 + 3 = 6 ", "6 + 4 = 10", "10 + 5 = 15", "So: 15\n\n+ nothing\n"]),
]


def solutions() -> list[tuple[str, list[str]]]:
    """Over 100 solutions: odd ones, and ProcessBench's shortest, or invented ones where it is not there."""
    path = REAL_ROWS / "processbench_gsm8k.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        rows.sort(key=lambda row: len(row["problem"]) + sum(map(len, row["steps"])))
        return ODD + [(row["problem"], row["steps"]) for row in rows[:100]]
    rng = random.Random(0)
    invented = []
    for number in range(100):
        terms = [rng.randrange(90) for _ in range(rng.randint(2, 6))]
        steps = [f"Add {term}, so the sum is ${sum(terms[: i + 1])}$." for i, term in enumerate(terms)]
        invented.append((f"Problem {number}: what is the sum of {terms}?", steps))
    return ODD + invented


def write_model(
    folder: Path, config: Any, tokenizer: Any, weights: dict[str, torch.Tensor], architecture: str, **changes: Any
) -> None:
    """Write a folder as on the hub."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {**config.to_dict(), "architectures": [architecture], **changes}
    (folder / "config.json").write_text(json.dumps({name: v for name, v in fields.items() if v is not ...}))
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, folder / "model.safetensors")
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def tiny(kind: Any, config_class: Any, tokenizer: Any, seed: int = 0, **changes: Any) -> Any:
    """A random model of one of the library's architectures."""
    torch.manual_seed(seed)
    return kind(config_class(vocab_size=len(tokenizer), **SIZES | changes)).eval()


def random_linear(outputs: int, seed: int, bias: bool = True, width: int = SIZES["hidden_size"]) -> torch.nn.Linear:
    """A head whose outputs differ widely."""
    torch.manual_seed(seed)
    layer = torch.nn.Linear(width, outputs, bias=bias)
    torch.nn.init.normal_(layer.weight, std=0.4)
    if bias:
        torch.nn.init.normal_(layer.bias, std=0.4)
    return layer


def gated_head(objectives: int = 5) -> torch.nn.Module:
    """ArmoRM's regression layer, transform and gate, narrow, with the names that they have in the weights."""
    head = torch.nn.Module()
    head.regression_layer = random_linear(objectives, 1, bias=False)
    head.reward_transform_matrix = torch.nn.Parameter(torch.randn(objectives, objectives), requires_grad=False)
    head.gating = torch.nn.Module()
    widths = [SIZES["hidden_size"], 24, 24, 24, objectives]
    layers = [random_linear(wide, 2 + at, width=widths[at]) for at, wide in enumerate(widths[1:])]
    head.gating.layers = torch.nn.ModuleList(layers)
    head.gating.logit_scale = torch.nn.Parameter(torch.tensor([1.3]))
    return head


def centre(head: Any, body: Any) -> None:
    """Set the bias of a head's last layer so that its outputs are about zero on average."""
    ids = torch.randint(body.config.vocab_size, (1, 300), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last = head[-1] if isinstance(head, torch.nn.Sequential) else head
        last.bias -= head(body(ids).last_hidden_state).mean((0, 1))


def named(prefix: str, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A module's weights under a prefix."""
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def make(style: str, folder: Path) -> tuple[Any, Any]:
    """Write a tiny model of a style.

    Return what a plain reading needs: the model or (body, head), and the tokenizer.
    """
    t = transformers
    if style in ("trl", "trl_blank_line", "pure"):
        tokenizer = qwen_tokenizer()
        model = tiny(t.Qwen2ForTokenClassification, t.Qwen2Config, tokenizer, num_labels=2)
        write_model(folder, model.config, tokenizer, model.state_dict(), "Qwen2ForTokenClassification")
        return model, tokenizer
    if style in ("rlhflow", "rlhflow_mistral", "rlhflow_orm", "versaprm"):
        tokenizer = llama_tokenizer()
        model = tiny(t.LlamaForCausalLM, t.LlamaConfig, tokenizer, tie_word_embeddings=False)
        write_model(folder, model.config, tokenizer, model.state_dict(), "LlamaForCausalLM")
        return model, tokenizer
    if style == "math_shepherd":
        tokenizer = mistral_tokenizer()
        model = tiny(t.LlamaForCausalLM, t.LlamaConfig, tokenizer)
        write_model(folder, model.config, tokenizer, model.state_dict(), "LlamaForCausalLM")
        return model, t.AutoTokenizer.from_pretrained(folder)
    if style in ("math_psa", "implicit_prm", "implicit_prm_min"):
        tokenizer = qwen_tokenizer(small=style == "implicit_prm_min")
        model = tiny(t.Qwen2ForCausalLM, t.Qwen2Config, tokenizer)
        write_model(folder, model.config, tokenizer, model.state_dict(), "Qwen2ForCausalLM")
        return model, tokenizer
    if style in ("qwen_prm", "qwen_rm", "skywork_o1"):
        tokenizer = qwen_tokenizer("<|endoftext|>" if style == "skywork_o1" else None)
        body = tiny(t.Qwen2Model, t.Qwen2Config, tokenizer)
        if style == "skywork_o1":
            head: torch.nn.Module = random_linear(1, 1)
        else:
            outputs = 1 if style == "qwen_rm" else 2
            head = torch.nn.Sequential(random_linear(32, 1), torch.nn.ReLU(), random_linear(outputs, 2))
        centre(head, body)
        weights = named("v_head.summary" if style == "skywork_o1" else "score", head)
        if style == "skywork_o1":
            weights |= {"lm_head.weight": body.embed_tokens.weight}
        architecture = {"qwen_prm": "Qwen2ForProcessRewardModel", "qwen_rm": "Qwen2ForRewardModel"}
        remote = {"auto_map": {"AutoModel": "modeling_qwen2_rm.Qwen2ForRewardModel"}}
        name = architecture.get(style, "Qwen2ForPrmModel")
        write_model(folder, body.config, tokenizer, named("model", body) | weights, name, id2label=..., **remote)
        return (body, head), tokenizer
    if style in ("reason_eval_7b", "reason_eval_34b"):
        tokenizer = mistral_tokenizer()
        kinds = {
            "7": (t.MistralModel, t.MistralConfig, "ReasonEval_7B"),
            "3": (t.LlamaModel, t.LlamaConfig, "ReasonEval_34B"),
        }
        kind, config_class, name = kinds[style.removeprefix("reason_eval_")[0]]
        body, head = tiny(kind, config_class, tokenizer), random_linear(3, 1, bias=False)
        write_model(
            folder, body.config, tokenizer, named("model", body) | named("score_head", head), name, id2label=...
        )
        return (body, head), t.AutoTokenizer.from_pretrained(folder)
    if style == "armorm":
        tokenizer = llama_tokenizer()
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        body, head = tiny(t.LlamaModel, t.LlamaConfig, tokenizer), gated_head()
        fields = {"pad_token_id": tokenizer.pad_token_id, "num_objectives": 5, "gating_temperature": 2}
        weights = named("model", body) | {name: value.data for name, value in head.state_dict().items()}
        write_model(folder, body.config, tokenizer, weights, "LlamaForRewardModelWithGating", id2label=..., **fields)
        return (body, head), tokenizer
    if style == "skywork_reward":
        tokenizer = llama_tokenizer()
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})
        kind, name = t.LlamaForSequenceClassification, "LlamaForSequenceClassification"
        model = tiny(kind, t.LlamaConfig, tokenizer, num_labels=1, pad_token_id=tokenizer.pad_token_id)
    else:
        tokenizer = qwen_tokenizer()
        kind, name = t.Qwen2ForSequenceClassification, "Qwen2ForSequenceClassification"
        padding = None if style == "acemath_rm" else tokenizer.pad_token_id
        model = tiny(kind, t.Qwen2Config, tokenizer, num_labels=1, pad_token_id=padding)
    write_model(folder, model.config, tokenizer, model.state_dict(), name)
    return model, tokenizer


def refusal(style: str, folder: Path, **more: Path) -> str:
    """Why a folder is refused, in one line; "" if it is not."""
    said = ""
    try:
        check_verifier_folder(style, folder, **more)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
    return said


def change_config(folder: Path, **changes: Any) -> None:
    """Change fields of a folder's config.json."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
