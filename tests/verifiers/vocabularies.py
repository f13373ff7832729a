"""Tokenizers of published models for tests: their true vocabularies where a package holds one, else small ones.

Qwen2.5's is in dashscope, Llama 3's in llama-models, Mistral's first in mistral-common. No package is needed: the small
vocabularies split texts alike, and have the styles' tags as tokens.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers.convert_slow_tokenizer import bytes_to_unicode

from components.models.model_folder import open_tokenizer

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
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_TAGS = [
    "\n\n",
    " \n\n",
    " \n\n\n\n",
    " \n\n\n\n\n",
    ".\n",
    ".\n\n",
    " +",
    " -",
    " к",
    "ки",
    "Step",
    " Step",
    " the",
    " is",
]
_CHARACTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,:;!?$%&'\"()[]{}<>+-*/=^_\\|#@~`"
QWEN_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"]
QWEN_SPECIAL += ["<|box_start|>", "<|box_end|>", "<|quad_start|>", "<extra_0>"]  # the PRM's tag is 151651
LLAMA_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{i}|>" for i in range(4))]
LLAMA_SPECIAL += ["<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>"]


def package_file(package: str, path: str) -> Path | None:
    """A file of an installed package, which is not imported; None where it is not there."""
    spec = importlib.util.find_spec(package)
    places = [Path(place) / path for place in (spec.submodule_search_locations or ())] if spec is not None else []
    return next((place for place in places if place.is_file()), None)


def _ranks(package: str, path: str) -> list[bytes]:
    file = package_file(package, path) if path else None
    if file is not None:
        lines = (line.split() for line in file.read_bytes().splitlines() if line.strip())
        return [base64.b64decode(token) for token, _ in lines]
    # With the beginnings of words, so that merges alone make all tokens.
    texts = [text.encode() for text in _TAGS]
    beginnings = [word[:size] for word in texts if word.strip() for size in range(2, len(word))]
    return [*dict.fromkeys([bytes([byte]) for byte in range(256)] + texts[:4] + beginnings + texts)]


@functools.cache
def _byte_level(package: str, path: str, digits: str, nfc: bool) -> str:
    """The JSON of a byte-level tokenizer from a file of tiktoken's: a base64 token and its rank per line."""
    ranks = {token: rank for rank, token in enumerate(_ranks(package, path))}
    letters = bytes_to_unicode()

    def spelt(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = []
    for token, rank in ranks.items():
        splits = ((token[:cut], token[cut:]) for cut in range(1, len(token)))
        known = sorted((ranks[a], ranks[b], a, b) for a, b in splits if a in ranks and b in ranks)
        merges += [(rank, spelt(a), spelt(b)) for _, _, a, b in known]
    merges.sort(key=lambda merge: merge[0])
    vocabulary = {spelt(token): rank for token, rank in ranks.items()}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocabulary, [(a, b) for _, a, b in merges], fuse_unk=False, ignore_merges=True)
    )
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(_PATTERN.replace("DIGITS", digits)), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return str(tokenizer.to_str())


def qwen_tokenizer(
    bos: str | None = None, template: str | None = QWEN_TEMPLATE, tag: str = "<extra_0>", small: bool = False
) -> Any:
    """Qwen2.5's, with the tag of its PRM. small: the small vocabulary in any case."""
    special = [tag if token == "<extra_0>" else token for token in QWEN_SPECIAL]
    tokenizer = tokenizers.Tokenizer.from_str(
        _byte_level("dashscope", "" if small else "resources/qwen.tiktoken", r"\p{N}", True)
    )
    tokenizer.add_special_tokens(special)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=template,
    )


def llama_tokenizer(template: str | None = LLAMA_TEMPLATE, small: bool = False) -> Any:
    """Llama 3's, which puts its begin-of-text token before every text. small: the small vocabulary in any case."""
    tokenizer = tokenizers.Tokenizer.from_str(
        _byte_level("llama_models", "" if small else "llama3/tokenizer.model", r"\p{N}{1,3}", False)
    )
    tokenizer.add_special_tokens(LLAMA_SPECIAL)
    begin = (LLAMA_SPECIAL[0], tokenizer.token_to_id(LLAMA_SPECIAL[0]))
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{begin[0]} $A", special_tokens=[begin])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin[0], eos_token="<|eot_id|>", chat_template=template
    )


def mistral_tokenizer(small: bool = False) -> Any:
    """Mistral's first. small: one of SentencePiece's kind in any case: a blank before all text, blanks are ▁ within
    tokens, unknown characters are bytes."""
    file = package_file("mistral_common", "data/tokenizer.model.v1")
    if file is not None and not small:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(file, Path(folder) / "tokenizer.model")
            tokens = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
            config = tokens | {"add_bos_token": True, "tokenizer_class": "LlamaTokenizer", "legacy": False}
            (Path(folder) / "tokenizer_config.json").write_text(json.dumps(config))
            return open_tokenizer(Path(folder))
    merged = ["ки", "▁ки", "▁+", "▁-", "▁▁"]
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *_CHARACTERS, "к", "и", *merged]
    merges = [("к", "и"), ("▁", "ки"), ("▁", "+"), ("▁", "-"), ("▁", "▁")]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = tokenizers.Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
