"""Text of problems and solutions: steps, the answer section, and the one rendering to token ids.

A solution is a list of steps. Joined by newlines they are its text, and the last step carries the answer
(Lightman et al. 2023, §2.2):

    7 + 5 = 12
    12 - 3 = 9
    # Answer

    9

The generator's training, sampling, both reward models and scoring all come here for ids, so that a position
which was trained is the position which is read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from components.models.chat_template import apply_chat_template

ANSWER_HEADER = "# Answer"
STEP_SEPARATOR = "\n"
PROMPT_SEPARATOR = "\n\n"
# How text becomes ids, as a reward model's config records it (`stepverify`): who scores with it does the same.
CONVENTION = {
    "prompt_separator": PROMPT_SEPARATOR,
    "step_separator": STEP_SEPARATOR,
    "tokenised": "problem + prompt_separator; then each step as on a line of its own, followed by the separator's ids, "
    "or by end of text after the last step of a finished solution; no special tokens added",
}
_ANSWER_LINE = re.compile(r"^# Answer[ \t]*$", re.MULTILINE)


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that rendering needs."""

    eos_token_id: int | None

    def __call__(self, text: list[str], add_special_tokens: bool = ...) -> Any: ...


@dataclass(frozen=True)
class Rendered:
    """Token ids of one problem and its solution.

    ids: prompt, then for each step its tokens and the separator's, or end-of-text where a solution ends.
    prompt_length: how many of ids belong to the prompt.
    step_ends: index into ids of the last token that closes each step, one per step; where the PRM predicts.
    """

    ids: list[int]
    prompt_length: int
    step_ends: list[int]


def answer_step(answer: str) -> str:
    """Write the answer section, the last step of a solution."""
    return f"{ANSWER_HEADER}\n\n{answer}"


def has_answer(step: str) -> bool:
    """Return whether a step ends a solution: whether it holds an answer section's header."""
    return _ANSWER_LINE.search(step) is not None


def join_steps(steps: Sequence[str]) -> str:
    """Join steps to a solution's text."""
    return STEP_SEPARATOR.join(steps)


def split_steps(text: str) -> list[str]:
    r"""Split a solution's text into steps; `join_steps(split_steps(text)) == text` for every text but the empty one.

    One step per line. Everything from the last `# Answer` line on is one step, whatever newlines it holds, and blank
    lines belong to the step above them, so that no step is empty (except where the text begins so).

    >>> split_steps("7 + 5 = 12\n\n# Answer\n\n12")
    ['7 + 5 = 12\n', '# Answer\n\n12']
    """
    headers = list(_ANSWER_LINE.finditer(text))
    head, tail = (text[: headers[-1].start()], [text[headers[-1].start() :]]) if headers else (text, [])
    if not head:
        return tail
    lines = (head.removesuffix(STEP_SEPARATOR) if tail else head).split(STEP_SEPARATOR)
    steps: list[str] = []
    for line in lines:
        if steps and not line.strip():
            steps[-1] += STEP_SEPARATOR + line
        else:
            steps.append(line)
    return steps + tail


def render_prompts(tokenizer: Tokenizer, problems: Sequence[str]) -> list[list[int]]:
    """Return the ids of the prompts that the generator is shown, one list per problem."""
    return _encode(tokenizer, [problem + PROMPT_SEPARATOR for problem in problems])


def render_chat_prompts(tokenizer: Any, instruction: str, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of chat prompts, by the tokenizer's own template, for a model that was taught to chat.

    Each is a turn of the user with the instruction and the text, and the opening of the model's turn. Raises ValueError
    where there is no template.
    """
    turns = [[{"role": "user", "content": f"{instruction}{PROMPT_SEPARATOR}{text}"}] for text in texts]
    return _encode(
        tokenizer, [apply_chat_template(tokenizer, turn, add_generation_prompt=True, tokenize=False) for turn in turns]
    )


def render_turns(tokenizer: Any, prompt: str, system_prompt: str, problems: Sequence[str]) -> list[list[int]]:
    """Return the ids of chat prompts, byte for byte what the tokenizer's `apply_chat_template` gives.

    prompt: the user's turn, with {problem}. system_prompt: the turn before it; "": none, and the template's own default
    stands. Raises ValueError where there is no template.
    """
    return _encode(tokenizer, [turns_text(tokenizer, prompt, system_prompt, problem) for problem in problems])


def turns_text(tokenizer: Any, prompt: str, system_prompt: str, problem: str) -> str:
    """Return a chat prompt of `render_turns` as text."""
    turns = chat_turns(prompt, system_prompt, problem)
    return str(apply_chat_template(tokenizer, turns, add_generation_prompt=True, tokenize=False))


def chat_turns(prompt: str, system_prompt: str, problem: str) -> list[dict[str, str]]:
    """Return the turns before a model's own: the system's, if there is one, and the user's."""
    system = [{"role": "system", "content": system_prompt}] if system_prompt else []
    return [*system, {"role": "user", "content": prompt.replace("{problem}", problem)}]


def end_of_turn_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the special token that closes the model's turn in the chat template, or () where there is none.

    A model that was taught to chat ends so, and not always with the end-of-text token.
    """
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "An answer."}]
    closed = str(apply_chat_template(tokenizer, turns, tokenize=False)).rpartition("An answer.")[2]
    [ids] = _encode(tokenizer, [closed])
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    return tuple([each for each in ids if each in special][:1])


def separator_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids that STEP_SEPARATOR adds to a text: one, or several.

    The ids of the separator alone would begin with the space that SentencePiece tokenizers put before every text.
    Raises ValueError for a tokenizer that gives a newline no ids of its own.
    """
    [text, closed] = _encode(tokenizer, ["x", "x" + STEP_SEPARATOR])
    if closed[: len(text)] != text or closed == text:
        raise ValueError("the tokenizer gives a newline no ids of its own, by which steps could be told apart")
    return closed[len(text) :]


def render(
    tokenizer: Tokenizer, problems: Sequence[str], solutions: Sequence[Sequence[str]], finished: Sequence[bool]
) -> list[Rendered]:
    """Tokenise problems and the steps of their solutions, step by step.

    To search joined text for separators would miss or invent step ends wherever a tokenizer merges across them, or a
    step itself holds a newline.

    finished: whether each solution ends with its last step. One that was cut (by the token cap, or by a labeller at the
    first wrong step) closes with a newline, so that a prefix of a solution has a prefix of its ids. Raises ValueError
    for a tokenizer without an end-of-text token.
    """
    newline, end_of_text = separator_ids(tokenizer), tokenizer.eos_token_id
    if end_of_text is None:
        raise ValueError("the tokenizer has no end-of-text token (eos_token) to close a finished solution with")
    prompts = render_prompts(tokenizer, problems)
    encoded = iter(_encode_lines(tokenizer, [step for steps in solutions for step in steps]))
    rendered = []
    for prompt, steps, ended in zip(prompts, solutions, finished, strict=True):
        ids, step_ends = list(prompt), []
        for index in range(len(steps)):
            ids += next(encoded)
            ids += [end_of_text] if ended and index == len(steps) - 1 else newline
            step_ends.append(len(ids) - 1)
        rendered.append(Rendered(ids, len(prompt), step_ends))
    return rendered


def _encode_lines(tokenizer: Tokenizer, steps: list[str]) -> list[list[int]]:
    """Tokenise each step as on a line of its own: without the space that SentencePiece puts before every text.

    With that space, a generator would learn to begin steps by a space, and its samples, rendered in their turn, have
    two.
    """
    [newline] = _encode(tokenizer, [STEP_SEPARATOR])
    if newline == separator_ids(tokenizer):
        return _encode(tokenizer, steps)
    return [ids[len(newline) :] for ids in _encode(tokenizer, [STEP_SEPARATOR + step for step in steps])]


def _encode(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    """Tokenise texts, each different one once: a problem's samples repeat its prompt and many of their steps."""
    different = list(dict.fromkeys(texts))
    if not different:
        return []
    ids = dict(zip(different, tokenizer(different, add_special_tokens=False)["input_ids"], strict=True))
    return [ids[text] for text in texts]
