"""Folders of models, which anyone may have written: every tokenizer, config and model is opened here.

No code of a folder is run: no Python modules beside the weights and no pickles (weights are safetensors). Its chat
template has a time limit (`chat_template`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SENTENCEPIECE = "tokenizer.model"
# Fields of a config that change a language model's logits in the model's own forward, which is not called here.
AFTER_THE_HEAD = ("logits_scaling", "logit_scale", "final_logit_softcapping", "lm_head_multiplier")
VLLM: dict[str, Any] = {"trust_remote_code": False, "load_format": "safetensors"}  # arguments of `vllm.LLM`
# Further arguments would be saved with a tokenizer, and change the files of each model trained from it.
_SAFE: dict[str, Any] = {"trust_remote_code": False}
# The fields of config.json that are read, here or by those who open the model.
_CONFIG_TYPES: dict[str, tuple[type, str]] = {
    "dtype": (str, "text"),
    "torch_dtype": (str, "text"),
    "architectures": (list, "a list"),
    "model_type": (str, "text"),
    "max_position_embeddings": (int, "a whole number"),
    "sliding_window": (int, "a whole number"),
    "stepverify": (dict, "an object"),
}
_TOKENIZER_TYPES: dict[str, tuple[type | tuple[type, ...], str]] = {
    "tokenizer_class": (str, "text"),
    "chat_template": ((str, list), "text or a list"),
}


def read_config(data: bytes, name: str) -> dict[str, Any]:
    """Read a config.json. name: the file's, for messages. Raises ValueError, in one line, for a malformed one."""
    return _checked(data, name, _CONFIG_TYPES)


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """Read a folder's tokenizer_config.json; {} where there is none. Raises ValueError, in one line."""
    path = folder / "tokenizer_config.json"
    return _checked(path.read_bytes(), str(path), _TOKENIZER_TYPES) if path.is_file() else {}


def _checked(data: bytes, name: str, types: Mapping[str, tuple[Any, str]]) -> dict[str, Any]:
    try:
        config = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}; fetch the model again") from error
    if not isinstance(config, dict):
        raise ValueError(f"{name} is not a JSON object; fetch the model again")
    for field, (kind, words) in types.items():
        value = config.get(field)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{name}: {field} is {json.dumps(value)[:40]}, not {words}; fetch the model again")
    return config


def _local(folder: Path) -> Path:
    """Return the folder. Raises ValueError where there is none: a hub could be asked for a model of that name."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no folder is there")
    return folder


def open_config(folder: Path) -> Any:
    """Open the config of a Hugging Face folder."""
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(_local(folder), **_SAFE)


def open_tokenizer(folder: Path) -> Any:
    """Open the tokenizer of a Hugging Face folder.

    Where the folder has SentencePiece's file alone, pieces merge in SentencePiece's order. Transformers 5 orders merges
    into one piece otherwise, which shows where blanks follow each other.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(_local(folder), **_SAFE)
    if has_sentencepiece_alone(folder):
        _merge_as_sentencepiece(tokenizer, folder / SENTENCEPIECE)
    return tokenizer


def has_sentencepiece_alone(folder: Path) -> bool:
    """Return whether SentencePiece's file is the only one that holds a folder's vocabulary."""
    return (folder / SENTENCEPIECE).is_file() and not (folder / "tokenizer.json").is_file()


def open_sentencepiece(path: Path) -> Any:
    """Open a SentencePiece file with its own library; None for a file of another kind, as Llama 3's original one."""
    from sentencepiece import SentencePieceProcessor

    try:
        return SentencePieceProcessor(model_file=str(path))
    except RuntimeError:
        return None


def _merge_as_sentencepiece(tokenizer: Any, path: Path) -> None:
    from tokenizers.models import BPE

    model: Any = tokenizer.backend_tokenizer.model if tokenizer.is_fast else None
    pieces: Any = open_sentencepiece(path) if isinstance(model, BPE) else None
    if pieces is None:
        return
    ids = {pieces.id_to_piece(index): index for index in range(pieces.get_piece_size())}
    merges = []
    for piece, index in ids.items():
        splits = ((piece[:cut], piece[cut:]) for cut in range(1, len(piece)))
        known = sorted(
            (split for split in splits if {*split} <= ids.keys()), key=lambda split: [ids[part] for part in split]
        )
        merges += [((pieces.get_score(index), len(left), len(right)), (left, right)) for left, right in known]
    merges.sort(key=lambda merge: merge[0], reverse=True)
    tokenizer.backend_tokenizer.model = BPE(
        ids,
        [merge for _, merge in merges],
        unk_token=model.unk_token,
        fuse_unk=model.fuse_unk,
        byte_fallback=model.byte_fallback,
    )


def open_tokenizer_without_torch(folder: Path) -> Any:
    """Open a folder's tokenizer as AutoTokenizer does, without importing torch where that is possible.

    It is where the folder names the class that needs no model's code, as the embedded generator's does. The import can
    take longer than making the examples.
    """
    from transformers import PreTrainedTokenizerFast

    if read_tokenizer_config(folder).get("tokenizer_class") == PreTrainedTokenizerFast.__name__:
        return PreTrainedTokenizerFast.from_pretrained(folder, **_SAFE)
    return open_tokenizer(folder)


def open_model(kind: Any, folder: Path, **settings: Any) -> Any:
    """Open a model by a class of transformers, e.g. AutoModelForCausalLM.

    settings: dtype, config and others of `from_pretrained`. Raises OSError where there are no
    safetensors, ValueError where there is no folder.
    """
    return kind.from_pretrained(_local(folder), use_safetensors=True, **_SAFE, **settings)
