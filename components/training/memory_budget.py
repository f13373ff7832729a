"""An estimate of how many tokens a GPU's memory has room for while a model trains.

It is made from the architecture: of a decoder of 1.3 billion parameters 55 GiB were measured for rows of 16,384 tokens
where this reckons 56.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

OF_A_PARAMETER = 16  # bytes, of float32: weight, gradient, and AdamW's two moments
_USABLE = 0.9  # of the memory; the rest is for workspaces and gaps
_FEWEST = 256  # tokens in a row, under which it is no use trying


def tokens_that_fit(model: nn.Module, device: torch.device) -> int:
    """Return how many tokens a row may have in training on this worker's GPU.

    model: a SelectiveLogits in training, as spread over the workers.

    Raises ValueError where weights, gradients and moments alone leave no room.
    """
    import torch
    from torch.distributed.tensor import DTensor

    weights = [part.to_local() if isinstance(part, DTensor) else part for part in model.parameters()]
    decoder: Any = next(part for part in model.modules() if hasattr(part, "config") and hasattr(part, "base_model"))
    memory = torch.cuda.get_device_properties(device).total_memory
    recomputed = bool(getattr(decoder, "is_gradient_checkpointing", False))
    config = decoder.config.get_text_config()
    classes = config.num_labels if decoder.get_output_embeddings() is None else config.vocab_size
    return reckon(memory, sum(part.numel() for part in weights), config, classes, recomputed)


def reckon(memory: int, parameters: int, config: Any, classes: int, recomputed: bool) -> int:
    """Return how many tokens fit, by the architecture alone.

    memory: bytes of the GPU. parameters: held by this GPU. classes: of a token. recomputed: activations, by the
    backward pass. Raises ValueError where fewer than 256 fit.
    """
    of_a_token = bytes_of_a_token(config, classes, recomputed)
    fits = int((memory * _USABLE - parameters * OF_A_PARAMETER) / of_a_token)
    if fits < _FEWEST:
        taken = parameters * OF_A_PARAMETER / 2**30
        raise ValueError(
            f"{parameters / 1e9:.1f} billion parameters take {taken:.0f} GiB in training "
            f"(weights, gradients, moments) and a token {of_a_token / 2**20:.1f} MiB; this GPU has "
            f"{memory / 2**30:.0f} GiB: --sharding fsdp and more [training] gpus spread them"
        )
    return fits


def bytes_of_a_token(config: Any, classes: int, recomputed: bool) -> float:
    """Return the bytes that a token of a row takes in training. Arguments as those of `reckon`."""
    hidden, layers = config.hidden_size, config.num_hidden_layers
    # Two bytes each, of what the backward pass of a layer needs: some eight tensors of the width of the model, and six
    # of that of its feed-forward part.
    of_a_layer = 2 * (8 * hidden + 6 * config.intermediate_size)
    of_a_token = 2 * layers * hidden + of_a_layer if recomputed else layers * of_a_layer
    return of_a_token + 10 * classes  # logits in both precisions, and their gradient
