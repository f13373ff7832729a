"""Checks, before any scoring, that a tokenizer gives a style's texts the tokens that the model was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from components.models.model_folder import (
    SENTENCEPIECE,
    has_sentencepiece_alone,
    open_sentencepiece,
    open_tokenizer,
    read_tokenizer_config,
)
from components.verifiers.style import Style
from components.verifiers.styled_rendering import one_token, render_styled, special_tokens_filled

# Blanks, runs of blanks, newlines, and what solutions are made of. None begins or ends with a blank, which decoding may
# drop.
PROBES = (
    "What is two plus three?",
    "1 + 1 = 2\n2 + 1 = 3",
    "So x  =  5.\n\nThus   y = 7,    and z",
    "Take $x^{2} = \\frac{1}{2}$:\n    x = 0.5\n\n\\[ \\boxed{12} \\]",
    "Step 1: Janet's ducks lay 16 eggs - 3 = 13.",
)
_PROBLEM, _STEPS = "1 + 1 + 1 = ?", ["1 + 1 = 2", "2 + 1 = 3"]


def open_checked_tokenizer(style: Style, folder: Path, num_embeddings: int | None = None) -> Any:
    """Open the tokenizer of a folder of the style.

    num_embeddings: of the model; None: unknown. Raises ValueError, in one line, where the tokenizer loses text, where
    its ids are not those of SentencePiece's own file, where some have no embedding, or where the style cannot be
    rendered with it.
    """
    try:
        tokenizer = open_tokenizer(folder)
        if has_sentencepiece_alone(folder):
            _begin_as_sentencepiece(tokenizer, folder)
        _check_round_trip(tokenizer)
        _check_sentencepiece(tokenizer, folder)
        _check_style(style, tokenizer, num_embeddings)
    except TimeoutError:
        raise
    except Exception as error:  # a folder's chat template is a program, which raises what it likes
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder} has no tokenizer of the style {style.name}: {reason}") from error
    return tokenizer


def check_any_tokenizer(folder: Path, num_embeddings: int | None = None) -> None:
    """Check the tokenizer of a folder of no style. Raises ValueError, in one line, as `open_checked_tokenizer` does."""
    try:
        tokenizer = open_tokenizer(folder)
        _check_round_trip(tokenizer)
        _check_sentencepiece(tokenizer, folder)
    except TimeoutError:
        raise
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{folder} has no tokenizer that can be used: {reason}") from error
    if num_embeddings is not None and tokenizer.vocab_size > num_embeddings:
        few = f"the model has embeddings for {num_embeddings}"
        raise ValueError(f"{folder}: its tokenizer has {tokenizer.vocab_size} tokens, and {few}")


def same_tokens(tokenizer: Any, other: Any) -> bool:
    """Return whether two tokenizers give the probe texts equal ids."""
    return all(tokenizer.encode(text) == other.encode(text) for text in PROBES)


def _begin_as_sentencepiece(tokenizer: Any, folder: Path) -> None:
    """Put SentencePiece's blank before a text also where the text begins with a blank, as Transformers 4 does.

    In tokenizers that say `legacy: false` the blank stands before the first text alone, for which Transformers has
    its own rule in both versions.
    """
    from tokenizers import normalizers, pre_tokenizers

    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    config = read_tokenizer_config(folder)
    is_plain = backend is not None and config.get("legacy") is not False and config.get("add_prefix_space") is not False
    if is_plain and isinstance(backend.pre_tokenizer, pre_tokenizers.Metaspace):
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None


def _check_round_trip(tokenizer: Any) -> None:
    """Raise ValueError where the ids of a probe text do not stand for that text, up to declared normalisation."""
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    unknown = tokenizer.unk_token_id
    encoded = {text: tokenizer.encode(text, add_special_tokens=False) for text in PROBES}
    if unknown is not None and all(unknown in ids for ids in encoded.values()):
        raise ValueError(f"its ids of every probe text, as of {PROBES[1]!r}, have unknown tokens")
    for text, ids in encoded.items():
        if unknown is not None and unknown in ids:
            continue  # the vocabulary is small and says so: nothing is lost in silence
        decoded = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        normalised = normalizer.normalize_str(text).replace("▁", " ").strip(" ") if normalizer else text
        if decoded.strip(" ") not in (text, normalised):
            raise ValueError(
                f"its ids of {text!r} mean {decoded!r}; if tokenizer.json is byte-level, tokenizer_class in "
                "tokenizer_config.json must be PreTrainedTokenizerFast, as Transformers 5 rebuilds LlamaTokenizerFast"
            )


def _check_sentencepiece(tokenizer: Any, folder: Path) -> None:
    pieces: Any = open_sentencepiece(folder / SENTENCEPIECE) if has_sentencepiece_alone(folder) else None
    for text in PROBES if pieces is not None else ():
        if tokenizer.encode(text, add_special_tokens=False) != pieces.encode(text):
            raise ValueError(
                f"its ids of {text!r} are not those of {SENTENCEPIECE}; write tokenizer.json with Transformers 4 "
                "(AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER))"
            )


def _check_style(style: Style, tokenizer: Any, num_embeddings: int | None) -> None:
    if style.rendering.form in ("chat", "turns") and not tokenizer.chat_template:
        raise ValueError("no chat template")
    if style.folder.adds_bos and tokenizer.encode("1")[0] != tokenizer.bos_token_id:
        raise ValueError("it puts no begin-of-text token before a text")
    for text in (*style.folder.one_token, *style.head.tokens, *filter(None, [style.reading.tag])):
        one_token(tokenizer, text)
    removed = special_tokens_filled(style.rendering.removed_token, tokenizer)
    if removed and len(tokenizer.encode(removed, add_special_tokens=False)) != 1:  # it may be the unknown token
        raise ValueError(f"{removed!r} is not one token")
    rendered = render_styled(style, tokenizer, _PROBLEM, _STEPS, "\n".join(_STEPS))
    highest = max(tokenizer.vocab_size - 1, *rendered.ids)  # further added tokens may be there, and never occur
    if num_embeddings is not None and highest >= num_embeddings:
        raise ValueError(f"it has the token id {highest}, and the model has embeddings for {num_embeddings} tokens")
