"""The embedded generator's tokenizer: one token per word and number of the world, bytes for everything else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_OF_TEXT = "<|end|>"
PADDING = "<|pad|>"


def build_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Build a byte-level tokenizer of the 256 bytes and `words`, each with and without a space before it.

    Lossless for any text: a word outside the vocabulary becomes its bytes (there are no merges to learn).
    """
    from transformers import PreTrainedTokenizerFast  # a slow import, and most importers of this module need none

    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokens = [PADDING, END_OF_TEXT, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    for word in words:
        for text in (word, f" {word}"):
            [(token, _)] = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)
            tokens.append(token)
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    # ignore_merges: a pre-token that is in the vocabulary is one token, whether or not merges would build it.
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )
