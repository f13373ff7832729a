"""Checks of a verifier's folder that need no weights in memory, and no torch: a plan makes them before any work."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from typing import Any, Literal

from components.models.model_folder import AFTER_THE_HEAD, SENTENCEPIECE, open_config, open_tokenizer, read_config
from components.models.safetensors_files import StoredTensor, stored_tensors
from components.text.rendering import PROMPT_SEPARATOR, STEP_SEPARATOR
from components.verifiers.adapters import is_adapter, read_adapter
from components.verifiers.gated_head import GATE, check_gated_head
from components.verifiers.style import OURS, Class, Style, read_style
from components.verifiers.tokenizer_checks import check_any_tokenizer, open_checked_tokenizer, same_tokens

_VOCABULARIES = ("tokenizer.json", SENTENCEPIECE, "vocab.json", "vocab.txt")  # files, one of which a tokenizer has
_LAYER = re.compile(r"(?:^|\.)(?:layers?|h|blocks?)\.(\d+)\.")  # the number of a layer, in names of weights
# Names of labels that say their class. Others, as LABEL_0, say nothing.
_NAMED: dict[Class, frozenset[str]] = {
    "negative": frozenset(["negative", "wrong", "incorrect", "bad", "false", "error", "invalid", "fail", "-", "no"]),
    "neutral": frozenset(["neutral"]),
    "positive": frozenset(["positive", "right", "correct", "good", "true", "valid", "pass", "+", "yes"]),
}


def check_verifier_folder(
    style: str | Style, folder: Path, base: Path | None = None, reference: Path | None = None
) -> None:
    """Check that a folder holds a verifier of the style, as far as config, tokenizer and headers of weights tell.

    style: "stepverify", a name, the path of a style's file, or a style. base: of an adapter. reference: of a style that
    reads a log-ratio. Raises ValueError, in one line, which names what does not fit.
    """
    if style != OURS:
        open_checked_folder(read_style(style) if isinstance(style, str) else style, folder, base, reference)
        return
    if base is not None or reference is not None:
        raise ValueError("a model trained here needs neither base nor reference model")
    kind = check_convention(folder, _config(folder))
    tensors = stored_tensors(folder)
    _check_body(folder, tensors, _computable_config(folder))
    shapes = [tensors[f"{name}.weight"].shape for name in ("score", "classifier") if f"{name}.weight" in tensors]
    if [shape[0] for shape in shapes] != [{"orm": 2, "prm": 3}[kind]]:
        raise ValueError(f"{folder} lacks weights of a {kind} trained here: score.weight, a row per label")
    _tokenizer_folder(folder)


def open_checked_folder(style: Style, folder: Path, base: Path | None, reference: Path | None) -> Any:
    """Check a folder of a style, and return its tokenizer. Arguments and errors as of `check_verifier_folder`."""
    weights = weights_folder(folder, base)
    config = _config(weights)
    _check_config(style, weights, config)
    tensors, opened = stored_tensors(weights), _computable_config(weights)
    _check_body(weights, tensors, opened)
    if style.head.output in ("tokens", "log_ratio"):
        _check_output_embedding(weights, tensors, opened)
    else:
        _check_head(style, weights, tensors)
    for module in read_adapter(folder)[1] if is_adapter(folder) else ():
        if not {f"{module}.weight", f"{module.partition('.')[2]}.weight"} & tensors.keys():
            raise ValueError(f"{folder} changes {module}, which its base model {weights} has not")
    tokenizer = open_checked_tokenizer(style, _tokenizer_folder(folder, weights), getattr(opened, "vocab_size", None))
    if style.needs_reference != (reference is not None):
        needs = "needs a reference model: give its folder" if style.needs_reference else "has no reference model"
        raise ValueError(f"the style {style.name} {needs}")
    if reference is not None:
        _check_reference(reference, tokenizer)
    return tokenizer


def check_language_model_folder(folder: Path, packed: bool) -> None:
    """Check that a folder holds a causal language model with an output embedding of its own, and a tokenizer of it.

    packed: it is computed here, by packed attention, and not by an engine, which reads more architectures and weights
    in fewer bits. Raises ValueError, in one line. Transformers would make up a head that is not there.
    """
    config = _config(folder)
    named = str((config.get("architectures") or ["no architecture"])[0])
    if not named.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")):
        raise ValueError(f"{folder} holds {named}, which writes nothing: a language model is wanted (…ForCausalLM)")
    tensors, opened = stored_tensors(folder), _computable_config(folder) if packed else _text_config(folder)
    _check_body(folder, tensors, opened)
    _check_output_embedding(folder, tensors, opened, as_it_is=packed)
    check_any_tokenizer(_tokenizer_folder(folder), getattr(opened, "vocab_size", None))


def verifier_kind(style: str | Style, folder: Path) -> Literal["process", "outcome"]:
    """Return whether a verifier scores steps or whole solutions; of a model trained here its config says so."""
    if style == OURS:
        return "outcome" if check_convention(folder, _config(folder)) == "orm" else "process"
    return (read_style(style) if isinstance(style, str) else style).kind


def check_convention(folder: Path, config: dict[str, Any]) -> str:
    """Return the kind of a model trained here, orm or prm. Raises ValueError for a model of another convention."""
    convention = config.get("stepverify") or {}
    if not convention:
        raise ValueError(f"{folder} was not trained here (its config has no stepverify): its style must be named")
    for name, value in {"prompt_separator": PROMPT_SEPARATOR, "step_separator": STEP_SEPARATOR}.items():
        if convention.get(name) != value:
            raise ValueError(f"{folder}: its config has {name} {convention.get(name)!r}, not {value!r}")
    by_labels = {2: "orm", 3: "prm"}.get(len(config.get("id2label") or {0: "", 1: ""}), "")
    kind: str = convention.get("kind", by_labels)
    if kind not in ("orm", "prm") or kind != by_labels:
        raise ValueError(f"{folder}: its config has kind {kind!r} and other labels than that kind's")
    return kind


def weights_folder(folder: Path, base: Path | None) -> Path:
    """Return the folder of the weights: the base model's for an adapter. Raises ValueError where one is missing."""
    if is_adapter(folder) == (base is not None):
        return base or folder
    if base is None:
        raise ValueError(f"{folder} is an adapter: give the folder of its base model too")
    raise ValueError(f"{folder} is no adapter (it has no adapter_config.json), so it has no base model")


def head_name(style: Style, folder: Path, tensors: dict[str, StoredTensor]) -> str:
    """Return the name that the head of a style has in the weights. Raises ValueError where it is missing."""
    layer = ".0" if style.head.layers == "mlp" else ""
    for name in style.head.modules:
        if f"{name}{layer}.weight" in tensors:
            return name
    raise ValueError(f"{folder} lacks weights of the style {style.name}: {style.head.modules[0]}{layer}.weight")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise ValueError(f"{folder}: no folder is there")
    if not path.is_file():
        raise ValueError(f"{folder} has no config.json: not a model's folder")
    return read_config(path.read_bytes(), str(path))


def _check_config(style: Style, folder: Path, config: dict[str, Any]) -> None:
    named = str((config.get("architectures") or ["no architecture"])[0])
    patterns = style.folder.architectures
    if not any(fnmatch.fnmatchcase(named, pattern) for pattern in patterns):
        raise ValueError(f"{folder} holds {named}; the style {style.name} is {' or '.join(patterns)}")
    kind = config.get("model_type")
    if style.folder.model_types and kind not in style.folder.model_types:
        raise ValueError(f"{folder} has model_type {kind}; the style {style.name} has {style.folder.model_types[0]}")
    labels = config.get("id2label")
    if style.head.output not in ("classes", "scalar") or style.head.layers == "gated" or not isinstance(labels, dict):
        return
    classes = style.head.classes
    if len(labels) != (len(classes) or 1):
        said = f"{len(classes)}: {', '.join(classes)}" if classes else "1"
        raise ValueError(f"{folder} has {len(labels)} labels; the style {style.name} has {said}")
    for index, meant in enumerate(classes):
        label = str(labels.get(str(index))).strip().lower()
        for other, names in _NAMED.items():
            if label in names and other != meant:
                raise ValueError(
                    f"{folder}: id2label says {index} is {json.dumps(label)}; in the style {style.name} it is {meant}"
                )


def _text_config(folder: Path) -> Any:
    """Return a folder's config as Transformers reads it, of the text model. Raises ValueError, in one line."""
    try:
        return open_config(folder).get_text_config()
    except Exception as error:  # each class of config checks its fields in its own way
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder / 'config.json'} cannot be read by Transformers: {reason}") from error


def _computable_config(folder: Path) -> Any:
    """Return `_text_config`. Raises ValueError for what is not computed here."""
    config = _text_config(folder)
    if getattr(config, "attn_logit_softcapping", None):
        raise ValueError(f"{folder} has attn_logit_softcapping, which packed attention does not compute")
    if getattr(config, "quantization_config", None):
        raise ValueError(f"{folder} has a quantization_config: only weights of plain numbers, as bfloat16, are read")
    return config


def _check_body(folder: Path, tensors: dict[str, StoredTensor], config: Any) -> None:
    """Check by the headers of the weights that no layer is missing."""
    count = getattr(config, "num_hidden_layers", None) or 0
    numbers = {int(found[1]) for name in tensors if not name.startswith(GATE) and (found := _LAYER.search(name))}
    missing = set(range(count)) - numbers
    if missing:
        raise ValueError(f"{folder} lacks weights: layer {min(missing)} of the {count} that its config.json says")


def _check_output_embedding(folder: Path, tensors: dict[str, StoredTensor], config: Any, as_it_is: bool = True) -> None:
    """Check that a language model has an output embedding. as_it_is: and that logits are its very outputs."""
    has_one = any(name.endswith(("lm_head.weight", "embed_out.weight")) for name in tensors)
    if not has_one and not config.tie_word_embeddings:
        raise ValueError(f"{folder} lacks weights of a language model: lm_head.weight")
    for name in AFTER_THE_HEAD if as_it_is else ():
        value = getattr(config, name, None)
        if value not in (None, 1):
            raise ValueError(f"{folder / 'config.json'}: {name} is {value}, which changes logits after the head")


def _tokenizer_folder(*folders: Path) -> Path:
    """Return the first of the folders that has a tokenizer. Raises ValueError where none has one."""
    for folder in folders:
        if any((folder / name).is_file() for name in _VOCABULARIES):
            return folder
    raise ValueError(f"{folders[-1]} has no tokenizer: none of {', '.join(_VOCABULARIES)}")


def _check_head(style: Style, folder: Path, tensors: dict[str, StoredTensor]) -> None:
    """Check names and shapes of the head by the headers of the weights."""
    name = head_name(style, folder, tensors)
    outputs, last = len(style.head.classes) or 1, ".2" if style.head.layers == "mlp" else ""
    weight = tensors.get(f"{name}{last}.weight")
    if style.head.layers == "gated":
        check_gated_head(folder, name, tensors)
    elif weight is None or len(weight.shape) != 2 or weight.shape[0] != outputs:
        has = f"has shape {weight.shape}" if weight else "is missing"
        raise ValueError(f"{folder}: {name}{last}.weight {has}; the style {style.name} has {outputs} outputs")
    if style.head.bias is not None and (f"{name}{last}.bias" in tensors) != style.head.bias:
        raise ValueError(f"{folder}: the style {style.name} has {'a' if style.head.bias else 'no'} {name}{last}.bias")


def _check_reference(reference: Path, tokenizer: Any) -> None:
    _config(reference)
    tensors, config = stored_tensors(reference), _computable_config(reference)
    _check_body(reference, tensors, config)
    _check_output_embedding(reference, tensors, config)
    if config.vocab_size < len(tokenizer):
        knows = f"knows {config.vocab_size} tokens, and the verifier's tokenizer {len(tokenizer)}"
        raise ValueError(f"the reference model {reference} {knows}")
    if any(reference.glob("tokenizer*")) and not same_tokens(tokenizer, open_tokenizer(reference)):
        raise ValueError(f"the reference model {reference} has another tokenizer than the verifier")
