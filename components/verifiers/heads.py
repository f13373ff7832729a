"""Models of a style with the head that the style reads. No code of a folder's is run: heads are data of the style."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.models.model_folder import open_model
from components.models.safetensors_files import StoredTensor, stored_tensors
from components.verifiers.adapters import is_adapter, merge_adapter
from components.verifiers.folder_checks import head_name, weights_folder
from components.verifiers.gated_head import open_gated_head
from components.verifiers.style import Style
from components.verifiers.styled_rendering import one_token

NO_NUMBER = "the model's output is NaN or infinite: its weights are broken, or too large for the dtype, as for float16"


def open_styled_model(style: Style, folder: Path, tokenizer: Any, dtype: str, base: Path | None) -> tuple[Any, Any]:
    """Open a model on the CPU, an adapter merged, and its head: hidden states (positions, hidden) to outputs.

    The outputs are in the order of the style's classes.
    dtype: of the weights, and so of the arithmetic: float32, bfloat16, … Raises ValueError where weights are missing or
    of another shape, and for attention that looks ahead.
    """
    from transformers import AutoModel, AutoModelForCausalLM

    weights = weights_folder(folder, base)
    is_language_model = style.head.output in ("tokens", "log_ratio")
    kind = AutoModelForCausalLM if is_language_model or is_adapter(folder) else AutoModel
    model = open_whole_model(kind, weights, dtype)
    if is_adapter(folder):
        merge_adapter(model, folder)
    if style.head.output == "log_ratio":
        return model, model.get_output_embeddings()
    if style.head.output == "tokens":
        ids = [one_token(tokenizer, text) for text in style.head.tokens]
        return model, _rows(model, ids) if style.head.softmax == "tokens" else _against_all(style, model, ids)
    return model, _stored_head(
        style, weights, stored_tensors(weights), model.config.get_text_config().hidden_size, dtype
    )


def open_reference(folder: Path, dtype: str) -> tuple[Any, Any]:
    """Open the reference model of a style that reads a log-ratio, and its output embedding."""
    from transformers import AutoModelForCausalLM

    model = open_whole_model(AutoModelForCausalLM, folder, dtype)
    return model, model.get_output_embeddings()


def open_whole_model(kind: Any, folder: Path, dtype: str) -> Any:
    """Open a model by a class of transformers, e.g. AutoModel.

    Raises ValueError, in one line, for a folder that cannot be opened, that lacks weights, or whose attention looks
    ahead.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    said = logging.get_verbosity()
    logging.set_verbosity_error()  # it would report the head as unexpected, which is opened here
    try:
        model, loaded = open_model(kind, folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder} holds no model that can be opened: {reason}") from error
    finally:
        logging.set_verbosity(said)
    # Rows are packed and padded on the right, which only attention to what came before leaves without effect.
    named = (model.config.architectures or ["no architecture"])[0]
    if not all(getattr(module, "is_causal", True) for module in model.modules()):
        raise ValueError(f"{folder} holds {named}, whose attention looks ahead: only causal models can be read")
    # The library makes up what a checkpoint lacks, and random scores look like scores.
    lacking = sorted(loaded["missing_keys"]) + sorted(key for key, *_ in loaded["mismatched_keys"])
    if lacking:
        raise ValueError(f"{folder} lacks weights of {named}, or has them in other shapes: {lacking[0]}")
    return model


def _rows(model: Any, ids: list[int]) -> Any:
    """Return a head of some rows of a causal model's output embedding: the others would be computed for nothing."""
    import torch

    embedding = model.get_output_embeddings()
    head = torch.nn.Linear(
        embedding.in_features, len(ids), bias=embedding.bias is not None, dtype=embedding.weight.dtype
    )
    head.load_state_dict({name: values[ids] for name, values in embedding.state_dict().items()})
    return head


def _against_all(style: Style, model: Any, ids: list[int]) -> Any:
    """Return a head of two logits: of the positive token, and of all others together, as one class."""
    import torch

    at = style.head.classes.index("positive")
    embedding = model.get_output_embeddings()

    class PositiveAgainstAll(torch.nn.Module):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            logits = embedding(hidden).float()
            positive = logits[:, ids[at]].clone()
            logits[:, ids[at]] = -torch.inf
            others = logits.logsumexp(-1)
            return torch.stack([others, positive] if at else [positive, others], -1)

    return PositiveAgainstAll()


def _stored_head(style: Style, folder: Path, tensors: dict[str, StoredTensor], width: int, dtype: str) -> Any:
    """Return the head of a style with the weights that the folder has under the head's name."""
    import torch
    from safetensors import safe_open

    name, outputs = head_name(style, folder, tensors), len(style.head.classes) or 1
    if style.head.layers == "gated":
        return open_gated_head(folder, name, tensors, width, dtype)

    def linear(prefix: str, rows: int) -> torch.nn.Linear:
        layer = torch.nn.Linear(width, rows, bias=f"{prefix}.bias" in tensors, dtype=getattr(torch, dtype))
        state = {}
        for part, parameter in layer.named_parameters():
            place = tensors[f"{prefix}.{part}"]
            if place.shape != tuple(parameter.shape):
                raise ValueError(f"{folder} has weights in another shape than the style {style.name}: {prefix}.{part}")
            with safe_open(place.path, framework="pt") as file:
                state[part] = file.get_tensor(f"{prefix}.{part}")
        layer.load_state_dict(state)
        return layer

    if style.head.layers == "linear":
        return linear(name, outputs)
    return torch.nn.Sequential(linear(f"{name}.0", width), torch.nn.ReLU(), linear(f"{name}.2", outputs))
