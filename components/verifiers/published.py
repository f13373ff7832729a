"""Process reward models as others published them: how each lays out a solution, and where its scores are read.

    trl            what TRL's PRMTrainer saves (github.com/huggingface/trl, trl/experimental/prm/prm_trainer.py)
    qwen_prm       Qwen2.5-Math-PRM-7B and -72B, Qwen2.5-Math-7B-PRM800K (their model cards)
    math_shepherd  peiyi9979/math-shepherd-mistral-7b-prm (its model card; data: datasets/peiyi9979/Math-Shepherd)
    rlhflow        RLHFlow/Llama3.1-8B-PRM-Deepseek-Data, -Mistral-Data (RLHF-Reward-Modeling, math-rm/prm_evaluate.py)

All of them become two logits at one position per step, wrong and right. The numbers are those of each one's own
scoring code, in one forward pass per solution. A solution that would be read at other positions than the ends of its
steps is refused, where the originals return scores that belong to no step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from components.models.chat_template import apply_chat_template
from components.models.model_folder import open_config, open_model, open_tokenizer
from components.text.rendering import Rendered

OURS = "stepverify"  # the style of models trained here, which is none of these
STYLES = ("trl", "qwen_prm", "math_shepherd", "rlhflow")
CHAT_STYLES = ("qwen_prm", "rlhflow")  # those that render the folder's chat template

_ARCHITECTURES = {  # how the name in config.json must end
    "trl": "ForTokenClassification",
    "qwen_prm": "Qwen2ForProcessRewardModel",
    "math_shepherd": "ForCausalLM",
    "rlhflow": "ForCausalLM",
}
_TRL_SEPARATOR = "\n"  # PRMConfig.step_separator, by default; a saved model does not tell which one it was trained with
_QWEN_SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
_QWEN_TAG = "<extra_0>"
_SHEPHERD_TAG = "ки"


@dataclass(frozen=True)
class PublishedVerifier:
    """A model on the CPU, in evaluation mode.

    model: has a `base_model` that gives `last_hidden_state`; its attention is causal.
    head: a module, of the model or beside it: hidden states (positions, hidden) to logits (positions, 2): wrong, right.
    """

    tokenizer: Any
    model: Any
    head: Any


def render_published(style: str, tokenizer: Any, problem: str, steps: Sequence[str]) -> Rendered:
    """Render a problem and its steps as `style` lays them out; step_ends: where each step's score is read.

    Raises ValueError for a solution that the style cannot hold.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r}: one of {', '.join(STYLES)}")
    if not steps:
        raise ValueError("a solution without steps has no position at which a score is read")
    if style == "trl":
        return _render_trl(tokenizer, problem, steps)
    _refuse_control_tokens(tokenizer, problem, steps)
    render = {"qwen_prm": _render_qwen, "math_shepherd": _render_shepherd, "rlhflow": _render_rlhflow}[style]
    return render(tokenizer, problem, steps)


def open_published(style: str, folder: Path, dtype: str) -> PublishedVerifier:
    """Open a verifier from a Hugging Face folder; no code of the folder's is run.

    dtype: of the weights, and so of the arithmetic: float32, bfloat16, …

    Raises ValueError that names what is missing where the folder does not hold a verifier of this style.
    """
    if style not in STYLES:
        raise ValueError(f"style {style!r}: one of {', '.join(STYLES)}")
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder} has no config.json: not a model's folder (an adapter must be merged first)")
    config = open_config(folder)
    named = config.architectures or ["no architecture"]
    if not named[0].endswith(_ARCHITECTURES[style]):
        raise ValueError(f"{folder} holds {named[0]}; the style {style} is *{_ARCHITECTURES[style]}")
    if style == "trl" and config.num_labels != 2:
        raise ValueError(f"{folder} has {config.num_labels} labels; the style trl has 2: wrong, right")
    try:
        tokenizer = open_tokenizer(folder)
        _check_tokenizer(style, tokenizer)
    except Exception as error:  # a folder's chat template is a program, which raises what it likes
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder} has no tokenizer of the style {style}: {reason}") from error
    model = _load(style, folder, dtype)
    # Rows are packed and padded on the right, which only attention to what came before leaves without effect.
    if not all(getattr(module, "is_causal", True) for module in model.modules()):
        raise ValueError(f"{folder} holds {named[0]}, whose attention looks ahead: only causal models can be read")
    if style in ("math_shepherd", "rlhflow"):
        return PublishedVerifier(tokenizer, model, _two_rows(model, *_candidates(style, tokenizer)))
    return PublishedVerifier(tokenizer, model, getattr(model, "score", None) or model.classifier)


def _render_trl(tokenizer: Any, problem: str, steps: Sequence[str]) -> Rendered:
    """Render the prompt, after a begin-of-text token if there is one, and the steps, each before a separator.

    All are tokenised apart; scores are read at a separator's last token. (The demonstration in TRL's manual also has a
    separator after the prompt; training has none.)
    """
    prompt, separator, *encoded = tokenizer([problem, _TRL_SEPARATOR, *steps], add_special_tokens=False)["input_ids"]
    ids = prompt if tokenizer.bos_token_id is None else [tokenizer.bos_token_id, *prompt]
    lengths = [len(ids)]
    for step in encoded:
        ids = ids + step + separator
        lengths.append(len(ids))
    return Rendered(ids, lengths[0], [length - 1 for length in lengths[1:]])


def _render_qwen(tokenizer: Any, problem: str, steps: Sequence[str]) -> Rendered:
    """Render a conversation: system, problem, and an answer in which a tag follows each step. Scores are read at the
    tags."""
    question = [{"role": "system", "content": _QWEN_SYSTEM}, {"role": "user", "content": problem}]
    answer = {"role": "assistant", "content": "".join(step + _QWEN_TAG for step in steps)}
    conversation = apply_chat_template(tokenizer, [*question, answer], tokenize=False)
    opening = apply_chat_template(tokenizer, question, tokenize=False, add_generation_prompt=True)
    ids, prompt = tokenizer([conversation, opening])["input_ids"]
    step_ends = _tags(ids, tokenizer.encode(_QWEN_TAG)[0], _QWEN_TAG, len(steps))
    return Rendered(ids, _common(ids, prompt), step_ends)


def _render_shepherd(tokenizer: Any, problem: str, steps: Sequence[str]) -> Rendered:
    """Render one text, a line per step, "Step 1: … ки". Scores are read at the tags.

    The steps that the model was trained on say their number; one is added to those that do not. Space around a step is
    dropped, as a second blank before the tag would make another token of it.
    """
    lines = []
    for number, step in enumerate(steps, 1):
        text = step.strip()
        numbered = text if re.match(r"Step \d+:", text) else f"Step {number}: {text}".strip()
        lines.append(f"{numbered} {_SHEPHERD_TAG}")
    ids, prompt = tokenizer([f"{problem} " + "\n".join(lines), problem])["input_ids"]
    step_ends = _tags(ids, tokenizer.encode(_SHEPHERD_TAG)[-1], _SHEPHERD_TAG, len(steps))
    return Rendered(ids, _common(ids, prompt), step_ends)


def _render_rlhflow(tokenizer: Any, problem: str, steps: Sequence[str]) -> Rendered:
    """A conversation: the user says problem and first step, then step by step; the assistant answers + to each; read
    where that + is predicted, the third last position of the conversation so far.

    The original scores each conversation so far by itself. Attention is causal, so one pass over the longest gives the
    same numbers as long as the others are its prefixes, which is a matter of the chat template, and checked.
    """
    turns: list[dict[str, str]] = []
    so_far = [apply_chat_template(tokenizer, [{"role": "user", "content": problem}], tokenize=False)]
    for number, step in enumerate(steps):
        text = step.strip() if number else f"{problem} {step.strip()}"
        turns += [{"role": "user", "content": text}, {"role": "assistant", "content": "+"}]
        so_far.append(apply_chat_template(tokenizer, turns, tokenize=False))
    # The template writes the begin-of-text token itself.
    prompt, *encoded = tokenizer(so_far, add_special_tokens=False)["input_ids"]
    _, plus = _candidates("rlhflow", tokenizer)
    for ids in encoded:
        if encoded[-1][: len(ids)] != ids:
            raise ValueError("the chat template changes earlier turns as a conversation goes on: no single pass")
        if ids[-2] != plus:
            raise ValueError("the chat template does not end in + and one closing token: no position to read")
    return Rendered(encoded[-1], _common(encoded[-1], prompt), [len(ids) - 3 for ids in encoded])


def _refuse_control_tokens(tokenizer: Any, problem: str, steps: Sequence[str]) -> None:
    """Refuse a text that spells a control token, e.g. <|eot_id|>: it would open turns, and give answers of its own."""
    control = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for number, text in enumerate([problem, *steps]):
        for token in control:
            if token in text:
                raise ValueError(f"{f'step {number}' if number else 'the problem'} holds the control token {token!r}")


def _tags(ids: list[int], tag: int, name: str, count: int) -> list[int]:
    """Return the positions of a tag, which are the ends of `count` steps. Raises ValueError for another number of
    them."""
    positions = [position for position, token in enumerate(ids) if token == tag]
    if len(positions) != count:
        raise ValueError(f"{count} steps, but {len(positions)} tags {name!r}: the text holds one, or swallows one")
    return positions


def _common(ids: list[int], prompt: list[int]) -> int:
    """Return how many of ids are the prompt's own: what follows may merge with, or replace, its last ones."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, prompt, strict=False)))


def _candidates(style: str, tokenizer: Any) -> tuple[int, int]:
    """Return the ids of − and + whose logits a causal model's score compares."""
    if style == "math_shepherd":
        right, wrong = tokenizer.encode("+ -")[1:]  # after the begin-of-text token
    else:
        right, wrong = (tokenizer.encode(sign)[-1] for sign in "+-")
    return wrong, right


def _check_tokenizer(style: str, tokenizer: Any) -> None:
    if style in CHAT_STYLES and not tokenizer.chat_template:
        raise ValueError("no chat template")
    if style == "qwen_prm" and len(tokenizer.encode(_QWEN_TAG)) != 1:
        raise ValueError(f"no token {_QWEN_TAG}")
    for text, length in [(_SHEPHERD_TAG, 2), ("+ -", 3)] if style == "math_shepherd" else []:
        ids = tokenizer.encode(text)
        if len(ids) != length or ids[0] != tokenizer.bos_token_id or tokenizer.unk_token_id in ids:
            raise ValueError(f"{text!r} is not begin-of-text and {length - 1} known token(s)")
    render_published(style, tokenizer, "1 + 1 + 1 = ?", ["1 + 1 = 2", "2 + 1 = 3"])


def _load(style: str, folder: Path, dtype: str) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForTokenClassification

    classes: dict[str, Any] = {"trl": AutoModelForTokenClassification, "qwen_prm": _qwen_class()}
    try:
        kind = classes.get(style, AutoModelForCausalLM)
        model, loaded = open_model(kind, folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True)
    except OSError as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder} has no weights that can be read: {reason}") from error
    # The library makes up what a checkpoint lacks, and random scores look like scores.
    lacking = sorted(loaded["missing_keys"]) + sorted(key for key, *_ in loaded["mismatched_keys"])
    if lacking:
        raise ValueError(f"{folder} lacks weights of the style {style}, or has them in other shapes: {lacking[0]}")
    return model


def _qwen_class() -> Any:
    """Return the class that Qwen publishes as code beside the weights.

    That code was written for older transformers: under version 5 its rotary embedding stays zero, and all scores near
    one half (Red-Hat-AI-Innovation-Team/its_hub#215).
    """
    from torch import nn
    from transformers import Qwen2Model, Qwen2PreTrainedModel

    class Qwen2ForProcessRewardModel(Qwen2PreTrainedModel):
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model = Qwen2Model(config)
            width = config.hidden_size
            self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
            self.post_init()

    return Qwen2ForProcessRewardModel


def _two_rows(model: Any, wrong: int, right: int) -> Any:
    """Return a head of two rows of a causal model's output embedding: the others would be computed for nothing."""
    import torch

    embedding = model.get_output_embeddings()
    head = torch.nn.Linear(embedding.in_features, 2, bias=embedding.bias is not None, dtype=embedding.weight.dtype)
    head.load_state_dict({name: values[[wrong, right]] for name, values in embedding.state_dict().items()})
    return head
