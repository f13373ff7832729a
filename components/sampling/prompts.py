"""What a generator is told before it writes: a chat by its own template, or text to go on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.sampling.engines import SamplingConfig
from components.text.rendering import render_chat_prompts, render_prompts, render_turns


def sampling_prompts(tokenizer: Any, config: SamplingConfig, problems: Sequence[str]) -> list[list[int]]:
    """Return the prompts' token ids, one per problem.

    With config.prompt they are byte for byte what the tokenizer's `apply_chat_template` gives. Raises ValueError where
    a chat is wanted and the tokenizer has no template.
    """
    if config.prompt:
        return render_turns(tokenizer, config.prompt, config.system_prompt, problems)
    texts = [config.few_shot + problem for problem in problems]
    if config.chat_instruction:
        return render_chat_prompts(tokenizer, config.chat_instruction, texts)
    return render_prompts(tokenizer, texts)
